import { readFileSync } from 'node:fs';
import { defineConfig } from 'vite';

const litert = JSON.parse(readFileSync(new URL('node_modules/@litertjs/core/package.json', import.meta.url), 'utf8')) as { version: string };
const isolated = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

export default defineConfig({
  base: './',
  define: { __LITERT_VERSION__: JSON.stringify(litert.version) },
  build: { target: 'es2022', chunkSizeWarningLimit: 1000 },
  worker: { format: 'iife' },
  server: { host: '127.0.0.1', headers: isolated },
  preview: { host: '127.0.0.1', headers: isolated },
});

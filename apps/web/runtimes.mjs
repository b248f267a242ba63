// Copies the runtimes' own files to public/, untouched: they load each other by name.
import { cpSync, mkdirSync } from 'node:fs';

const HERE = new URL('./', import.meta.url);
const FILES = {
  ort: {
    from: 'node_modules/onnxruntime-web/dist/',
    files: [
      'ort.wasm.min.mjs',
      'ort-wasm-simd-threaded.mjs',
      'ort-wasm-simd-threaded.wasm',
      'ort.webgpu.min.mjs',
      'ort-wasm-simd-threaded.asyncify.mjs',
      'ort-wasm-simd-threaded.asyncify.wasm',
    ],
  },
  litert: {
    from: 'node_modules/@litertjs/core/wasm/',
    files: ['', '_compat', '_threaded', '_jspi'].flatMap((kind) => ['js', 'wasm'].map((end) => `litert_wasm${kind}_internal.${end}`)),
  },
};

for (const [folder, { from, files }] of Object.entries(FILES)) {
  mkdirSync(new URL(`public/${folder}/`, HERE), { recursive: true });
  for (const file of files) cpSync(new URL(from + file, HERE), new URL(`public/${folder}/${file}`, HERE));
}

import js from '@eslint/js';
import tseslint from 'typescript-eslint';

const globals = (names) => Object.fromEntries(names.split(' ').map((name) => [name, 'readonly']));

export default tseslint.config(
  { ignores: ['dist', '.build', 'node_modules', 'public/ort', 'public/litert'] },
  js.configs.recommended,
  ...tseslint.configs.strict,
  {
    files: ['**/*.mjs', 'public/sw.js'],
    languageOptions: { globals: globals('self caches process navigator console URL Buffer document window fetch setTimeout setInterval clearInterval') },
  },
  {
    // The core is arithmetic: it may name no platform.
    files: ['src/core/**/*.ts'],
    rules: {
      'no-restricted-globals': ['error', 'document', 'window', 'navigator', 'fetch', 'performance'],
      'no-restricted-imports': ['error', { patterns: ['../app/*', '../runtime/*', 'node:*', 'onnxruntime-web*', '@litertjs/*'] }],
    },
  },
);

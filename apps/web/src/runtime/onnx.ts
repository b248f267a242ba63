/** ONNX Runtime Web. Its files are served untouched from ort/, so that its threads find themselves. */
import type * as Ort from 'onnxruntime-web';
import type { Engine, OpenRequest } from './messages.js';
import { nameOutputs } from './outputs.js';

const SCRIPT = { wasm: 'ort.wasm.min.mjs', webgpu: 'ort.webgpu.min.mjs' };
const BINARY = { wasm: 'ort-wasm-simd-threaded', webgpu: 'ort-wasm-simd-threaded.asyncify' };

/** Throws where the accelerator is not there, or would leave operators to the CPU. */
export async function openOnnx(request: OpenRequest): Promise<Engine> {
  const { accelerator, base, model, size, threads } = request;
  const ort = (await import(/* @vite-ignore */ `${base}ort/${SCRIPT[accelerator]}`)) as typeof Ort;
  const binary = `${base}ort/${BINARY[accelerator]}`;
  ort.env.wasm.wasmPaths = { mjs: `${binary}.mjs`, wasm: `${binary}.wasm` };
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = 'error';
  const session = await ort.InferenceSession.create(model, {
    executionProviders: [accelerator],
    ...(accelerator === 'webgpu' ? { extra: { session: { disable_cpu_ep_fallback: '1' } } } : {}),
  });
  return {
    name: `onnxruntime-web ${ort.env.versions.web ?? ''} (${accelerator})`,
    async run(image) {
      const tensor = new ort.Tensor('uint8', image, [1, size[0], size[1], 3]);
      const answer = await session.run({ [session.inputNames[0]]: tensor });
      return nameOutputs(await Promise.all(session.outputNames.map((name) => answer[name].getData())));
    },
  };
}

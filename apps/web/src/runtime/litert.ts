/** LiteRT.js. Its files are served untouched from litert/. */
import { loadAndCompile, loadLiteRt, Tensor } from '@litertjs/core';
import type { Engine, OpenRequest } from './messages.js';
import { nameOutputs } from './outputs.js';

const VERSION = __LITERT_VERSION__;

/** Throws where the accelerator is not there, or would leave operators to the CPU. */
export async function openLiteRt(request: OpenRequest): Promise<Engine> {
  const { accelerator, base, model, size, threads } = request;
  const folder = `${base}litert/`;
  // In a worker the loader looks beside the worker's own script; this tells it where its files are.
  Object.assign(self, {
    Module: { locateFile: (file: string) => folder + file, mainScriptUrlOrBlob: `${folder}litert_wasm_threaded_internal.js` },
  });
  await loadLiteRt(folder, { threads: threads > 1, jspi: accelerator === 'webgpu' });
  const compiled = await loadAndCompile(model, { accelerator, cpuOptions: { numThreads: threads } });
  if (accelerator === 'webgpu' && !compiled.isFullyAccelerated) {
    throw new Error('WebGPU takes a part of this artifact only, the rest would run on the CPU; choose wasm');
  }
  const outputs = [...compiled.getOutputDetails()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    name: `LiteRT.js ${VERSION} (${accelerator})`,
    async run(image) {
      const tensor = new Tensor(image, [1, size[0], size[1], 3]);
      const answer = await compiled.run([tensor]);
      tensor.delete();
      const data = await Promise.all(outputs.map(async ({ index }) => (await answer[index].data()).slice()));
      for (const output of answer) output.delete();
      return nameOutputs(data);
    },
  };
}

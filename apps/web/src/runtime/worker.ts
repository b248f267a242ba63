/** The worker: opens one artifact and runs it. Ending the worker frees all that a runtime holds. */
import { openLiteRt } from './litert.js';
import type { Engine, OpenRequest, Reply, Request } from './messages.js';
import { openOnnx } from './onnx.js';

const OPENERS = { onnx: openOnnx, litert: openLiteRt };

let engine: Engine | undefined;

self.addEventListener('message', (event: MessageEvent<Request>) => {
  const request = event.data;
  answer(request).then(
    (reply) => {
      self.postMessage(reply);
    },
    (error: unknown) => {
      self.postMessage({ id: request.id, error: error instanceof Error ? error.message : String(error) } satisfies Reply);
    },
  );
});

async function answer(request: Request): Promise<Reply> {
  if (request.kind === 'open') return { id: request.id, opened: await open(request.open) };
  if (engine === undefined) throw new Error('nothing is open');
  const started = performance.now();
  const outputs = await engine.run(request.image);
  return { id: request.id, ran: { outputs, runMs: performance.now() - started } };
}

async function open(request: OpenRequest): Promise<{ engine: string }> {
  if (request.accelerator === 'webgpu') await requireGpu();
  engine = await OPENERS[request.runtime](request);
  return { engine: engine.name };
}

async function requireGpu(): Promise<void> {
  const { gpu } = navigator as Navigator & { gpu?: { requestAdapter(): Promise<unknown> } };
  if (gpu === undefined || (await gpu.requestAdapter()) === null) {
    throw new Error('this browser gives no WebGPU adapter; choose wasm');
  }
}

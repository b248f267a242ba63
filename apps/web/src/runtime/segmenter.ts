/** An artifact in a worker of its own, seen from the page. */
import type { Opened, OpenRequest, Ran, Reply, Request } from './messages.js';

type Call = { kind: 'open'; open: OpenRequest } | { kind: 'run'; image: Uint8Array<ArrayBuffer> };
type Pending = { readonly resolve: (reply: Reply) => void; readonly reject: (error: Error) => void };

export class Segmenter {
  private readonly pending = new Map<number, Pending>();
  private next = 0;
  /** Why there will be no more answers. */
  private ended = '';

  private constructor(private readonly worker: Worker) {
    worker.addEventListener('message', (event: MessageEvent<Reply>) => {
      const waiting = this.pending.get(event.data.id);
      this.pending.delete(event.data.id);
      if ('error' in event.data) waiting?.reject(new Error(event.data.error));
      else waiting?.resolve(event.data);
    });
    worker.addEventListener('error', (event) => {
      this.fail(`the runtime stopped: ${event.message || 'its script could not be loaded'}; choose the artifact again, or another`);
    });
  }

  /** Loads an artifact; rejects with the reason where its runtime or accelerator cannot be had. */
  static async open(request: OpenRequest): Promise<{ segmenter: Segmenter; opened: Opened }> {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { name: 'edgeseg' });
    const segmenter = new Segmenter(worker);
    try {
      const reply = await segmenter.ask({ kind: 'open', open: request }, []);
      if (!('opened' in reply)) throw new Error('the worker answered out of turn');
      return { segmenter, opened: reply.opened };
    } catch (error) {
      segmenter.release();
      throw error;
    }
  }

  /** Runs an image of the network's size, height x width x 3; the buffer goes to the worker. */
  async run(image: Uint8Array<ArrayBuffer>): Promise<Ran> {
    const reply = await this.ask({ kind: 'run', image }, [image.buffer]);
    if (!('ran' in reply)) throw new Error('the worker answered out of turn');
    return reply.ran;
  }

  /** Ends the worker; calls under way are rejected. */
  release(): void {
    this.worker.terminate();
    this.fail('released');
  }

  private ask(call: Call, transfer: Transferable[]): Promise<Reply> {
    if (this.ended !== '') return Promise.reject(new Error(this.ended));
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...call } satisfies Request, transfer);
    });
  }

  private fail(message: string): void {
    this.ended = message;
    for (const waiting of this.pending.values()) waiting.reject(new Error(message));
    this.pending.clear();
  }
}

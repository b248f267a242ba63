/** What the page and its worker say to each other. */
import type { Size } from '../core/bundle.js';
import type { Outputs } from './outputs.js';

export const ACCELERATORS = ['wasm', 'webgpu'] as const;
export type Accelerator = (typeof ACCELERATORS)[number];

/** Runtimes of bundle.json that a browser has. */
export const RUNTIMES = ['onnx', 'litert'] as const;
export type RuntimeName = (typeof RUNTIMES)[number];

export interface OpenRequest {
  readonly runtime: RuntimeName;
  readonly accelerator: Accelerator;
  readonly threads: number;
  readonly size: Size;
  readonly model: Uint8Array<ArrayBuffer>;
  /** Folder of the app, where ort/ and litert/ lie. */
  readonly base: string;
}

/** What was obtained, which is what was asked for, or opening failed. */
export interface Opened {
  /** Runtime, version, accelerator. */
  readonly engine: string;
}

export interface Ran {
  readonly outputs: Outputs;
  readonly runMs: number;
}

export type Request = { readonly id: number } & (
  | { readonly kind: 'open'; readonly open: OpenRequest }
  | { readonly kind: 'run'; readonly image: Uint8Array<ArrayBuffer> }
);

export type Reply = { readonly id: number } & ({ readonly error: string } | { readonly opened: Opened } | { readonly ran: Ran });

/** An opened artifact inside the worker. */
export interface Engine {
  readonly name: string;
  run(image: Uint8Array<ArrayBuffer>): Promise<Outputs>;
}

/** The artifact in use: what can be chosen, and what was obtained. */
import type { Artifact } from '../core/bundle.js';
import { ACCELERATORS, RUNTIMES, type Accelerator, type RuntimeName } from '../runtime/messages.js';
import { toMerged } from '../runtime/outputs.js';
import { Segmenter } from '../runtime/segmenter.js';
import type { Merged } from '../core/merge.js';
import type { OpenedBundle } from './source.js';

export interface Choice {
  readonly artifact: Artifact;
  readonly accelerator: Accelerator;
  readonly threads: number;
}

export interface Model {
  readonly choice: Choice;
  readonly engine: string;
  readonly segmenter: Segmenter;
}

/** Why this browser cannot run an artifact; empty if it can. */
export function reasonNotRun(artifact: Artifact): string {
  if (!(RUNTIMES as readonly string[]).includes(artifact.runtime)) return `${artifact.runtime} does not run in browsers`;
  return artifact.input === 'image_uint8_nhwc' ? '' : `its input is ${artifact.input}`;
}

/** Why an accelerator cannot be had; empty if it can. */
export async function reasonNoAccelerator(accelerator: Accelerator): Promise<string> {
  if (accelerator === 'wasm') return '';
  const { gpu } = navigator as Navigator & { gpu?: { requestAdapter(): Promise<unknown> } };
  if (gpu === undefined) return 'not in this browser';
  return (await gpu.requestAdapter()) === null ? 'no adapter' : '';
}

/** Why there is one thread only; empty if there can be more. */
export function reasonOneThread(): string {
  if (!crossOriginIsolated) return 'the server sends no COOP and COEP headers';
  return navigator.hardwareConcurrency > 1 ? '' : 'one core';
}

/** What to start with: the first artifact that runs here, int8 before others, on the CPU with one thread. */
export function firstChoice(bundle: OpenedBundle): Choice {
  const fitting = bundle.bundle.artifacts.filter((artifact) => reasonNotRun(artifact) === '');
  const artifact = fitting.find((candidate) => candidate.precision === 'int8') ?? fitting[0];
  if (artifact === undefined) {
    const held = bundle.bundle.artifacts.map((other) => other.runtime).join(', ');
    throw new Error(`${bundle.name} holds artifacts for ${held}, none for ${RUNTIMES.join(' or ')}; export with --runtimes ${RUNTIMES.join(' ')}`);
  }
  return { artifact, accelerator: ACCELERATORS[0], threads: 1 };
}

export async function openModel(bundle: OpenedBundle, choice: Choice): Promise<Model> {
  const { artifact, accelerator, threads } = choice;
  const model = await bundle.read(artifact.file);
  const runtime = artifact.runtime as RuntimeName;
  const { segmenter, opened } = await Segmenter.open({ runtime, accelerator, threads, model, size: bundle.bundle.size, base: appBase() });
  return { choice, engine: opened.engine, segmenter };
}

/** Runs a letterboxed image; the merge is timed as `post` by whoever calls. */
export async function answer(model: Model, bundle: OpenedBundle, image: Uint8Array<ArrayBuffer>): Promise<Merged> {
  return toMerged((await model.segmenter.run(image)).outputs, bundle.bundle);
}

/** The folder of the page. */
export function appBase(): string {
  return new URL('./', document.baseURI).href;
}

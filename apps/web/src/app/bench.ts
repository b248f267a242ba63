/** The benchmark screen: the protocol of docs/measurements.md on every artifact that runs here. */
import { measurementOf, type Device, type Setting } from '../core/measurement.js';
import { measureRound, type Round, type Subject } from '../core/protocol.js';
import { openModel, reasonNotRun, type Choice } from './model.js';
import type { OpenedBundle } from './source.js';

const ROUNDS = 2;

export interface BenchResult {
  readonly choice: Choice;
  readonly record: object;
  readonly samplesMs: readonly number[];
  readonly notTimed: string;
}

/** Times all artifacts with one accelerator and number of threads; those that cannot be timed say why. */
export async function bench(
  bundle: OpenedBundle,
  setting: { readonly accelerator: Choice['accelerator']; readonly threads: number; readonly seconds: number },
  onState: (text: string) => void,
): Promise<BenchResult[]> {
  const { accelerator, threads, seconds } = setting;
  const choices = bundle.bundle.artifacts.map((artifact): Choice => ({ artifact, accelerator, threads }));
  const timeUtc = new Date().toISOString();
  const found = new Map<Choice, { rounds: Round[]; engine: string; notTimed: string }>();
  for (const choice of choices) found.set(choice, { rounds: [], engine: '', notTimed: reasonNotRun(choice.artifact) });
  for (let round = 0; round < ROUNDS; round++) {
    for (const choice of shuffled(choices)) {
      const row = found.get(choice);
      if (row === undefined || row.notTimed !== '') continue;
      onState(`round ${String(round + 1)} of ${String(ROUNDS)}: ${choice.artifact.file}`);
      try {
        const subject = subjectOf(bundle, choice, (engine) => (row.engine = engine));
        row.rounds.push(await measureRound(subject, seconds, () => performance.now(), breathe));
      } catch (error) {
        row.notTimed = error instanceof Error ? error.message : String(error);
        row.rounds = [];
      }
    }
  }
  const device = thisDevice();
  return [...found].map(([choice, { rounds, engine, notTimed }]) => {
    const at: Setting = { bundle: bundle.name, runtimeVersion: engine, threads, device, timeUtc };
    return { choice, record: measurementOf(choice.artifact, at, rounds, notTimed), samplesMs: rounds.flatMap((r) => r.samplesMs), notTimed };
  });
}

/** One JSON line a record. */
export function jsonLines(results: readonly BenchResult[]): string {
  return results.map((result) => `${JSON.stringify(result.record)}\n`).join('');
}

function subjectOf(bundle: OpenedBundle, choice: Choice, onEngine: (engine: string) => void): Subject {
  const noise = new Uint8Array(bundle.bundle.size[0] * bundle.bundle.size[1] * 3).map(() => Math.floor(Math.random() * 256));
  return {
    async load() {
      const model = await openModel(bundle, choice);
      onEngine(model.engine);
      return {
        call: async () => (await model.segmenter.run(noise.slice())).runMs,
        release: () => {
          model.segmenter.release();
        },
      };
    },
  };
}

async function breathe(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve));
}

function shuffled<T>(items: readonly T[]): T[] {
  return items.map((item) => ({ item, key: Math.random() })).sort((a, b) => a.key - b.key).map(({ item }) => item);
}

/** What a page may know about its machine. */
function thisDevice(): Device {
  const { deviceMemory } = navigator as Navigator & { deviceMemory?: number };
  const brand = /(Firefox|Edg|Chrome|Version)\/[\d.]+/.exec(navigator.userAgent)?.[0] ?? navigator.userAgent;
  const os = /\(([^)]*)\)/.exec(navigator.userAgent)?.[1] ?? 'unknown system';
  return { name: `browser ${brand}`, cores: navigator.hardwareConcurrency, os, machine: 'wasm32', memory_mib: (deviceMemory ?? 0) * 1024 };
}

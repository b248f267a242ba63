/** The timing protocol of docs/measurements.md: warm up until settled, then keep every call. */

const WINDOW = 5; // calls in each of the two stretches that must agree
const TOLERANCE = 0.05; // relative difference of their medians
const LEAST_WARMUP_MS = 200;
const MOST_WARMUP_MS = 3000;
const LEAST_SAMPLES = 5;

export interface Round {
  readonly samplesMs: readonly number[];
  readonly warmupRuns: number;
  readonly isSettled: boolean;
  readonly loadMs: number;
}

/** Something that can be loaded twice and called. */
export interface Subject {
  /** `call` gives its own milliseconds. */
  load(): Promise<{ call(): Promise<number>; release(): void }>;
}

/**
 * One round: a first load that brings libraries in, a second, timed one, a warm-up, and calls for some seconds.
 *
 * @param now Milliseconds.
 * @param pause Called between calls, untimed: lets the page breathe, throws to stop.
 */
export async function measureRound(subject: Subject, seconds: number, now: () => number, pause: () => Promise<void>): Promise<Round> {
  const first = await subject.load();
  await first.call();
  first.release();
  const started = now();
  const loaded = await subject.load();
  const loadMs = now() - started;
  try {
    const timed = async (): Promise<number> => {
      await pause();
      return loaded.call();
    };
    const warmup: number[] = [];
    const begin = now();
    let settled = false;
    while (!settled && (now() - begin < MOST_WARMUP_MS || warmup.length < 2)) {
      warmup.push(await timed());
      settled = now() - begin >= LEAST_WARMUP_MS && isSettled(warmup);
    }
    const samplesMs: number[] = [];
    const until = now() + seconds * 1000;
    while (now() < until || samplesMs.length < LEAST_SAMPLES) samplesMs.push(await timed());
    return { samplesMs, warmupRuns: warmup.length, isSettled: settled, loadMs };
  } finally {
    loaded.release();
  }
}

/** Whether the medians of the last two stretches agree. */
export function isSettled(times: readonly number[]): boolean {
  if (times.length < 2 * WINDOW) return false;
  const earlier = median(times.slice(-2 * WINDOW, -WINDOW));
  const later = median(times.slice(-WINDOW));
  return Math.abs(later - earlier) <= TOLERANCE * earlier;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** Percentiles of times, as bench/measurement.py computes them. */

export interface Latency {
  readonly p50_ms: number;
  readonly p90_ms: number;
  readonly p99_ms: number;
  readonly min_ms: number;
  readonly mean_ms: number;
}

/** Of at least one sample; undefined of none. */
export function latencyOf(samples: readonly number[]): Latency | undefined {
  if (samples.length === 0) return undefined;
  const sorted = Float64Array.from(samples).sort();
  return {
    p50_ms: percentile(sorted, 50),
    p90_ms: percentile(sorted, 90),
    p99_ms: percentile(sorted, 99),
    min_ms: sorted[0],
    mean_ms: sorted.reduce((a, b) => a + b, 0) / sorted.length,
  };
}

/** Linear between the neighbours of position (n - 1) q / 100. */
export function percentile(sorted: Float64Array, q: number): number {
  const position = ((sorted.length - 1) * q) / 100;
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (position - below);
}

export const STAGES = ['capture', 'pre', 'run', 'post', 'draw'] as const;
export type Stage = (typeof STAGES)[number];
export type StageTimes = Readonly<Record<Stage, number>>;

/** Stage times of the last seconds. */
export class Window {
  private readonly frames: { readonly at: number; readonly times: StageTimes }[] = [];

  constructor(private readonly seconds: number) {}

  add(at: number, times: StageTimes): void {
    this.frames.push({ at, times });
    while (this.frames[0].at < at - this.seconds * 1000) this.frames.shift();
  }

  clear(): void {
    this.frames.length = 0;
  }

  /** p50 and p90 of a stage, or of all stages together; undefined before the first frame. */
  latency(stage: Stage | 'total'): Latency | undefined {
    const total = (times: StageTimes): number => STAGES.reduce((sum, name) => sum + times[name], 0);
    return latencyOf(this.frames.map(({ times }) => (stage === 'total' ? total(times) : times[stage])));
  }

  /** Frames a second between the first and the last frame kept. */
  rate(): number {
    const span = this.frames.length > 1 ? this.frames[this.frames.length - 1].at - this.frames[0].at : 0;
    return span > 0 ? ((this.frames.length - 1) * 1000) / span : 0;
  }
}

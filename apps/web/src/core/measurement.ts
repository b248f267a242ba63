/** A line of measurements.jsonl (apps/spec/measurement.schema.json). */
import type { Artifact } from './bundle.js';
import type { Round } from './protocol.js';
import { latencyOf } from './statistics.js';

export interface Device {
  readonly name: string;
  readonly cores: number;
  readonly os: string;
  readonly machine: string;
  /** 0 where the platform does not say. */
  readonly memory_mib: number;
}

/** Where and with what the rounds ran. */
export interface Setting {
  readonly bundle: string;
  /** Runtime, version and the accelerator that was obtained. */
  readonly runtimeVersion: string;
  readonly threads: number;
  readonly device: Device;
  /** ISO 8601. */
  readonly timeUtc: string;
}

/** The record; memory is 0, since a page cannot read its own. */
export function measurementOf(artifact: Artifact, setting: Setting, rounds: readonly Round[], notTimed = ''): object {
  const samples = rounds.flatMap((round) => round.samplesMs);
  return {
    bundle: setting.bundle,
    artifact: artifact.file,
    sha256: artifact.sha256,
    runtime: artifact.runtime,
    runtime_version: setting.runtimeVersion,
    precision: artifact.precision,
    merge: artifact.merge,
    threads: setting.threads,
    samples_ms: samples,
    round_sizes: rounds.map((round) => round.samplesMs.length),
    warmup_runs: rounds.reduce((sum, round) => sum + round.warmupRuns, 0),
    is_settled: rounds.every((round) => round.isSettled),
    load_ms: rounds.map((round) => round.loadMs),
    peak_mib: 0,
    rss_delta_mib: 0,
    device: setting.device,
    emulated: false,
    time_utc: setting.timeUtc,
    commit: '',
    not_timed: notTimed,
    schema: 1,
    latency: latencyOf(samples) ?? null,
  };
}

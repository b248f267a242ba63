import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { BundleError, mapSize, parseBundle } from '../../src/core/bundle.js';
import { measurementOf, type Device } from '../../src/core/measurement.js';
import { mergeSlots } from '../../src/core/merge.js';
import { readNpz } from '../../src/core/npz.js';
import { isSettled, measureRound } from '../../src/core/protocol.js';
import { latencyOf, Window, type Latency } from '../../src/core/statistics.js';
import { readBytes, readCases, readText } from './spec.js';

for (const item of readCases<{ name: string; error: string | null; text: string }>('descriptions.json')) {
  test(`bundle.json ${item.name}: ${item.error ?? 'is read'}`, () => {
    if (item.error === null) {
      const bundle = parseBundle(item.text);
      assert.deepEqual([bundle.size, bundle.numSlots, mapSize(bundle)], [[64, 96], 16, [32, 48]]);
    } else {
      assert.throws(() => parseBundle(item.text), (error) => error instanceof BundleError && error.kind === item.error);
    }
  });
}

for (const item of readCases<{ name: string; samples_ms: number[] } & Latency>('latency.json')) {
  test(`percentiles of ${item.name}`, () => {
    const latency = latencyOf(item.samples_ms);
    assert.ok(latency);
    for (const key of ['p50_ms', 'p90_ms', 'p99_ms', 'min_ms', 'mean_ms'] as const) {
      assert.ok(Math.abs(latency[key] - item[key]) <= 1e-9 * item[key], key);
    }
  });
}

interface Line {
  [key: string]: unknown;
  samples_ms: number[];
  device: Device;
}

test('a measurement is the line that Python writes', () => {
  const { line } = JSON.parse(readText('measurement.json')) as { line: Line };
  const artifact = {
    file: 'tiny-64x64.int8.onnx',
    runtime: 'onnx',
    precision: 'int8',
    merge: 'graph' as const,
    input: 'image_uint8_nhwc',
    bytes: 4,
    sha256: '0'.repeat(64),
  };
  const setting = {
    bundle: 'tiny.edgeseg',
    runtimeVersion: 'onnxruntime-web 1.30.0 (wasm)',
    threads: 2,
    device: line.device,
    timeUtc: '2026-01-31T12:00:00+00:00',
  };
  const rounds = [
    { samplesMs: [8, 4, 6], warmupRuns: 12, isSettled: true, loadMs: 31.5 },
    { samplesMs: [5, 7], warmupRuns: 8, isSettled: true, loadMs: 30.25 },
  ];
  const made = measurementOf(artifact, setting, rounds) as Line;
  const rounded = (key: string, value: unknown): unknown => (typeof value === 'number' ? Math.round(value * 1e6) / 1e6 : (void key, value));
  assert.deepEqual(JSON.parse(JSON.stringify(made, rounded)), JSON.parse(JSON.stringify(line, rounded)));
});

test('a round loads twice, warms up until it is settled and keeps every call', async () => {
  let clock = 0;
  const log: string[] = [];
  const subject = {
    load: () => {
      log.push('load');
      clock += 30;
      return Promise.resolve({
        call: () => {
          clock += 10;
          return Promise.resolve(10);
        },
        release: () => {
          log.push('release');
        },
      });
    },
  };
  const round = await measureRound(subject, 0.1, () => clock, () => Promise.resolve());
  assert.deepEqual(log, ['load', 'release', 'load', 'release']);
  assert.deepEqual(round, { samplesMs: new Array<number>(10).fill(10), warmupRuns: 20, isSettled: true, loadMs: 30 });
});

test('a stretch that drifts is not settled', () => {
  assert.equal(isSettled([1, 2, 3, 4, 5, 6, 7, 8, 9]), false);
  assert.equal(isSettled([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), false);
  assert.equal(isSettled([9, 7, 7, 7, 1, 7, 7, 7, 8, 20]), true);
});

test('the window forgets frames older than its seconds', () => {
  const window = new Window(2);
  const times = { capture: 1, pre: 1, run: 1, post: 1, draw: 1 };
  for (let at = 0; at <= 5000; at += 500) window.add(at, { ...times, run: at });
  assert.equal(window.latency('run')?.min_ms, 3000);
  assert.equal(window.latency('total')?.min_ms, 3004);
  assert.equal(window.rate(), 2);
});

test('the golden files of a real bundle are read, and the merge of its logits is its map', async () => {
  const bundle = parseBundle(readText('tiny.edgeseg/bundle.json'));
  assert.ok(existsSync(new URL('../../../../spec/tiny.edgeseg', import.meta.url)));
  for (const precision of new Set(bundle.artifacts.map((artifact) => artifact.precision))) {
    const golden = await readNpz(readBytes(`tiny.edgeseg/golden/000.${precision}.npz`));
    const array = (name: string): Float32Array => {
      const data = golden.get(name)?.data;
      assert.ok(data instanceof Float32Array, name);
      return data;
    };
    const [height, width] = bundle.size;
    const merged = mergeSlots(
      { classLogits: array('class_logits'), maskLogits: array('mask_logits'), size: [height / 4, width / 4], numSlots: bundle.numSlots },
      bundle.categories.map((category) => category.isThing),
      bundle.merge,
    );
    assert.deepEqual(golden.get('slot_map')?.shape, [...mapSize(bundle)]);
    assert.deepEqual([...merged.slotMap], [...(golden.get('slot_map')?.data ?? [])]);
    assert.deepEqual([...merged.slotCategory], [...(golden.get('slot_category')?.data ?? [])]);
  }
});

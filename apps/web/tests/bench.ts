/** Times what follows a run at 1080p on one core: npm run bench. */
import { slotColors } from '../src/core/color.js';
import { letterbox, viewOf } from '../src/core/geometry.js';
import { mergeSlots, type Merged } from '../src/core/merge.js';
import { paint } from '../src/core/overlay.js';
import { segmentsOf } from '../src/core/segments.js';
import { latencyOf } from '../src/core/statistics.js';
import { categoriesOf, float32, readCases, sizeOf, type ArrayRef } from './core/spec.js';

const PHOTO = [1080, 1920] as const;
const NETWORK = [256, 256] as const;
const RUNS = 100;

interface Case {
  name: string;
  is_thing: boolean[];
  class_logits: ArrayRef;
  mask_logits: ArrayRef;
}

/** A 256 x 256 map of 24 blobs, enlarged from the case's 64 x 96. */
function someMap(): Merged {
  const found = readCases<Case>('merge.json').find((candidate) => candidate.name === 'random_floats');
  if (found === undefined) throw new Error('merge.json has no random_floats');
  const [height, width] = sizeOf(found.mask_logits);
  const config = { thingThreshold: 0.3, stuffThreshold: 0.3, minArea: 0, upsample: 4 };
  const small = mergeSlots(
    { classLogits: float32(found.class_logits), maskLogits: float32(found.mask_logits), size: [height, width], numSlots: 24 },
    found.is_thing,
    config,
  );
  const slotMap = Uint8Array.from({ length: 256 * 256 }, (_, i) => {
    const y = Math.floor((Math.floor(i / 256) * small.size[0]) / 256);
    const x = Math.floor(((i % 256) * small.size[1]) / 256);
    return small.slotMap[y * small.size[1] + x];
  });
  return { ...small, slotMap, size: [256, 256] };
}

function report(name: string, work: () => void): void {
  const times = Array.from({ length: RUNS }, () => {
    const started = performance.now();
    work();
    return performance.now() - started;
  });
  const latency = latencyOf(times.slice(RUNS / 5));
  console.log(`${name}: p50 ${latency?.p50_ms.toFixed(2) ?? ''} ms, p90 ${latency?.p90_ms.toFixed(2) ?? ''} ms`);
}

const merged = someMap();
const names = Array.from({ length: 8 }, (_, id) => ({ id, name: `c${String(id)}`, isthing: Number(id < 4), color: [id * 30, 90, 200] as [number, number, number] }));
const categories = categoriesOf(names);
const view = viewOf(PHOTO, NETWORK, 4);
const out = new Uint32Array(PHOTO[0] * PHOTO[1]);
const photo = new Uint8Array(PHOTO[0] * PHOTO[1] * 4).map((_, i) => i % 251);
const logits = { classLogits: new Float32Array(64 * 9), maskLogits: new Float32Array(64 * 64 * 64), size: [64, 64] as const, numSlots: 64 };
for (let slot = 0; slot < 64; slot++) logits.classLogits[slot * 9 + (slot < 12 ? slot % 8 : 8)] = 8; // 12 of 64 slots are kept
logits.maskLogits.forEach((_, i) => (logits.maskLogits[i] = Math.sin(i * 0.01)));

report('post + draw, merge in the graph, 256 x 256 map', () => {
  paint(merged, view, segmentsOf(merged, view, categories), slotColors(merged, categories), { opacity: 0.55, outlines: true }, out);
});
report('merge in the app, 64 slots of which 12 are kept, 64 x 64 to 128 x 128', () => {
  mergeSlots(logits, categories.map((c) => c.isThing), { thingThreshold: 0.5, stuffThreshold: 0.5, minArea: 16, upsample: 2 });
});
report('letterbox 1080p RGBA to 256 x 256', () => {
  letterbox(photo, PHOTO, 4, NETWORK);
});

/** The panoptic merge (docs/merge.md), in float32 as the reference computes it. */
import type { MergeConfig, Size } from './bundle.js';

export const VOID_SLOT = 255;

/** An answer: what every artifact gives, wherever the merge runs. */
export interface Merged {
  /** height x width slot indices, 255 = void. */
  readonly slotMap: Uint8Array;
  readonly size: Size;
  /** Per slot: contiguous category index, -1 = empty. */
  readonly slotCategory: Int32Array;
  readonly slotScore: Float32Array;
}

/** A slots model's answer. */
export interface Logits {
  /** N x (K + 1), the last column is void. */
  readonly classLogits: Float32Array;
  /** N x height x width. */
  readonly maskLogits: Float32Array;
  readonly size: Size;
  readonly numSlots: number;
}

const { fround } = Math;

export function mergeSlots(logits: Logits, isThing: readonly boolean[], config: MergeConfig): Merged {
  const { numSlots, size } = logits;
  const [categories, scores] = judgeSlots(logits.classLogits, numSlots, isThing.length);
  const thresholds = isThing.map((thing) => fround(thing ? config.thingThreshold : config.stuffThreshold));
  const height = size[0] * config.upsample;
  const width = size[1] * config.upsample;
  const slotMap = new Uint8Array(height * width).fill(VOID_SLOT);
  const best = new Float32Array(height * width).fill(-Infinity);
  for (let slot = 0; slot < numSlots; slot++) {
    if (scores[slot] < thresholds[categories[slot]]) continue;
    const cells = logits.maskLogits.subarray(slot * size[0] * size[1], (slot + 1) * size[0] * size[1]);
    claim(slot, cells, size, config.upsample, best, slotMap);
  }
  dropSmall(slotMap, categories, scores, config);
  return { slotMap, size: [height, width], slotCategory: categories, slotScore: scores };
}

/** Category and score per slot: softmax over all columns, the best real one, the lowest index on ties. */
function judgeSlots(logits: Float32Array, numSlots: number, numCategories: number): [Int32Array, Float32Array] {
  const columns = numCategories + 1;
  const categories = new Int32Array(numSlots);
  const scores = new Float32Array(numSlots);
  for (let slot = 0; slot < numSlots; slot++) {
    const row = logits.subarray(slot * columns, (slot + 1) * columns);
    const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
    let sum = 0;
    let best = -1;
    for (let column = 0; column < columns; column++) {
      const exponential = fround(Math.exp(fround(row[column] - top)));
      sum = fround(sum + exponential);
      if (column < numCategories && exponential > best) {
        best = exponential;
        categories[slot] = column;
      }
    }
    scores[slot] = best / sum;
  }
  return [categories, scores];
}

/** Gives the slot every pixel where its enlarged logits exceed the best so far; ties stay with the lower slot. */
function claim(slot: number, cells: Float32Array, size: Size, factor: number, best: Float32Array, slotMap: Uint8Array): void {
  const [height, width] = size;
  const down = neighbours(height, factor);
  const across = neighbours(width, factor);
  const tall = new Float32Array(width);
  let pixel = 0;
  for (let y = 0; y < height * factor; y++) {
    const top = down.first[y] * width;
    const bottom = down.second[y] * width;
    const t = down.weight[y];
    const s = fround(1 - t);
    for (let x = 0; x < width; x++) tall[x] = fround(cells[top + x] * s) + fround(cells[bottom + x] * t);
    for (let x = 0; x < width * factor; x++, pixel++) {
      const u = across.weight[x];
      const value = fround(fround(tall[across.first[x]] * fround(1 - u)) + fround(tall[across.second[x]] * u));
      if (value > best[pixel]) {
        best[pixel] = value;
        slotMap[pixel] = slot;
      }
    }
  }
}

/** For each output position: the input below it, the next one, and the weight of the next one. */
function neighbours(length: number, factor: number): { first: Int32Array; second: Int32Array; weight: Float32Array } {
  const first = new Int32Array(length * factor);
  const second = new Int32Array(length * factor);
  const weight = new Float32Array(length * factor);
  for (let out = 0; out < first.length; out++) {
    const position = Math.max((out + 0.5) / factor - 0.5, 0);
    first[out] = Math.floor(position);
    second[out] = Math.min(first[out] + 1, length - 1);
    weight[out] = position - first[out];
  }
  return { first, second, weight };
}

/** Empties slots without pixels or below the least area, in place. */
function dropSmall(slotMap: Uint8Array, categories: Int32Array, scores: Float32Array, config: MergeConfig): void {
  const area = new Int32Array(256);
  for (const slot of slotMap) area[slot]++;
  const scale = (4 / config.upsample) ** 2;
  const target = Uint8Array.from({ length: 256 }, (_, slot) => slot);
  for (let slot = 0; slot < categories.length; slot++) {
    if (area[slot] > 0 && area[slot] * scale >= config.minArea) continue;
    target[slot] = VOID_SLOT;
    categories[slot] = -1;
    scores[slot] = 0;
  }
  for (let pixel = 0; pixel < slotMap.length; pixel++) slotMap[pixel] = target[slotMap[pixel]];
}

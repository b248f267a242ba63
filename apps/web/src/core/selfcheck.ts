/** Compares an artifact's answer with the exporter's (edgeseg/export/verify.py). */
import { VOID_SLOT, type Merged } from './merge.js';
import { percentile } from './statistics.js';

export type Answer = Pick<Merged, 'slotMap' | 'slotCategory'>;

/** Share of equal pixels that an artifact must reach. */
export function floorOf(precision: string): number {
  return precision === 'float32' ? 0.999 : 0.99;
}

/** What the floor is for: the mean over images in float32, else their lower quartile, as a rare one tips over a tie. */
export function judgedShare(precision: string, shares: readonly number[]): number {
  if (precision === 'float32') return shares.reduce((sum, share) => sum + share, 0) / shares.length;
  return percentile(Float64Array.from(shares).sort(), 25);
}

/** Share of pixels in the segment that matches the wanted one; slot numbers do not count. */
export function pixelsEqual(answer: Answer, wanted: Answer): number {
  if (answer.slotMap.length !== wanted.slotMap.length) {
    throw new Error(`the map has ${String(answer.slotMap.length)} pixels, ${String(wanted.slotMap.length)} wanted`);
  }
  const partner = matchedSlots(answer, wanted);
  let equal = 0;
  for (let pixel = 0; pixel < wanted.slotMap.length; pixel++) equal += Number(answer.slotMap[pixel] === partner[wanted.slotMap[pixel]]);
  return equal / wanted.slotMap.length;
}

/** For each wanted slot the slot that shares most pixels with it, if that holds the other way round too; else -1. */
function matchedSlots(answer: Answer, wanted: Answer): Int32Array {
  const shared = new Int32Array(256 * 256); // [slot of the answer][wanted slot]
  for (let pixel = 0; pixel < wanted.slotMap.length; pixel++) shared[answer.slotMap[pixel] * 256 + wanted.slotMap[pixel]]++;
  const best = (length: number, count: (i: number) => number): number => {
    let top = 0;
    for (let i = 1; i < length; i++) if (count(i) > count(top)) top = i;
    return top;
  };
  return Int32Array.from({ length: 256 }, (_, want) => {
    const slot = best(256, (i) => shared[i * 256 + want]);
    if (shared[slot * 256 + want] === 0) return -1;
    const back = best(256, (i) => shared[slot * 256 + i]);
    return back === want && categoryOf(answer, slot) === categoryOf(wanted, want) ? slot : -1;
  });
}

function categoryOf(answer: Answer, slot: number): number {
  return slot === VOID_SLOT ? -2 : (answer.slotCategory[slot] ?? -1);
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergeSlots } from '../../src/core/merge.js';
import { floorOf, judgedShare, pixelsEqual } from '../../src/core/selfcheck.js';
import { float32, readCases, sizeOf, uint8, type ArrayRef } from './spec.js';

interface MergeCase {
  name: string;
  says: string;
  is_thing: boolean[];
  merge: { thing_threshold: number; stuff_threshold: number; min_area: number; upsample: number };
  class_logits: ArrayRef;
  mask_logits: ArrayRef;
  slot_map: ArrayRef;
  slot_category: number[];
  slot_score: number[];
}

for (const item of readCases<MergeCase>('merge.json')) {
  test(`merge ${item.name}: ${item.says}`, () => {
    const merged = mergeSlots(
      {
        classLogits: float32(item.class_logits),
        maskLogits: float32(item.mask_logits),
        size: sizeOf(item.mask_logits),
        numSlots: item.mask_logits.shape[0],
      },
      item.is_thing,
      {
        thingThreshold: item.merge.thing_threshold,
        stuffThreshold: item.merge.stuff_threshold,
        minArea: item.merge.min_area,
        upsample: item.merge.upsample,
      },
    );
    assert.deepEqual([...merged.size], item.slot_map.shape);
    assert.deepEqual([...merged.slotMap], [...uint8(item.slot_map)]);
    assert.deepEqual([...merged.slotCategory], item.slot_category);
    merged.slotScore.forEach((score, slot) => {
      assert.ok(Math.abs(score - item.slot_score[slot]) <= 1e-5, `score of slot ${String(slot)}`);
    });
  });
}

interface CheckCase {
  name: string;
  slot_map: number[][];
  slot_category: number[];
  wanted_slot_map: number[][];
  wanted_slot_category: number[];
  pixels_equal: number;
}

for (const item of readCases<CheckCase>('selfcheck.json')) {
  test(`self-check ${item.name}`, () => {
    const answer = { slotMap: Uint8Array.from(item.slot_map.flat()), slotCategory: Int32Array.from(item.slot_category) };
    const wanted = { slotMap: Uint8Array.from(item.wanted_slot_map.flat()), slotCategory: Int32Array.from(item.wanted_slot_category) };
    assert.ok(Math.abs(pixelsEqual(answer, wanted) - item.pixels_equal) <= 1e-9);
  });
}

test('one tipped image does not fail a quantized file and fails a float one', () => {
  const shares = [0.75, 0.995, 0.995, 0.995, 0.995, 0.995, 0.995, 0.995];
  assert.ok(judgedShare('int8', shares) >= floorOf('int8'));
  assert.ok(judgedShare('float32', shares) < floorOf('float32'));
});

test('float32 has the stricter floor', () => {
  assert.deepEqual([floorOf('float32'), floorOf('int8'), floorOf('ternary')], [0.999, 0.99, 0.99]);
});

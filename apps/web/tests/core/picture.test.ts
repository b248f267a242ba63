import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Color, Size } from '../../src/core/bundle.js';
import { shade, slotColors } from '../../src/core/color.js';
import { fittedSize, letterbox, viewOf } from '../../src/core/geometry.js';
import { paint } from '../../src/core/overlay.js';
import { panopticDocument, panopticPixels } from '../../src/core/panoptic.js';
import { legend, segmentAt, segmentMap, segmentsOf } from '../../src/core/segments.js';
import { categoriesOf, readCases, readText, sizeOf, uint8, type ArrayRef } from './spec.js';

interface LetterboxCase {
  name: string;
  photo_size: Size;
  network_size: Size;
  fitted: Size;
  image: ArrayRef;
  letterboxed: ArrayRef;
}

for (const item of readCases<LetterboxCase>('letterbox.json')) {
  test(`letterbox ${item.name} gives equal bytes, from RGB and from RGBA`, () => {
    const photo = uint8(item.image);
    const rgba = new Uint8Array((photo.length / 3) * 4).fill(7);
    photo.forEach((byte, i) => (rgba[Math.floor(i / 3) * 4 + (i % 3)] = byte));
    assert.deepEqual(fittedSize(item.photo_size, item.network_size), item.fitted);
    assert.deepEqual([...letterbox(photo, item.photo_size, 3, item.network_size)], [...uint8(item.letterboxed)]);
    assert.deepEqual([...letterbox(rgba, item.photo_size, 4, item.network_size)], [...uint8(item.letterboxed)]);
  });
}

interface WayBackCase {
  photo_size: Size;
  network_size: Size;
  upsample: number;
  fitted: Size;
  rows: number[];
  columns: number[];
}

test('every row and column of a photo reads the map row and column that Python reads', () => {
  for (const item of readCases<WayBackCase>('unletterbox.json')) {
    const view = viewOf(item.photo_size, item.network_size, item.upsample);
    assert.deepEqual([view.fitted, [...view.rows], [...view.columns]], [item.fitted, item.rows, item.columns]);
  }
});

test('shades are those of Python', () => {
  const { rows } = JSON.parse(readText('palette.json')) as { rows: { color: Color; shades: Color[] }[] };
  for (const row of rows) assert.deepEqual(row.shades.map((_, rank) => shade(row.color, rank)), row.shades);
});

interface OverlayCase {
  name: string;
  photo_size: Size;
  network_size: Size;
  upsample: number;
  opacity: number;
  outlines: boolean;
  slot_map: ArrayRef;
  slot_category: number[];
  slot_score: number[];
  rgba: ArrayRef;
  segments: { id: number; category_id: number; area: number; share: number; bbox: number[]; score: number }[];
  legend: number[];
  void_share: number;
  taps: { x: number; y: number; segment_id: number }[];
  panoptic: { annotations: unknown; images: unknown; categories: Parameters<typeof categoriesOf>[0] };
  panoptic_png: ArrayRef;
}

for (const item of readCases<OverlayCase>('overlay.json')) {
  const merged = {
    slotMap: uint8(item.slot_map),
    size: sizeOf(item.slot_map),
    slotCategory: Int32Array.from(item.slot_category),
    slotScore: Float32Array.from(item.slot_score),
  };
  const categories = categoriesOf(item.panoptic.categories);
  const view = viewOf(item.photo_size, item.network_size, item.upsample);
  const segments = segmentsOf(merged, view, categories);

  test(`overlay ${item.name} is equal pixel by pixel`, () => {
    const out = new Uint32Array(item.photo_size[0] * item.photo_size[1]);
    paint(merged, view, segments, slotColors(merged, categories), item, out);
    assert.deepEqual([...new Uint8Array(out.buffer)], [...uint8(item.rgba)]);
  });

  test(`segments, legend, shares and taps of ${item.name}`, () => {
    const rows = segments.list.map((s) => ({ id: s.id, category_id: s.category.id, area: s.area, bbox: [...s.bbox] }));
    assert.deepEqual(rows, item.segments.map(({ id, category_id, area, bbox }) => ({ id, category_id, area, bbox })));
    segments.list.forEach((segment, i) => {
      assert.ok(Math.abs(segment.share - item.segments[i].share) <= 1e-9);
      assert.ok(Math.abs(segment.score - item.segments[i].score) <= 1e-6);
    });
    assert.deepEqual(legend(segments).map((s) => s.id), item.legend);
    assert.ok(Math.abs(segments.voidShare - item.void_share) <= 1e-9);
    for (const tap of item.taps) assert.equal(segmentAt(tap.x, tap.y, merged, view, segments)?.id ?? 0, tap.segment_id);
  });

  test(`COCO panoptic of ${item.name}`, () => {
    assert.deepEqual(panopticDocument('photo.jpg', item.photo_size, segments, categories), item.panoptic);
    const pixels = panopticPixels(segmentMap(merged, view, segments));
    assert.deepEqual([...pixels].filter((_, i) => i % 4 < 3), [...uint8(item.panoptic_png)]);
  });
}

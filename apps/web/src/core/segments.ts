/** What a picture holds: segments, their share, and which one lies under a finger. */
import type { Category, Size } from './bundle.js';
import type { View } from './geometry.js';
import { VOID_SLOT, type Merged } from './merge.js';

export interface Segment {
  /** From 1, by the lowest slot that the photo shows. */
  readonly id: number;
  readonly category: Category;
  /** Pixels of the photo. */
  readonly area: number;
  /** Of the photo, 0..1. */
  readonly share: number;
  /** x, y, width, height. */
  readonly bbox: readonly [number, number, number, number];
  readonly score: number;
}

export interface Segments {
  readonly list: readonly Segment[];
  /** Segment id of each slot value, 0 = void. */
  readonly idOfSlot: Uint8Array;
  readonly voidShare: number;
}

/** Each thing slot is a segment; all stuff slots of a category are one. Counts photo pixels without visiting them. */
export function segmentsOf(merged: Merged, view: View, categories: readonly Category[]): Segments {
  const boxes = measure(merged, view);
  const idOfSlot = new Uint8Array(256);
  const slotsOf: number[][] = [];
  const stuffId = new Map<number, number>();
  for (let slot = 0; slot < VOID_SLOT; slot++) {
    if (boxes.area[slot] === 0) continue;
    const index = merged.slotCategory[slot];
    let id = stuffId.get(index);
    if (id === undefined) id = slotsOf.push([]);
    if (!categories[index].isThing) stuffId.set(index, id);
    slotsOf[id - 1].push(slot);
    idOfSlot[slot] = id;
  }
  const numPixels = view.photo[0] * view.photo[1];
  const list = slotsOf.map((slots, position) => segment(position + 1, slots, merged, boxes, categories, numPixels));
  return { list, idOfSlot, voidShare: boxes.area[VOID_SLOT] / numPixels };
}

/** Largest first, equal ones by id. */
export function legend(segments: Segments): Segment[] {
  return [...segments.list].sort((a, b) => b.area - a.area || a.id - b.id);
}

/** The segment at a photo's pixel, undefined on void. */
export function segmentAt(x: number, y: number, merged: Merged, view: View, segments: Segments): Segment | undefined {
  const id = segments.idOfSlot[merged.slotMap[view.rows[y] * merged.size[1] + view.columns[x]]];
  return id === 0 ? undefined : segments.list[id - 1];
}

/** Segment ids of all photo pixels, row by row. */
export function segmentMap(merged: Merged, view: View, segments: Segments): Uint8Array {
  const [height, width] = view.photo;
  const ids = new Uint8Array(height * width);
  for (let y = 0, pixel = 0; y < height; y++) {
    const row = view.rows[y] * merged.size[1];
    for (let x = 0; x < width; x++, pixel++) ids[pixel] = segments.idOfSlot[merged.slotMap[row + view.columns[x]]];
  }
  return ids;
}

interface Boxes {
  readonly area: Float64Array;
  readonly left: Int32Array;
  readonly right: Int32Array;
  readonly top: Int32Array;
  readonly bottom: Int32Array;
}

/** Per slot value: photo pixels and the box around them, from the map and how often each row and column is read. */
function measure(merged: Merged, view: View): Boxes {
  const [height, width] = merged.size;
  const rows = spans(view.rows, height);
  const columns = spans(view.columns, width);
  const boxes: Boxes = {
    area: new Float64Array(256),
    left: new Int32Array(256).fill(view.photo[1]),
    right: new Int32Array(256).fill(-1),
    top: new Int32Array(256).fill(-1),
    bottom: new Int32Array(256).fill(-1),
  };
  for (let y = 0; y < height; y++) {
    if (rows.count[y] === 0) continue;
    for (let x = 0; x < width; x++) {
      if (columns.count[x] === 0) continue;
      const slot = merged.slotMap[y * width + x];
      boxes.area[slot] += rows.count[y] * columns.count[x];
      if (boxes.top[slot] < 0) boxes.top[slot] = rows.first[y];
      boxes.bottom[slot] = rows.first[y] + rows.count[y];
      if (columns.first[x] < boxes.left[slot]) boxes.left[slot] = columns.first[x];
      const right = columns.first[x] + columns.count[x];
      if (right > boxes.right[slot]) boxes.right[slot] = right;
    }
  }
  return boxes;
}

/** Where each map index is first read, and how often; indices ascend. */
function spans(indices: Int32Array, length: number): { first: Int32Array; count: Int32Array } {
  const first = new Int32Array(length);
  const count = new Int32Array(length);
  indices.forEach((index, position) => {
    if (count[index]++ === 0) first[index] = position;
  });
  return { first, count };
}

function segment(id: number, slots: number[], merged: Merged, boxes: Boxes, categories: readonly Category[], numPixels: number): Segment {
  const area = slots.reduce((sum, slot) => sum + boxes.area[slot], 0);
  const left = Math.min(...slots.map((slot) => boxes.left[slot]));
  const top = Math.min(...slots.map((slot) => boxes.top[slot]));
  const right = Math.max(...slots.map((slot) => boxes.right[slot]));
  const bottom = Math.max(...slots.map((slot) => boxes.bottom[slot]));
  return {
    id,
    category: categories[merged.slotCategory[slots[0]]],
    area,
    share: area / numPixels,
    bbox: [left, top, right - left, bottom - top],
    score: Math.max(...slots.map((slot) => merged.slotScore[slot])),
  };
}

/** [height, width] as people write it. */
export function sizeText(size: Size): string {
  return `${String(size[1])}×${String(size[0])}`;
}

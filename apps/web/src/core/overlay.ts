/** The coloured layer over a photo. */
import type { Color } from './bundle.js';
import type { View } from './geometry.js';
import { VOID_SLOT, type Merged } from './merge.js';
import type { Segments } from './segments.js';

export interface OverlayStyle {
  /** Of colours and of void's black, 0..1. */
  readonly opacity: number;
  /** Tint pixels that touch another segment. */
  readonly outlines: boolean;
}

const VOID_INK: Color = [60, 60, 60];

/**
 * Paints the overlay at the photo's size.
 *
 * Rows that read the same map row are the same but for their first and last one, so that a 1080p photo costs three
 * lines per map row, and copies.
 *
 * @param out One RGBA pixel an entry (R in the lowest byte), alpha not multiplied in; photo height x width.
 */
export function paint(merged: Merged, view: View, segments: Segments, colors: readonly Color[], style: OverlayStyle, out: Uint32Array): void {
  const [height, width] = view.photo;
  const fill = table(colors, Math.floor(style.opacity * 255 + 0.5));
  const ink = table(colors.map(tint), 255);
  ink[VOID_SLOT] = rgba(VOID_INK, 255);
  for (let y = 0; y < height; ) {
    const row = view.rows[y];
    let end = y + 1;
    while (end < height && view.rows[end] === row) end++;
    const line = out.subarray(y * width, (y + 1) * width);
    fillLine(line, merged, row, view, fill);
    if (style.outlines) {
      drawSides(line, merged, row, view, segments, ink);
      copyDown(out, y, end, width);
      if (y > 0) drawEdge(line, merged, row, view.rows[y - 1], view, segments, ink);
      const last = out.subarray((end - 1) * width, end * width);
      if (end < height) drawEdge(last, merged, row, view.rows[end], view, segments, ink);
    } else {
      copyDown(out, y, end, width);
    }
    y = end;
  }
}

function copyDown(out: Uint32Array, first: number, end: number, width: number): void {
  for (let y = first + 1; y < end; y++) out.copyWithin(y * width, first * width, (first + 1) * width);
}

function fillLine(line: Uint32Array, merged: Merged, row: number, view: View, fill: Uint32Array): void {
  const start = row * merged.size[1];
  const { columns } = view;
  for (let x = 0; x < line.length; x++) line[x] = fill[merged.slotMap[start + columns[x]]];
}

/** Pixels whose left or right neighbour is of another segment. */
function drawSides(line: Uint32Array, merged: Merged, row: number, view: View, segments: Segments, ink: Uint32Array): void {
  const start = row * merged.size[1];
  const { columns } = view;
  const { slotMap } = merged;
  const { idOfSlot } = segments;
  let before = slotMap[start + columns[0]];
  for (let x = 1; x < line.length; x++) {
    const slot = slotMap[start + columns[x]];
    if (slot === before) continue;
    if (idOfSlot[slot] !== idOfSlot[before]) {
      line[x - 1] = ink[before];
      line[x] = ink[slot];
    }
    before = slot;
  }
}

/** Pixels of a row whose neighbour in map row `other` is of another segment. */
function drawEdge(line: Uint32Array, merged: Merged, row: number, other: number, view: View, segments: Segments, ink: Uint32Array): void {
  const start = row * merged.size[1];
  const beyond = other * merged.size[1];
  const { columns } = view;
  const { slotMap } = merged;
  const { idOfSlot } = segments;
  for (let x = 0; x < line.length; x++) {
    const slot = slotMap[start + columns[x]];
    if (idOfSlot[slot] !== idOfSlot[slotMap[beyond + columns[x]]]) line[x] = ink[slot];
  }
}

function table(colors: readonly Color[], alpha: number): Uint32Array {
  return Uint32Array.from(colors, (color) => rgba(color, alpha));
}

function rgba(color: Color, alpha: number): number {
  return ((alpha << 24) | (color[2] << 16) | (color[1] << 8) | color[0]) >>> 0;
}

function tint(color: Color): Color {
  const [red, green, blue] = color.map((c) => Math.floor((c * 35 + 255 * 65 + 50) / 100));
  return [red, green, blue];
}

/** Reads apps/spec. */
import { readFileSync } from 'node:fs';
import type { Category, Size } from '../../src/core/bundle.js';

const FOLDER = new URL('../../../../spec/', import.meta.url); // from .build/tests/core

export interface ArrayRef {
  readonly file: string;
  readonly dtype: 'uint8' | 'float32';
  readonly shape: readonly number[];
}

export function readBytes(file: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(new URL(file, FOLDER)));
}

export function readText(file: string): string {
  return readFileSync(new URL(file, FOLDER), 'utf8');
}

export function readCases<T>(file: string): readonly T[] {
  return (JSON.parse(readText(file)) as { cases: T[] }).cases;
}

export function uint8(ref: ArrayRef): Uint8Array {
  return readBytes(ref.file);
}

export function float32(ref: ArrayRef): Float32Array {
  return new Float32Array(readBytes(ref.file).buffer);
}

export function sizeOf(ref: ArrayRef): Size {
  const [height, width] = ref.shape.slice(-2);
  return [height, width];
}

interface CategoryRow {
  readonly id: number;
  readonly name: string;
  readonly isthing: number;
  readonly color: [number, number, number];
}

export function categoriesOf(rows: readonly CategoryRow[]): Category[] {
  return rows.map((row, index) => ({ index, id: row.id, name: row.name, isThing: row.isthing === 1, color: row.color }));
}

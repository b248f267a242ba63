/** Reads bundle.json (docs/bundle.md). */

/** [height, width]. */
export type Size = readonly [number, number];
export type Color = readonly [number, number, number];
export type MergeMode = 'graph' | 'app';
export type ErrorKind = 'not_json' | 'other_schema' | 'misshapen' | 'outside';

export interface Category {
  readonly index: number;
  readonly id: number;
  readonly name: string;
  readonly isThing: boolean;
  readonly color: Color;
}

export interface MergeConfig {
  readonly thingThreshold: number;
  readonly stuffThreshold: number;
  /** In pixels of the network's input. */
  readonly minArea: number;
  readonly upsample: number;
}

export interface Artifact {
  readonly file: string;
  readonly runtime: string;
  readonly precision: string;
  readonly merge: MergeMode;
  readonly input: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface Bundle {
  readonly name: string;
  /** The network's input. */
  readonly size: Size;
  readonly numSlots: number;
  readonly categories: readonly Category[];
  readonly merge: MergeConfig;
  readonly artifacts: readonly Artifact[];
  /** sha256 by path of every file that is not an artifact. */
  readonly files: ReadonlyMap<string, string>;
}

/** A bundle that cannot be used; the message says what to do. */
export class BundleError extends Error {
  constructor(
    readonly kind: ErrorKind,
    message: string,
  ) {
    super(message);
  }
}

const AGAIN = 'export the bundle again';
type Row = Readonly<Record<string, unknown>>;

/** Slots of the deployed graph, categories and files as bundle.json states them; throws BundleError. */
export function parseBundle(text: string): Bundle {
  const table = parseJson(text);
  const version = isRow(table) ? table['schema_version'] : undefined;
  if (!isRow(table) || typeof version !== 'string' || !/^1(\.|$)/.test(version)) {
    throw new BundleError(
      'other_schema',
      `bundle.json has schema_version ${JSON.stringify(version) ?? 'none'}, this app reads 1.x; update the app, or ${AGAIN}`,
    );
  }
  const input = row(table, 'input');
  need(input['layout'] === 'NHWC' && input['dtype'] === 'uint8', 'input is not NHWC uint8');
  const size = sizeOf(input['size']);
  const numSlots = integer(table, 'num_slots');
  need(numSlots >= 1 && numSlots <= 254, `num_slots is ${String(numSlots)}, not 1 to 254`);
  const categories = rows(table, 'categories').map(category);
  const artifacts = rows(table, 'artifacts').map(artifact);
  need(categories.length > 0 && artifacts.length > 0, 'it lists no category or no artifact');
  const files = new Map(Object.entries(row(table, 'files')).map(([file, sum]) => [inside(file), String(sum)]));
  return { name: string(table, 'name'), size, numSlots, categories, merge: mergeOf(row(table, 'merge')), artifacts, files };
}

/** (height, width) of the slot map. */
export function mapSize(bundle: Bundle): Size {
  const { upsample } = bundle.merge;
  return [(bundle.size[0] / 4) * upsample, (bundle.size[1] / 4) * upsample];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new BundleError('not_json', `bundle.json is damaged (${(error as Error).message}); ${AGAIN}`);
  }
}

function category(entry: Row, position: number): Category {
  const color = entry['color'];
  need(
    Array.isArray(color) && color.length === 3 && color.every((c) => Number.isInteger(c) && c >= 0 && c <= 255),
    `color of category ${String(position)} is not three bytes`,
  );
  const index = integer(entry, 'index');
  need(index === position, `category ${String(index)} stands at position ${String(position)}`);
  const isThing = entry['is_thing'];
  need(typeof isThing === 'boolean', `is_thing of category ${String(index)} is not a boolean`);
  return { index, id: integer(entry, 'id'), name: string(entry, 'name'), isThing: isThing as boolean, color: color as unknown as Color };
}

function artifact(entry: Row): Artifact {
  const merge = string(entry, 'merge');
  need(merge === 'graph' || merge === 'app', `merge is ${merge}, not graph or app`);
  return {
    file: inside(string(entry, 'file')),
    runtime: string(entry, 'runtime'),
    precision: string(entry, 'precision'),
    merge: merge as MergeMode,
    input: string(entry, 'input'),
    bytes: integer(entry, 'bytes'),
    sha256: string(entry, 'sha256'),
  };
}

function mergeOf(entry: Row): MergeConfig {
  const upsample = integer(entry, 'upsample');
  need([1, 2, 4].includes(upsample), `upsample is ${String(upsample)}, not 1, 2 or 4`);
  return {
    thingThreshold: number(entry, 'thing_threshold'),
    stuffThreshold: number(entry, 'stuff_threshold'),
    minArea: integer(entry, 'min_area'),
    upsample,
  };
}

function sizeOf(value: unknown): Size {
  const sides: unknown[] = Array.isArray(value) ? value : [];
  const fits = sides.length === 2 && sides.every((side) => Number.isInteger(side) && (side as number) > 0 && (side as number) % 4 === 0);
  need(fits, 'input size is not two multiples of 4');
  return [sides[0] as number, sides[1] as number];
}

function inside(file: string): string {
  if (file.startsWith('/') || file.includes('\\') || file.split('/').includes('..')) {
    throw new BundleError('outside', `bundle.json lists ${file}, which is outside the bundle; do not trust it`);
  }
  return file;
}

function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function need(holds: boolean, otherwise: string): void {
  if (!holds) throw new BundleError('misshapen', `bundle.json is not as docs/bundle.md says: ${otherwise}; ${AGAIN}`);
}

function row(table: Row, key: string): Row {
  const value = table[key];
  need(isRow(value), `${key} is not an object`);
  return value as Row;
}

function rows(table: Row, key: string): Row[] {
  const value = table[key];
  need(Array.isArray(value) && value.every(isRow), `${key} is not a list of objects`);
  return value as Row[];
}

function string(table: Row, key: string): string {
  const value = table[key];
  need(typeof value === 'string', `${key} is not a text`);
  return value as string;
}

function number(table: Row, key: string): number {
  const value = table[key];
  need(typeof value === 'number' && Number.isFinite(value), `${key} is not a number`);
  return value as number;
}

function integer(table: Row, key: string): number {
  const value = number(table, key);
  need(Number.isInteger(value), `${key} is ${String(value)}, not an integer`);
  return value;
}

/** Between a photo and the network's input, in integers (apps/spec/README.md). */
import type { Size } from './bundle.js';

/** How a photo lies in the network's input, and which map pixel each of its pixels reads. */
export interface View {
  readonly photo: Size;
  readonly fitted: Size;
  /** Map row of each photo row. */
  readonly rows: Int32Array;
  /** Map column of each photo column. */
  readonly columns: Int32Array;
}

/** The largest [height, width] of the photo's aspect ratio inside the network's input; halves round up. */
export function fittedSize(photo: Size, network: Size): Size {
  const [height, width] = photo;
  const [most, widest] = network;
  if (height * widest >= width * most) return [most, Math.max(1, Math.floor((2 * width * most + height) / (2 * height)))];
  return [Math.max(1, Math.floor((2 * height * widest + width) / (2 * width))), widest];
}

/** The way back from a map that is 4 / upsample times smaller than the network's input. */
export function viewOf(photo: Size, network: Size, upsample: number): View {
  const fitted = fittedSize(photo, network);
  const factor = 4 / upsample;
  return { photo, fitted, rows: nearest(photo[0], fitted[0], factor), columns: nearest(photo[1], fitted[1], factor) };
}

/**
 * Scales a photo to fit, top-left, zeros right and below.
 *
 * @param photo Bytes, `channels` a pixel: RGB, or RGBA whose alpha is ignored.
 * @returns height x width x 3 bytes.
 */
export function letterbox(photo: Uint8Array | Uint8ClampedArray, size: Size, channels: 3 | 4, network: Size): Uint8Array {
  const fitted = fittedSize(size, network);
  const out = new Uint8Array(network[0] * network[1] * 3);
  const weights = fitted[0] < size[0] ? covered : between;
  const down = weights(size[0], fitted[0]);
  const across = weights(size[1], fitted[1]);
  const total = down.total * across.total;
  const sums = new Float64Array(fitted[1] * 3);
  const line = new Int32Array(fitted[1] * 3);
  let filled = -1; // which photo row `line` holds: neighbours share one
  for (let y = 0; y < fitted[0]; y++) {
    sums.fill(0);
    for (let tap = down.start[y]; tap < down.start[y + 1]; tap++) {
      if (filled !== down.source[tap]) {
        filled = down.source[tap];
        sumAcross(photo, filled * size[1] * channels, channels, across, line);
      }
      const weight = down.weight[tap];
      for (let i = 0; i < line.length; i++) sums[i] += line[i] * weight;
    }
    const start = y * network[1] * 3;
    for (let i = 0; i < line.length; i++) out[start + i] = Math.floor((2 * sums[i] + total) / (2 * total));
  }
  return out;
}

/** Weights of one direction: output `i` sums `weight[t] * input[source[t]]` over t in start[i] .. start[i + 1]. */
interface Weights {
  readonly start: Int32Array;
  readonly source: Int32Array;
  readonly weight: Int32Array;
  readonly total: number;
}

function sumAcross(photo: Uint8Array | Uint8ClampedArray, offset: number, channels: number, across: Weights, line: Int32Array): void {
  const { start, source, weight } = across;
  for (let x = 0, i = 0; x + 1 < start.length; x++, i += 3) {
    let red = 0;
    let green = 0;
    let blue = 0;
    for (let tap = start[x]; tap < start[x + 1]; tap++) {
      const from = offset + source[tap] * channels;
      const w = weight[tap];
      red += w * photo[from];
      green += w * photo[from + 1];
      blue += w * photo[from + 2];
    }
    line[i] = red;
    line[i + 1] = green;
    line[i + 2] = blue;
  }
}

/** Each output pixel is the mean of what it covers. */
function covered(length: number, fitted: number): Weights {
  const start = [0];
  const source: number[] = [];
  const weight: number[] = [];
  for (let out = 0; out < fitted; out++) {
    const [from, to] = [out * length, (out + 1) * length];
    for (let i = Math.floor(from / fitted); i * fitted < to; i++) {
      source.push(i);
      weight.push(Math.min(to, (i + 1) * fitted) - Math.max(from, i * fitted));
    }
    start.push(source.length);
  }
  return packed(start, source, weight, length);
}

/** Each output pixel lies between two centres; the edge repeats. */
function between(length: number, fitted: number): Weights {
  const start = [0];
  const source: number[] = [];
  const weight: number[] = [];
  for (let out = 0; out < fitted; out++) {
    const position = Math.max(0, (2 * out + 1) * length - fitted);
    const first = Math.floor(position / (2 * fitted));
    const rest = position % (2 * fitted);
    source.push(first, Math.min(first + 1, length - 1));
    weight.push(2 * fitted - rest, rest);
    start.push(source.length);
  }
  return packed(start, source, weight, 2 * fitted);
}

function packed(start: number[], source: number[], weight: number[], total: number): Weights {
  return { start: Int32Array.from(start), source: Int32Array.from(source), weight: Int32Array.from(weight), total };
}

function nearest(length: number, fitted: number, factor: number): Int32Array {
  return Int32Array.from({ length }, (_, i) => Math.floor(((2 * i + 1) * fitted) / (2 * length * factor)));
}

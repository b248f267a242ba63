/** From pixels to an answer on the screen, each stage timed. */
import type { Bundle, Color, Size } from '../core/bundle.js';
import { slotColors } from '../core/color.js';
import { letterbox, viewOf, type View } from '../core/geometry.js';
import type { Merged } from '../core/merge.js';
import { paint, type OverlayStyle } from '../core/overlay.js';
import { segmentsOf, type Segments } from '../core/segments.js';
import type { StageTimes } from '../core/statistics.js';
import { toMerged } from '../runtime/outputs.js';
import type { Photo } from './capture.js';
import type { Model } from './model.js';

/** A photo with what was found in it. */
export interface Result {
  readonly photo: Photo;
  readonly merged: Merged;
  readonly view: View;
  readonly segments: Segments;
  readonly colors: readonly Color[];
}

export interface Timed {
  readonly result: Result;
  readonly times: Omit<StageTimes, 'capture' | 'draw'>;
}

/** Letterbox, artifact, merge, segments. */
export async function segment(photo: Photo, model: Model, bundle: Bundle): Promise<Timed> {
  const started = performance.now();
  const image = letterbox(photo.pixels, photo.size, 4, bundle.size) as Uint8Array<ArrayBuffer>;
  const ready = performance.now();
  const { outputs, runMs } = await model.segmenter.run(image);
  const ran = performance.now();
  const result = describe(photo, toMerged(outputs, bundle), bundle);
  return { result, times: { pre: ready - started, run: runMs, post: performance.now() - ran } };
}

export function describe(photo: Photo, merged: Merged, bundle: Bundle): Result {
  const view = viewOf(photo.size, bundle.size, bundle.merge.upsample);
  return { photo, merged, view, segments: segmentsOf(merged, view, bundle.categories), colors: slotColors(merged, bundle.categories) };
}

/** Two canvases, one on the other: the photo and the overlay. */
export class Stage {
  private layer = new ImageData(1, 1);

  constructor(
    private readonly photo: HTMLCanvasElement,
    private readonly overlay: HTMLCanvasElement,
  ) {}

  /** Draws photo and overlay. */
  show(result: Result, style: OverlayStyle): void {
    fit(this.photo, result.photo.size);
    context(this.photo).drawImage(result.photo.picture, 0, 0);
    this.restyle(result, style);
  }

  /** Draws the overlay alone. */
  restyle(result: Result, style: OverlayStyle): void {
    const [height, width] = result.photo.size;
    fit(this.overlay, result.photo.size);
    if (this.layer.width !== width || this.layer.height !== height) this.layer = new ImageData(width, height);
    paint(result.merged, result.view, result.segments, result.colors, style, new Uint32Array(this.layer.data.buffer));
    context(this.overlay).putImageData(this.layer, 0, 0);
  }

  /** Photo and overlay as one PNG. */
  async picture(): Promise<Blob> {
    const canvas = document.createElement('canvas');
    fit(canvas, [this.photo.height, this.photo.width]);
    context(canvas).drawImage(this.photo, 0, 0);
    context(canvas).drawImage(this.overlay, 0, 0);
    return pngOf(canvas);
  }
}

export function pngOf(canvas: HTMLCanvasElement): Promise<Blob> {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => {
      if (blob === null) reject(new Error('the browser could not write the PNG; is memory short?'));
      else resolve(blob);
    }, 'image/png');
  });
}

function fit(canvas: HTMLCanvasElement, [height, width]: Size): void {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}

function context(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const found = canvas.getContext('2d');
  if (found === null) throw new Error('the browser gives no canvas; is memory short?');
  return found;
}

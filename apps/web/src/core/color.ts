/** A colour per slot: stuff has its category's, a thing slot the shade that belongs to its number. */
import type { Category, Color } from './bundle.js';
import type { Merged } from './merge.js';

const GOLDEN = 0.618034; // multiples modulo 1 spread evenly however many there are
const PLASTIC = 0.754878; // the same for a second dimension

/** 256 entries; empty slots and void are black. */
export function slotColors(merged: Merged, categories: readonly Category[]): Color[] {
  const colors = new Array<Color>(256).fill([0, 0, 0]);
  merged.slotCategory.forEach((index, slot) => {
    if (index >= 0) colors[slot] = categories[index].isThing ? shade(categories[index].color, slot) : categories[index].color;
  });
  return colors;
}

/** The colour itself for rank 0, then shades that differ in lightness and a little in hue. */
export function shade(color: Color, rank: number): Color {
  const [hue, lightness, saturation] = toHls(color);
  const turned = hue + 0.1 * (((rank * PLASTIC + 0.5) % 1) - 0.5);
  const spread = 0.44 * (((rank * GOLDEN + 0.5) % 1) - 0.5);
  const lit = rank > 0 ? Math.min(Math.max(lightness, 0.36), 0.66) + spread : lightness;
  return fromHls(modulo(turned), lit, saturation);
}

function toHls(color: Color): [number, number, number] {
  const [red, green, blue] = color.map((c) => c / 255);
  const most = Math.max(red, green, blue);
  const least = Math.min(red, green, blue);
  const sum = most + least;
  const range = most - least;
  const lightness = sum / 2;
  if (most === least) return [0, lightness, 0];
  const saturation = lightness <= 0.5 ? range / sum : range / (2 - most - least);
  const [r, g, b] = [red, green, blue].map((c) => (most - c) / range);
  const sixths = red === most ? b - g : green === most ? 2 + r - b : 4 + g - r;
  return [modulo(sixths / 6), lightness, saturation];
}

function fromHls(hue: number, lightness: number, saturation: number): Color {
  const high = lightness <= 0.5 ? lightness * (1 + saturation) : lightness + saturation - lightness * saturation;
  const low = 2 * lightness - high;
  const [red, green, blue] = [hue + 1 / 3, hue, hue - 1 / 3].map((h) =>
    saturation === 0 ? lightness : channel(low, high, modulo(h)),
  );
  return [Math.round(red * 255), Math.round(green * 255), Math.round(blue * 255)];
}

function channel(low: number, high: number, hue: number): number {
  if (hue < 1 / 6) return low + (high - low) * hue * 6;
  if (hue < 0.5) return high;
  if (hue < 2 / 3) return low + (high - low) * (2 / 3 - hue) * 6;
  return low;
}

function modulo(value: number): number {
  return ((value % 1) + 1) % 1;
}

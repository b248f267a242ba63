/** The self-check: the bundle's golden images through the real runtime. */
import type { Bundle } from '../core/bundle.js';
import { mapSize } from '../core/bundle.js';
import { readNpz } from '../core/npz.js';
import { floorOf, judgedShare, pixelsEqual, type Answer } from '../core/selfcheck.js';
import { decode, Grabber } from './capture.js';
import { answer, type Model } from './model.js';
import type { OpenedBundle } from './source.js';

export interface CheckResult {
  readonly passed: boolean;
  readonly text: string;
}

/** Runs every golden image of the artifact's precision. */
export async function selfCheck(bundle: OpenedBundle, model: Model): Promise<CheckResult> {
  const { artifact } = model.choice;
  const goldens = [...bundle.bundle.files.keys()].filter((file) => file.startsWith('golden/') && file.endsWith(`.${artifact.precision}.npz`));
  if (goldens.length === 0) return { passed: false, text: `FAIL: the bundle has no golden answers for ${artifact.precision}; export it again` };
  const shares: number[] = [];
  for (const file of goldens) shares.push(await share(file, bundle, model));
  const equal = judgedShare(artifact.precision, shares);
  const floor = floorOf(artifact.precision);
  const passed = equal >= floor;
  const images = goldens.length === 1 ? '1 image' : `${String(goldens.length)} images`;
  const text = `${passed ? 'PASS' : 'FAIL'}: ${equal.toFixed(4)} of the pixels equal on ${images}, at least ${String(floor)} wanted`;
  return { passed, text: passed ? text : `${text}; try another artifact or accelerator` };
}

async function share(file: string, bundle: OpenedBundle, model: Model): Promise<number> {
  const wanted = await expected(await bundle.read(file), bundle.bundle);
  const png = await bundle.read(file.replace(/\.[^.]+\.npz$/, '.png'));
  const bitmap = await decode(new Blob([png], { type: 'image/png' }));
  const { pixels, size } = new Grabber().grab(bitmap, [bitmap.height, bitmap.width], file);
  if (size[0] !== bundle.bundle.size[0] || size[1] !== bundle.bundle.size[1]) throw new Error(`${file}: its image has another size than the network`);
  const image = Uint8Array.from({ length: size[0] * size[1] * 3 }, (_, i) => pixels[Math.floor(i / 3) * 4 + (i % 3)]);
  return pixelsEqual(await answer(model, bundle, image), wanted);
}

async function expected(bytes: Uint8Array<ArrayBuffer>, bundle: Bundle): Promise<Answer> {
  const arrays = await readNpz(bytes);
  const slotMap = arrays.get('slot_map')?.data;
  const slotCategory = arrays.get('slot_category')?.data;
  const [height, width] = mapSize(bundle);
  if (!(slotMap instanceof Uint8Array) || !(slotCategory instanceof Int32Array) || slotMap.length !== height * width) {
    throw new Error('the golden answer has another shape than bundle.json states; export the bundle again');
  }
  return { slotMap, slotCategory };
}

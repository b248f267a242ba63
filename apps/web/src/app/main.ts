/** Wires the page: one bundle, one model, one picture at a time. */
import { segmentAt } from '../core/segments.js';
import { Window, type StageTimes } from '../core/statistics.js';
import type { OverlayStyle } from '../core/overlay.js';
import { bench, jsonLines, type BenchResult } from './bench.js';
import { Camera, decode, Grabber, type Photo } from './capture.js';
import { selfCheck } from './check.js';
import { appBase, firstChoice, openModel, type Choice, type Model } from './model.js';
import { element, percent, say, showBench, showCheck, showChoice, showLegend, showTapped, showTimes } from './page.js';
import { segment, Stage, type Result } from './pipeline.js';
import { give, panopticFiles } from './share.js';
import { openBundle, pickedSource, servedSource, type OpenedBundle, type Source } from './source.js';

const WINDOW_SECONDS = 5;

const stage = new Stage(element('photo'), element('overlay'));
const grabber = new Grabber();
const times = new Window(WINDOW_SECONDS);

let bundle: OpenedBundle | undefined;
let model: Model | undefined;
let camera: Camera | undefined;
let result: Result | undefined;
let frozen = false;
let measured: readonly BenchResult[] = [];
let busy: Promise<void> = Promise.resolve();

/** One change after the other; what fails is said, and the next change may come. */
function queue(work: () => Promise<void>): void {
  busy = busy.then(work).catch((error: unknown) => {
    say(error instanceof Error ? error.message : String(error));
  });
}

async function useBundle(source: Source): Promise<void> {
  const opened = await openBundle(source);
  await use(opened, firstChoice(opened));
}

/** Opens an artifact and checks it; what was there before stays until the new one is open. */
async function use(opened: OpenedBundle, choice: Choice): Promise<void> {
  say('');
  showCheck(undefined);
  try {
    const next = await openModel(opened, choice);
    model?.segmenter.release();
    [bundle, model] = [opened, next];
    times.clear();
    element('bundle-name').textContent = opened.name;
    element('engine').textContent = `${next.engine}, threads: ${String(choice.threads)}`;
    showCheck(await selfCheck(opened, next));
    if (result !== undefined && camera === undefined) await see(result.photo, 0);
  } catch (error) {
    const stays = model === undefined ? 'nothing runs' : `${model.choice.artifact.file} stays`;
    showCheck({ passed: false, text: `${choice.artifact.file} failed, ${stays}` });
    throw error;
  } finally {
    const shown = bundle ?? opened;
    await showChoice(shown.bundle, model?.choice ?? choice);
  }
}

function style(): OverlayStyle {
  return { opacity: element<HTMLInputElement>('opacity').valueAsNumber, outlines: element<HTMLInputElement>('outlines').checked };
}

/** Segments a picture and shows the answer. */
async function see(photo: Photo, capture: number): Promise<void> {
  if (model === undefined || bundle === undefined) return;
  const { result: found, times: spent } = await segment(photo, model, bundle.bundle);
  result = found;
  const started = performance.now();
  stage.show(found, style());
  const all: StageTimes = { capture, ...spent, draw: performance.now() - started };
  times.add(performance.now(), all);
  showLegend(found);
  showTimes(times);
  showTapped('', 0, 0);
  for (const id of ['freeze', 'share-picture', 'share-segments']) element<HTMLButtonElement>(id).disabled = false;
  document.body.dataset['shown'] = photo.name;
}

async function watch(opened: Camera): Promise<void> {
  while (camera === opened) {
    if (!opened.isLive) {
      closeCamera();
      say('The camera went away. Connect it and press Camera again, or pick a photo.');
      return;
    }
    await opened.nextFrame();
    if (frozen || document.hidden) continue;
    await busy;
    if (camera !== opened) return;
    const started = performance.now();
    const { videoHeight, videoWidth } = opened.video;
    const photo = grabber.grab(opened.video, [videoHeight, videoWidth], 'camera.png');
    const capture = performance.now() - started;
    queue(() => see(photo, capture));
    await busy;
  }
}

function closeCamera(): void {
  camera?.close();
  camera = undefined;
  setFrozen(false);
  element('camera').setAttribute('aria-pressed', 'false');
}

function setFrozen(value: boolean): void {
  frozen = value;
  element('freeze').setAttribute('aria-pressed', String(value));
}

async function pickPhoto(file: File): Promise<void> {
  closeCamera();
  const started = performance.now();
  const bitmap = await decode(file);
  const photo = new Grabber().grab(bitmap, [bitmap.height, bitmap.width], file.name);
  bitmap.close();
  say('');
  await see(photo, performance.now() - started);
}

/** A file input that may be given the same file twice. */
function onFiles(id: string, use: (files: FileList) => Promise<void>): void {
  const input = element<HTMLInputElement>(id);
  input.addEventListener('change', () => {
    const { files } = input;
    if (files === null || files.length === 0) return;
    queue(async () => {
      await use(files);
      input.value = '';
    });
  });
}

function onClick(id: string, work: () => Promise<void>): void {
  element(id).addEventListener('click', () => {
    queue(work);
  });
}

function wirePicture(): void {
  onClick('camera', async () => {
    if (camera !== undefined) {
      closeCamera();
      return;
    }
    camera = await Camera.open();
    times.clear();
    say('');
    element('camera').setAttribute('aria-pressed', 'true');
    void watch(camera).catch((error: unknown) => {
      closeCamera();
      say(String(error));
    });
  });
  onFiles('pick', (files) => pickPhoto(files[0]));
  element('freeze').addEventListener('click', () => {
    setFrozen(!frozen);
  });
  onClick('share-picture', async () => {
    await give([new File([await stage.picture()], 'edgeseg.png', { type: 'image/png' })]);
  });
  onClick('share-segments', async () => {
    if (result !== undefined && bundle !== undefined) await give(await panopticFiles(result, bundle.bundle));
  });
  for (const id of ['opacity', 'outlines']) {
    element(id).addEventListener('input', () => {
      if (result !== undefined) stage.restyle(result, style());
      localStorage.setItem('style', JSON.stringify(style()));
    });
  }
  element('overlay').addEventListener('click', nameSegment);
}

function nameSegment(event: MouseEvent): void {
  if (result === undefined) return;
  const canvas = element<HTMLCanvasElement>('overlay');
  const place = placeOf(event, canvas);
  if (place === undefined) return;
  const [x, y] = place;
  const found = segmentAt(x, y, result.merged, result.view, result.segments);
  const text = found === undefined ? 'void' : `${found.category.name}, ${percent(found.share)}, score ${found.score.toFixed(2)}`;
  const box = canvas.getBoundingClientRect();
  showTapped(text, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
}

/** The photo's pixel under the pointer; the picture is fitted inside its canvas. */
function placeOf(event: MouseEvent, canvas: HTMLCanvasElement): [number, number] | undefined {
  const box = canvas.getBoundingClientRect();
  const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
  const x = Math.floor((event.clientX - box.left - (box.width - canvas.width * scale) / 2) / scale);
  const y = Math.floor((event.clientY - box.top - (box.height - canvas.height * scale) / 2) / scale);
  return x >= 0 && y >= 0 && x < canvas.width && y < canvas.height ? [x, y] : undefined;
}

function wireModel(): void {
  for (const id of ['artifact', 'accelerator', 'threads']) {
    element(id).addEventListener('change', () => {
      queue(async () => {
        const file = element<HTMLSelectElement>('artifact').value;
        const artifact = bundle?.bundle.artifacts.find((candidate) => candidate.file === file);
        if (artifact === undefined || bundle === undefined) return;
        const accelerator = element<HTMLSelectElement>('accelerator').value as Choice['accelerator'];
        await use(bundle, { artifact, accelerator, threads: Number(element<HTMLSelectElement>('threads').value) });
      });
    });
  }
  onFiles('open-bundle', (files) => useBundle(pickedSource(files)));
}

function wireBench(): void {
  onClick('bench', async () => {
    if (bundle === undefined || model === undefined) return;
    setFrozen(true); // nothing else may run meanwhile
    const button = element<HTMLButtonElement>('bench');
    const state = element('bench-state');
    button.disabled = true;
    try {
      const seconds = element<HTMLInputElement>('bench-seconds').valueAsNumber;
      if (!(seconds > 0)) throw new Error('Seconds a round must be above zero.');
      const { accelerator, threads } = model.choice;
      measured = await bench(bundle, { accelerator, threads, seconds }, (text) => (state.textContent = text));
      showBench(measured);
      state.textContent = `done: ${accelerator}, threads: ${String(threads)}`;
      element<HTMLButtonElement>('bench-save').disabled = false;
    } finally {
      button.disabled = false;
      setFrozen(false);
    }
  });
  onClick('bench-save', () => give([new File([jsonLines(measured)], 'measurements.jsonl', { type: 'application/jsonl' })]));
}

function restoreStyle(): void {
  const kept = JSON.parse(localStorage.getItem('style') ?? '{}') as Partial<OverlayStyle>;
  element<HTMLInputElement>('opacity').valueAsNumber = kept.opacity ?? 0.55;
  element<HTMLInputElement>('outlines').checked = kept.outlines ?? true;
}

restoreStyle();
wirePicture();
wireModel();
wireBench();
queue(() => useBundle(servedSource(appBase())));
if (import.meta.env.PROD && 'serviceWorker' in navigator) {
  navigator.serviceWorker.register('./sw.js').catch((error: unknown) => {
    say(`The page will not work offline: ${String(error)}`);
  });
}

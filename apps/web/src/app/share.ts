/** Gives files to the user: the system's share sheet on phones, downloads elsewhere. */
import { panopticDocument, panopticPixels } from '../core/panoptic.js';
import { segmentMap } from '../core/segments.js';
import type { Bundle } from '../core/bundle.js';
import { pngOf, type Result } from './pipeline.js';

export async function give(files: readonly File[]): Promise<void> {
  const isTouch = matchMedia('(pointer: coarse)').matches;
  if (isTouch && navigator.canShare({ files: [...files] })) {
    try {
      await navigator.share({ files: [...files] });
    } catch (error) {
      if (!(error instanceof DOMException && error.name === 'AbortError')) throw error;
    }
    return;
  }
  for (const file of files) {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(file);
    link.download = file.name;
    link.click();
    setTimeout(() => {
      URL.revokeObjectURL(link.href);
    }, 60_000);
  }
}

/** COCO panoptic: NAME.panoptic.json and the PNG that it names. */
export async function panopticFiles(result: Result, bundle: Bundle): Promise<File[]> {
  const { photo, merged, view, segments } = result;
  const stem = photo.name.replace(/\.[^.]*$/, '');
  const canvas = document.createElement('canvas');
  [canvas.height, canvas.width] = photo.size;
  const pixels = panopticPixels(segmentMap(merged, view, segments));
  canvas.getContext('2d')?.putImageData(new ImageData(pixels, canvas.width, canvas.height), 0, 0);
  const document_ = JSON.stringify(panopticDocument(photo.name, photo.size, segments, bundle.categories));
  return [
    new File([document_], `${stem}.panoptic.json`, { type: 'application/json' }),
    new File([await pngOf(canvas)], `${stem}.png`, { type: 'image/png' }),
  ];
}

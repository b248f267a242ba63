/** COCO panoptic: the JSON and the PNG's pixels of one photo. */
import type { Category, Size } from './bundle.js';
import type { Segments } from './segments.js';

/** The document that `edgeseg predict` writes, for one photo with image id 1. */
export function panopticDocument(fileName: string, photo: Size, segments: Segments, categories: readonly Category[]): object {
  return {
    images: [{ id: 1, file_name: fileName, height: photo[0], width: photo[1] }],
    annotations: [
      {
        image_id: 1,
        file_name: `${fileName.replace(/\.[^.]*$/, '')}.png`,
        segments_info: segments.list.map((segment) => ({
          id: segment.id,
          category_id: segment.category.id,
          area: segment.area,
          bbox: [...segment.bbox],
          iscrowd: 0,
          ...(segment.score === 1 ? {} : { score: Math.round(segment.score * 1e6) / 1e6 }),
        })),
      },
    ],
    categories: categories.map((category) => ({
      id: category.id,
      name: category.name,
      supercategory: category.name,
      isthing: Number(category.isThing),
      color: [...category.color],
    })),
  };
}

/** RGBA pixels of the PNG: id = R + 256 G + 65536 B; a picture has at most 255 segments, so G and B are 0. */
export function panopticPixels(ids: Uint8Array): Uint8ClampedArray<ArrayBuffer> {
  const pixels = new Uint8ClampedArray(ids.length * 4);
  ids.forEach((id, pixel) => {
    pixels[4 * pixel] = id;
    pixels[4 * pixel + 3] = 255;
  });
  return pixels;
}

"""Prediction on a user's own photos."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.coco_panoptic import write_panoptic
from edgeseg.data.photo import IMAGE_SUFFIXES, read_image
from edgeseg.data.placing import save_png
from edgeseg.engine.evaluate import Predictor, segment_image
from edgeseg.structures import Category, InputError, Segment
from edgeseg.visualize import overlay_with_legend


def find_images(patterns: Sequence[str]) -> list[Path]:
    """Files, folders (every image in them, at any depth) and globs, in order, each once.

    Raises:
        InputError: A pattern that matches nothing, or a folder without images.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise InputError(f"folder {path} holds no images ({', '.join(IMAGE_SUFFIXES)})")
            found.update(dict.fromkeys(inside))
        elif path.is_file():
            found[path] = None
        elif matches := sorted(glob.glob(pattern, recursive=True)):
            found.update(dict.fromkeys(Path(match) for match in matches if Path(match).is_file()))
        else:
            raise InputError(f"{pattern} is neither a file nor a folder, and matches nothing")
    if not found:
        raise InputError("no images given; name files, folders or globs")
    return list(found)


def predict_images(
    predictor: Predictor,
    images: Sequence[Path],
    out: Path,
    *,
    size: tuple[int, int],
    categories: Sequence[Category],
    on_progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, object]]:
    """Segments photos; writes OUT/overlays/*.png, OUT/panoptic/*.png and OUT/panoptic.json (COCO panoptic).

    Args:
        predictor: Takes images of the network's size.
        images: Photos of any size.
        out: Folder to write into.
        size: The network's (height, width).
        categories: In order of their contiguous index.
        on_progress: Called with (done, total).

    Returns:
        Per photo: file, overlay, number of segments by category name.
    """
    names = _flat_names(images)
    (out / "overlays").mkdir(parents=True, exist_ok=True)
    label = {category.id: category.name for category in categories}
    summaries: list[dict[str, object]] = []

    def results() -> Iterator[tuple[int, str, NDArray[np.int32], Sequence[Segment]]]:
        for number, (path, name) in enumerate(zip(images, names, strict=True), start=1):
            image = read_image(path, upright=True)
            panoptic_map, segments = segment_image(predictor, image, size, categories)
            overlay = out / "overlays" / f"{Path(name).stem}.png"
            save_png(overlay_with_legend(image, panoptic_map, segments, categories), overlay)
            counts: dict[str, int] = {}
            for segment in segments:
                counts[label[segment.category_id]] = counts.get(label[segment.category_id], 0) + 1
            summaries.append({"image": str(path), "overlay": str(overlay), "segments": counts})
            if on_progress is not None:
                on_progress(number, len(images))
            yield number, name, panoptic_map, segments

    write_panoptic(out / "panoptic.json", out / "panoptic", results(), categories=categories)
    return summaries


def _flat_names(images: Sequence[Path]) -> list[str]:
    """File names for the results; where two photos share one, the folder's name goes in front.

    Two photos in one folder that differ only in their suffix keep it in the name.
    """
    names: list[str] = []
    taken: set[str] = set()
    for path in images:
        candidates = [path.name, f"{path.stem}_{path.suffix[1:]}{path.suffix}", f"{path.parent.name}_{path.name}"]
        candidates += [f"{path.stem}_{number}{path.suffix}" for number in range(2, len(images) + 2)]
        name = next(c for c in candidates if Path(c).stem not in taken)
        taken.add(Path(name).stem)
        names.append(name)
    return names

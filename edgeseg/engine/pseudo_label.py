"""Labels for photos that nobody labelled, from a trained network: what it is not sure of stays void.

Source: Chen et al., "Naive-Student", arXiv 2005.10266 (predict labels from scaled and mirrored copies, train on them
and the real ones together, repeat). What differs here: the copies are mirrored only, and decide what is believed, not
what is predicted, because segments of two copies cannot be averaged; and what is not believed is void.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from edgeseg.data.coco_panoptic import PanopticFolder, write_panoptic
from edgeseg.data.photo import IMAGE_SUFFIXES, read_image
from edgeseg.data.placing import link_or_copy, written_aside
from edgeseg.data.transforms import letterbox, unletterbox_map
from edgeseg.engine.checkpoint import Checkpoint
from edgeseg.engine.evaluate import require_same_categories
from edgeseg.merge import merge_slots, merged_to_segments
from edgeseg.structures import VOID_SLOT, InputError, Merged, Segment, Slots
from edgeseg.tasks import category_probability

_FORWARD, _BACKWARD = slice(None), slice(None, None, -1)

Label = tuple[NDArray[np.int32], tuple[Segment, ...]]
"""(H, W) segment ids with 0 = void, and their table."""


@dataclass(frozen=True)
class Thresholds:
    """From when on the teacher is believed.

    Attributes:
        thing: Smallest class probability of a thing.
        stuff: Smallest class probability of stuff.
        pixel: Smallest probability that a pixel belongs to its segment.
        category: Smallest probability of a pixel's category, mean over the photo and its mirror images; 0 = any.
        min_area: Pixels of the network's input that a slot must keep.
        min_labelled: Share of a photo that must not be void; photos below it are left out.
    """

    thing: float
    stuff: float
    pixel: float
    category: float
    min_area: int
    min_labelled: float

    def __post_init__(self) -> None:
        for name in ("thing", "stuff", "pixel", "category", "min_labelled"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"threshold {name} = {getattr(self, name)}: a value from 0 to 1 is wanted")


class Labeller:
    """A teacher with its thresholds.

    Args:
        checkpoint: A trained float network.
        thresholds: What is believed.
    """

    def __init__(self, checkpoint: Checkpoint, thresholds: Thresholds) -> None:
        self.model = checkpoint.model().deployable()
        self.categories, self.size = checkpoint.categories, checkpoint.config.data.image_size
        self.thresholds = thresholds
        self.merge = replace(
            checkpoint.config.merge,
            thing_threshold=thresholds.thing,
            stuff_threshold=thresholds.stuff,
            min_area=thresholds.min_area,
        )
        self.is_thing = np.array([category.is_thing for category in self.categories])
        data = checkpoint.config.data
        self.views = [  # the photo itself first
            (up_down, left_right)
            for up_down in (_FORWARD, _BACKWARD)[: 1 + data.flip_vertical]
            for left_right in (_FORWARD, _BACKWARD)[: 1 + data.flip]
        ]

    def label(self, image: NDArray[np.uint8]) -> Label:
        """Labels a photo of any size.

        Args:
            image: (H, W, 3) uint8 RGB.
        """
        size = image.shape[0], image.shape[1]
        slots, fitted = self._answer(image)
        class_logits, mask_logits = slots.class_logits[0].numpy(), slots.mask_logits[0]
        merged = merge_slots(class_logits, mask_logits.numpy(), config=self.merge, is_thing=self.is_thing)
        own = certainty(mask_logits, merged, self.merge.upsample, self.is_thing)
        cells = np.arange(own.size).reshape(own.shape)
        cell = unletterbox_map(cells, fitted, self.size, size)  # (H, W) cell of the maps that each pixel takes
        slot_map = merged.slot_map.ravel()[cell]
        believed = own.ravel()[cell] >= self.thresholds.pixel
        if self.thresholds.category > 0:
            category = merged.slot_category[np.where(slot_map == VOID_SLOT, 0, slot_map)]
            believed &= self._agreement(image, slots, category, cell) >= self.thresholds.category
        slot_map = np.where(believed, slot_map, VOID_SLOT).astype(np.uint8)
        input_area = np.bincount(slot_map.ravel(), minlength=VOID_SLOT + 1) * (math.prod(fitted) / math.prod(size))
        slot_map[input_area[slot_map] < self.merge.min_area] = VOID_SLOT
        return merged_to_segments(merged, slot_map, self.categories)

    @torch.inference_mode()
    def _answer(self, image: NDArray[np.uint8]) -> tuple[Slots, tuple[int, int]]:
        """Slots of one photo, and what `letterbox` says of its size in them."""
        fitted_image, fitted = letterbox(image, self.size)
        slots: Slots = self.model(torch.from_numpy(fitted_image).permute(2, 0, 1)[None].float())
        return slots, fitted

    def _agreement(
        self, image: NDArray[np.uint8], slots: Slots, category: NDArray[np.int32], cell: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """(H, W) probability of each pixel's category among all, mean over the photo and its mirror images.

        Args:
            image: (H, W, 3) uint8 RGB.
            slots: The network's answer to it.
            category: (H, W) contiguous index.
            cell: (H, W) cell of the maps that each pixel takes, which the mirrored pixel of a mirror image takes too.
        """
        agreement = np.zeros(category.shape, dtype=np.float32)
        mirrored = (self._answer(np.ascontiguousarray(image[view]))[0] for view in self.views[1:])
        for view, seen in zip(self.views, chain([slots], mirrored), strict=True):
            probability = category_probability(
                seen.class_logits[0].numpy(), seen.mask_logits[0].numpy(), self.merge.upsample
            ).reshape(len(self.categories), -1)
            probability /= np.maximum(probability.sum(axis=0), 1e-6)
            agreement += probability[category, cell[view]]
        return agreement / np.float32(len(self.views))


def certainty(
    mask_logits: torch.Tensor, merged: Merged, upsample: int, is_thing: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """(h u, w u) probability that a pixel has the label that the merge gave it.

    It is the softmax over all slots, those that the merge found empty included. Slots of one stuff category are one
    label, so theirs add up.

    Args:
        mask_logits: (N, h, w).
        merged: The merge's answer to them.
        upsample: Its enlargement u.
        is_thing: (K,) by contiguous category index.
    """
    if upsample > 1:
        mask_logits = F.interpolate(mask_logits[None], scale_factor=upsample, mode="bilinear", align_corners=False)[0]
    probability = mask_logits.flatten(1).softmax(0).numpy()  # (N, P)
    category = merged.slot_category
    is_stuff = (category >= 0) & ~is_thing[category]
    alike = (category[:, None] == category[None]) & is_stuff[:, None] | np.eye(len(category), dtype=bool)
    of_label = alike.astype(np.float32) @ probability
    slot = merged.slot_map.ravel()
    picked = np.take_along_axis(of_label, np.where(slot == VOID_SLOT, 0, slot)[None].astype(np.int64), axis=0)[0]
    certain: NDArray[np.float32] = np.where(slot == VOID_SLOT, 0, picked).reshape(merged.slot_map.shape)
    return certain


def find_photos(folder: Path) -> list[str]:
    """Names of all photos in a folder, at any depth, relative to it.

    Raises:
        InputError: There are none.
    """
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not names:
        raise InputError(f"folder {folder} holds no photos ({', '.join(IMAGE_SUFFIXES)}); give a folder of photos")
    return names


def write_pseudo_labels(
    checkpoint: Checkpoint,
    photos: Path,
    out: Path,
    thresholds: Thresholds,
    *,
    labelled: Path | None = None,
    copy: bool = False,
    on_progress: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Labels a folder of photos and writes OUT as a COCO panoptic folder whose train split they are.

    Args:
        checkpoint: The teacher.
        photos: Folder of photos.
        out: Folder to make; nothing is left of it after an error.
        thresholds: What is believed.
        labelled: COCO panoptic folder whose train split joins the new one, and whose val split is taken over.
        copy: Copy files rather than link them.
        on_progress: Called with the number of photos just labelled.

    Returns:
        Counts for people and machines, as `edgeseg pseudo-label --json` prints them.

    Raises:
        InputError: No photos, a photo that cannot be read, `out` in use, other categories in `labelled`, or a photo
            that is in both.
    """
    names = find_photos(photos)
    real = None if labelled is None else _open_labelled(labelled, checkpoint, names)
    labeller = Labeller(checkpoint, thresholds)
    left_out: list[str] = []
    counts: Counter[int] = Counter()
    void: list[float] = []

    def results(folder: Path) -> Iterator[tuple[int, str, NDArray[np.int32], Sequence[Segment]]]:
        first = 1 + max((row["id"] for row in real["images"] if isinstance(row["id"], int)), default=0) if real else 1
        for number, name in enumerate(names, start=first):
            panoptic_map, segments = labeller.label(read_image(photos / name, upright=True))
            share = float((panoptic_map == 0).mean())
            on_progress(1)
            if share == 1.0 or 1.0 - share < thresholds.min_labelled:
                left_out.append(name)
                continue
            void.append(share)
            counts.update(segment.category_id for segment in segments)
            link_or_copy(photos / name, folder / "train" / name, copy=copy)
            yield number, name, panoptic_map, segments

    with written_aside(out) as folder:
        path = folder / "annotations" / "panoptic_train.json"
        path.parent.mkdir()
        write_panoptic(path, path.with_suffix(""), results(folder), categories=checkpoint.categories)
        if not void:
            raise InputError(
                f"the teacher is sure of nothing in the {len(names)} photos of {photos}; lower a threshold"
            )
        document = json.loads(path.read_text(encoding="utf-8"))
        document["info"] = _provenance(checkpoint, thresholds, photos, labelled)
        document["images"] = [{**row, "pseudo": True} for row in document["images"]]
        if labelled is not None and real is not None:
            document["categories"] = real["categories"]
            for part in ("images", "annotations"):
                document[part] = real[part] + document[part]
            for split in ("train", "val"):
                _place(labelled, folder, split, copy=copy)
        path.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
    return {
        "out": str(out),
        "photos": len(names),
        "labelled": len(void),
        "left_out": left_out,
        "void_share": round(float(np.mean(void)), 4),
        "segments": {category.name: counts[category.id] for category in checkpoint.categories},
        "real_labels": len(real["images"]) if real else 0,
    }


def _open_labelled(root: Path, checkpoint: Checkpoint, names: Sequence[str]) -> dict[str, Any]:
    """The train JSON of the real labels, if they can stand beside the new ones."""
    train = PanopticFolder.open(root, "train")
    require_same_categories(checkpoint.categories, train.categories, f"{root}, split train")
    taken = {Path(record.file_name).with_suffix("") for record in train.images}
    if both := [name for name in names if Path(name).with_suffix("") in taken]:
        raise InputError(f"{both[0]} (and {len(both) - 1} more) has a label in {root}; give photos without one")
    document: dict[str, Any] = json.loads((root / "annotations" / f"{train.png_folder.name}.json").read_bytes())
    return document


def _place(root: Path, folder: Path, split: str, *, copy: bool) -> None:
    """Puts a split's files into the new folder; the JSON of train is written there with the new labels."""
    source = PanopticFolder.open(root, split)
    labels = folder / "annotations" / f"panoptic_{split}"
    for record in source.images:
        link_or_copy(source.image_folder / record.file_name, folder / split / record.file_name, copy=copy)
        png_name = record.annotation.png_name
        link_or_copy(source.png_folder / png_name, labels / png_name, copy=copy)
    if split != "train":
        json_path = root / "annotations" / f"{source.png_folder.name}.json"
        link_or_copy(json_path, labels.with_name(f"{labels.name}.json"), copy=True)


def _provenance(checkpoint: Checkpoint, thresholds: Thresholds, photos: Path, labelled: Path | None) -> dict[str, Any]:
    """What the JSON's info says of where its labels come from."""
    return {
        "description": "Pseudo-labels: predicted by a network, not drawn by people",
        "made_by": f"edgeseg {importlib.metadata.version('edgeseg')} pseudo-label",
        "teacher": {
            "file": checkpoint.path.name,
            "sha256": hashlib.sha256(checkpoint.path.read_bytes()).hexdigest(),
            "step": checkpoint.step,
            "backbone": checkpoint.config.model.backbone,
            "head": checkpoint.config.model.head,
            "pq": checkpoint.metrics.get("all", {}).get("pq"),
        },
        "thresholds": asdict(thresholds),
        "photos": photos.name,
        "real_labels": labelled.name if labelled else None,
    }

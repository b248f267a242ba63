"""The subjects that are files, ours and others', with what stands around each in an app.

python -m edgeseg.bench.peers.subjects KIND FILE SIDE SEGMENTS [RUNTIME] takes turns (turns.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.bench.peers.cards import IS_THING, read_card
from edgeseg.bench.peers.turns import Facts, Subject, photo, serve
from edgeseg.config import MergeConfig, config_from_dict
from edgeseg.data.transforms import letterbox
from edgeseg.export.bundle import size_bytes
from edgeseg.export.runtimes import Stages, get_runtime
from edgeseg.merge import merge_slots

Image = NDArray[np.uint8]
Map = NDArray[Any]

_MEAN, _STD = np.array([[123.675, 116.28, 103.53], [58.395, 57.12, 57.375]], np.float32)  # ImageNet's, in 0..255
_PADDING = 114  # the grey beside a photo that YOLO was trained with
_CANDIDATES, _OVERLAP = 100, 0.7  # boxes that reach YOLO's suppression; its default threshold


def ours(path: Path, side: int, num_segments: int, runtime: str) -> Subject:
    """A file of ours: bytes in, slots out, and the numpy merge with every enlargement; or the merge in the graph.

    Thresholds are set so that the merge keeps as many slots as said.
    """
    engine = get_runtime(runtime)
    network = engine.load(path)

    def prepare(image: Image) -> Image:
        return letterbox(image, (side, side))[0][None]

    outputs = network(prepare(photo()))
    finishes: dict[str, Callable[[Any], Map]]
    if "slot_map" in outputs:
        finishes = {"merge in the graph": lambda answers: answers["slot_map"][0]}
    else:
        threshold = _threshold(outputs["class_logits"][0], num_segments)
        finishes = {f"numpy merge, upsample {u}": _merge(u, threshold) for u in (1, 2, 4)}
    return Subject(prepare, network, finishes, _facts(path, engine.engine()))


def yolo(path: Path, side: int, num_segments: int) -> Subject:
    """YOLO's raw head: non-maximum suppression, then the best masks pasted, best last; no stuff, so no panoptic map."""
    network, version = _onnx(path)

    def prepare(image: Image) -> Map:
        scale = min(side / image.shape[0], side / image.shape[1])
        height, width = (round(length * scale) for length in image.shape[:2])
        padded = np.full((side, side, 3), _PADDING, dtype=np.uint8)
        padded[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)

    return Subject(
        prepare,
        network,
        {"": lambda answers: paste_yolo(answers[0], answers[1], side, num_segments)},
        _facts(path, version),
    )


def lraspp(path: Path, side: int, num_segments: int) -> Subject:
    """LR-ASPP of torchvision: an argmax over its enlarged logits; categories only, so no panoptic map."""
    network, version = _onnx(path)

    def prepare(image: Image) -> Map:
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        return np.ascontiguousarray(((small - _MEAN) / _STD).transpose(2, 0, 1)[None])

    return Subject(prepare, network, {"": lambda answers: answers[0][0].argmax(axis=0)}, _facts(path, version))


KINDS: dict[str, Callable[..., Subject]] = {"ours": ours, "yolo": yolo, "lraspp": lraspp}


def paste_yolo(rows: Map, prototypes: Map, side: int, num_segments: int) -> Map:
    """Segments of YOLO's raw head as one map.

    Args:
        rows: (1, 4 + K + M, A) float32: box centre and size in pixels, K scores, M mask coefficients.
        prototypes: (1, M, h, w) float32.
        side: Height and width of the map.
        num_segments: Boxes to keep at most.

    Returns:
        (side, side) int32: 0 where there is nothing, else 1 for the best box, 2 for the next, ...
    """
    num_masks = prototypes.shape[1]
    boxes, scores, coefficients = rows[0, :4].T, rows[0, 4:-num_masks].max(axis=0), rows[0, -num_masks:].T
    best = np.argsort(-scores, kind="stable")[:_CANDIDATES]
    corners = np.concatenate([boxes[best, :2] - boxes[best, 2:] / 2, boxes[best, 2:]], axis=1)  # x, y, width, height
    kept = np.asarray(cv2.dnn.NMSBoxes(corners.tolist(), scores[best].tolist(), 0.0, _OVERLAP), int)[:num_segments]
    masks = coefficients[best[kept]] @ prototypes[0].reshape(num_masks, -1)
    found = np.zeros((side, side), dtype=np.int32)
    for rank in reversed(range(len(kept))):
        mask = cv2.resize(masks[rank].reshape(prototypes.shape[2:]), (side, side), interpolation=cv2.INTER_LINEAR)
        x, y, width, height = corners[kept[rank]]
        rows_in, columns_in = _inside(y, height, side), _inside(x, width, side)
        found[rows_in, columns_in][mask[rows_in, columns_in] > 0] = rank + 1
    return found


def _inside(start: float, length: float, side: int) -> slice:
    return slice(max(0, round(start)), min(side, max(0, round(start + length))))


def _merge(upsample: int, threshold: float) -> Callable[[Any], Map]:
    table = {"thing_threshold": threshold, "stuff_threshold": threshold, "upsample": upsample}
    config = config_from_dict(MergeConfig, table, where="merge")

    def finish(answers: Any) -> Map:
        classes, masks = answers["class_logits"][0], answers["mask_logits"][0]
        return merge_slots(classes, masks, config=config, is_thing=IS_THING).slot_map

    return finish


def _threshold(class_logits: Map, num_segments: int) -> float:
    """The score of the last slot to keep."""
    odds = np.exp(class_logits - class_logits.max(axis=1, keepdims=True))
    scores = np.sort((odds / odds.sum(axis=1, keepdims=True))[:, :-1].max(axis=1))[::-1]
    return float(scores[min(num_segments, len(scores)) - 1])


def _onnx(path: Path) -> tuple[Callable[[Map], list[Map]], str]:
    engine = get_runtime("onnx")
    network = engine.load(path)
    assert isinstance(network, Stages)
    return lambda image: list(network.network({"images": image})), engine.engine()


def _facts(path: Path, version: str) -> Facts:
    card = read_card(path)
    return Facts(version, card.params, card.macs, size_bytes(path))


if __name__ == "__main__":
    kind, file, side_text, segments_text, *rest = sys.argv[1:]
    serve(lambda: KINDS[kind](Path(file), int(side_text), int(segments_text), *rest))

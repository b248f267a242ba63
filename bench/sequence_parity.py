"""STQ and VPQ of random sequences beside the published implementations.

python -m edgeseg.bench.sequence_parity --deeplab2 CHECKOUT --vipseg CHECKOUT

Takes clones of github.com/google-research/deeplab2 and github.com/VIPSeg-Dataset/VIPSeg-Dataset, writes random
sequences with crowds, void and partly right tracks to a temporary folder, and prints the largest differences.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
import tempfile
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from PIL import Image

from edgeseg.data.coco_panoptic import encode_ids
from edgeseg.metrics.folder import PredictedFolder
from edgeseg.metrics.sequences import evaluate_sequences

IS_THING = {3: True, 4: True, 7: False, 9: True, 20: False}
WINDOWS = (1, 2, 4)
NUM_IDS, SHIFT, IGNORED = 6, 16, 255  # the last two as VIPSeg's eval_stq_vspw.py has them


@dataclass(frozen=True)
class ParityArgs:
    """What is compared."""

    deeplab2: Path
    """Clone of google-research/deeplab2."""
    vipseg: Path
    """Clone of VIPSeg-Dataset/VIPSeg-Dataset."""
    sets: int = 60
    """Random sets of sequences."""


def main() -> None:
    """Prints the largest differences."""
    args = tyro.cli(ParityArgs, description=__doc__)
    sys.modules.setdefault("tqdm", types.SimpleNamespace(tqdm=lambda jobs: jobs))  # type: ignore[arg-type]  # imported only
    deeplab2 = _module(args.deeplab2 / "evaluation" / "numpy" / "segmentation_and_tracking_quality.py")
    vipseg = _module(args.vipseg / "ClipPanoFCN" / "eval_vpq_vspw.py")
    worst = {"stq": 0.0, "vpq": 0.0}
    for seed in range(args.sets):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            frames = _write_set(folder, np.random.default_rng(seed))
            opened = PredictedFolder.open(folder / "pred.json", folder / "pred", folder / "gt.json", folder / "gt")
            ours: dict[str, Any] = evaluate_sequences(opened, windows=WINDOWS).to_dict()
            worst["stq"] = max(worst["stq"], _stq_difference(deeplab2, frames, ours["stq"]))
            worst["vpq"] = max(worst["vpq"], _vpq_difference(vipseg, frames, ours["vpq"]["per_window"]))
    print(
        f"{args.sets} sets; largest difference of STQ, AQ, SQ: {worst['stq']:.1e}, of VPQ, SQ, RQ: {worst['vpq']:.1e}"
    )


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class _Side:
    """One side of a frame: its map, its JSON row, its PNG, category by id, and which ids are crowds."""

    ids: Any
    row: dict[str, Any]
    png: Path
    category: dict[int, int]
    crowds: frozenset[int]


_Frames = dict[str, list[dict[str, _Side]]]


def _write_set(folder: Path, rng: np.random.Generator) -> _Frames:
    categories = [{"id": id_, "name": str(id_), "isthing": int(thing)} for id_, thing in IS_THING.items()]
    documents: dict[str, dict[str, Any]] = {
        side: {"images": [], "annotations": [], "categories": categories} for side in ("gt", "pred")
    }
    frames: _Frames = {}
    for side in documents:
        (folder / side).mkdir()
    for sequence in map(str, range(rng.integers(1, 4))):
        kinds = {"gt": {id_: int(rng.choice(list(IS_THING))) for id_ in range(1, NUM_IDS + 1)}}
        kinds["pred"] = {
            1000 * id_: kind if rng.random() < 0.7 else int(rng.choice(list(IS_THING)))
            for id_, kind in kinds["gt"].items()
        }
        crowds = frozenset({1} if IS_THING[kinds["gt"][1]] and rng.random() < 0.7 else ())
        scene = np.kron(rng.integers(0, NUM_IDS + 1, (4, 5)), np.ones((3, 3), dtype=int))
        for number in range(rng.integers(4, 9)):
            scene = np.roll(scene, int(rng.integers(0, 3)), axis=1)
            guess = np.where(rng.random(scene.shape) < 0.75, scene, rng.integers(0, NUM_IDS + 1, scene.shape))
            name = f"{sequence}_{number}.png"
            sides = {}
            for side, ids in (("gt", scene), ("pred", 1000 * guess)):
                segments = [
                    {
                        "id": id_,
                        "category_id": kinds[side][id_],
                        "area": int((ids == id_).sum()),
                        "iscrowd": int(side == "gt" and id_ in crowds),
                    }
                    for id_ in np.unique(ids).tolist()
                    if id_
                ]
                row = {"image_id": name, "file_name": name, "segments_info": segments}
                Image.fromarray(encode_ids(ids.astype(np.int32))).save(folder / side / name)
                documents[side]["annotations"].append(row)
                sides[side] = _Side(
                    ids, row, folder / side / name, kinds[side], crowds if side == "gt" else frozenset()
                )
            image = {
                "id": name,
                "file_name": name,
                "height": 12,
                "width": 15,
                "sequence": sequence,
                "frame": 5 * number,
            }
            documents["gt"]["images"].append(image)
            frames.setdefault(sequence, []).append(sides)
    for side, document in documents.items():
        (folder / f"{side}.json").write_text(json.dumps(document))
    return frames


def _stq_difference(deeplab2: Any, frames: _Frames, ours: dict[str, Any]) -> float:
    index = {id_: number for number, id_ in enumerate(IS_THING)}
    metric = deeplab2.STQuality(len(index), [index[id_] for id_ in IS_THING if IS_THING[id_]], IGNORED, SHIFT, 2**24)
    for sequence, sides in frames.items():
        for frame in sides:
            codes = []
            for side in (frame["gt"], frame["pred"]):
                code = np.full(side.ids.shape, IGNORED << SHIFT, dtype=np.int64)
                for id_, kind in side.category.items():
                    code[side.ids == id_] = (index[kind] << SHIFT) + (0 if id_ in side.crowds else id_)
                codes.append(code)
            metric.update_state(*codes, sequence)
    theirs = metric.result()
    pairs = [(theirs["STQ"], ours["stq"]), (theirs["AQ"], ours["aq"]), (theirs["IoU"], ours["sq"])]
    for sequence, stq in zip(theirs["ID_per_seq"], theirs["STQ_per_seq"], strict=True):
        pairs.append((stq, ours["per_sequence"][sequence]["stq"]))
    return float(max(abs(a - b) for a, b in pairs))


def _vpq_difference(vipseg: Any, frames: _Frames, ours: dict[str, Any]) -> float:
    categories = {id_: {"id": id_, "isthing": int(thing)} for id_, thing in IS_THING.items()}
    worst = 0.0
    for window in WINDOWS:
        total = vipseg.PQStat()
        for sides in frames.values():
            rows = [(f["gt"].row, f["pred"].row, f["gt"].png, f["pred"].png, None) for f in sides]
            total += vipseg.vpq_compute_single_core(categories, window, copy.deepcopy(rows))
        for group, is_thing in (("all", None), ("things", True), ("stuff", False)):
            row = ours[str(window)][group]
            if row["n"]:  # theirs divides by zero otherwise
                theirs, _ = total.pq_average(categories, is_thing)
                worst = max(worst, *(abs(theirs[key] - row[key]) for key in ("pq", "sq", "rq", "n")))
    return worst


if __name__ == "__main__":
    main()

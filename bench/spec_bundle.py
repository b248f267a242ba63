"""Makes apps/spec/tiny.edgeseg: shapes, a small network, a minute of training, all runtimes.

python -m edgeseg.bench.spec_bundle --out apps/spec
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torchvision.ops import Conv2dNormActivation

from edgeseg.config import Config, DataConfig, MergeConfig, ModelConfig, TrainConfig
from edgeseg.data.coco_panoptic import PanopticFolder, write_panoptic
from edgeseg.engine.checkpoint import load_checkpoint
from edgeseg.engine.train import Trainer, make_fabric
from edgeseg.export import api
from edgeseg.models.registry import Backbone, register_backbone
from edgeseg.quantize.deploy import deploy
from edgeseg.quantize.fold import fold
from edgeseg.quantize.run import load_quantized, quantize_checkpoint
from edgeseg.structures import Category, Segment

SHAPES = (
    Category(2, "disc", True, (220, 60, 40)),
    Category(3, "box", True, (40, 90, 220)),
    Category(5, "triangle", True, (240, 200, 30)),
    Category(11, "grass", False, (60, 140, 60)),
    Category(12, "sand", False, (200, 170, 110)),
    Category(15, "sky", False, (130, 190, 235)),
)
SIZE = (64, 64)
TRAIN_IMAGES, VAL_IMAGES, GOLDEN_IMAGES = 600, 40, 2
_PAINT = ((200, 50, 40), (50, 80, 200), (230, 190, 40), (70, 130, 60), (190, 160, 110), (140, 190, 230))
Record = tuple[int | str, str, NDArray[np.int32], Sequence[Segment]]


class SmallBackbone(Backbone):
    """Five strided 3x3 convolutions, the last four tapped."""

    channels = (8, 16, 24, 32)

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv2dNormActivation(3, 8, stride=2)
        widths = (8, *self.channels)
        pairs = zip(widths, self.channels, strict=False)
        self.stages = nn.ModuleList(Conv2dNormActivation(a, b, stride=2) for a, b in pairs)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(B, 3, H, W) -> maps of strides 4, 8, 16, 32."""
        x = self.stem(image)
        pyramid = []
        for stage in self.stages:
            x = stage(x)
            pyramid.append(x)
        return tuple(pyramid)


@register_backbone("spec_small")
def spec_small(config: ModelConfig, image_size: tuple[int, int]) -> Backbone:
    """The backbone of apps/spec/tiny.edgeseg."""
    return SmallBackbone()


def config(root: Path) -> Config:
    """The experiment of the tiny bundle."""
    return Config(
        data=DataConfig(root=root, image_size=SIZE, batch_size=8, num_workers=0, min_scale=1.0, max_scale=1.0),
        model=ModelConfig(
            backbone="spec_small",
            mask_kernel=5,
            num_queries=16,
            query_dim=32,
            ffn_dim=32,
            num_heads=2,
            decoder_dims=(8, 8, 8, 6),
            kmeans_strides=(8, 8),
        ),
        train=TrainConfig(steps=1500, lr=4e-3, eval_every=0),
        merge=MergeConfig(thing_threshold=0.4, stuff_threshold=0.3, min_area=16, upsample=4),
    )


def make_shapes(root: Path, *, seed: int = 0) -> None:
    """Writes a COCO panoptic folder: two grounds, the sky, and up to four shapes in colours near their category's."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", TRAIN_IMAGES), ("val", VAL_IMAGES)):
        (root / split).mkdir(parents=True)
        records = _records(rng, root / split, count)
        annotations = root / "annotations"
        write_panoptic(
            annotations / f"panoptic_{split}.json", annotations / f"panoptic_{split}", records, categories=SHAPES
        )


def make_bundle(work: Path, out: Path) -> Path:
    """Trains, quantizes and exports OUT/tiny.edgeseg; LiteRT leaves the merge to the app, so that both ways occur.

    Args:
        work: Folder for shapes and run, emptied first; its name gets into the bundle.
        out: Folder of the bundle.
    """
    shutil.rmtree(work, ignore_errors=True)
    make_shapes(work / "shapes")
    settings = config(work / "shapes")
    train, val = (PanopticFolder.open(work / "shapes", split) for split in ("train", "val"))
    run = work / "run"
    Trainer(settings, train.categories, run, make_fabric(settings)).fit(train, val)
    quantize_checkpoint(run, "int8", None, 200, None)
    first, quantized = load_checkpoint(run), load_checkpoint(run / "int8.safetensors")
    models = {
        "float32": fold(first.model().deployable(), torch.zeros(1, 3, *SIZE)),
        "int8": deploy(load_quantized(quantized)[0]),
    }
    return api.export_bundle(
        models,
        name="tiny",
        config=replace(settings, data=replace(settings.data, root=None)),
        categories=first.categories,
        golden_images=[val[index].image for index in range(GOLDEN_IMAGES)],
        out=out / "tiny.edgeseg",
        merges={"litert": "app"},
        metrics={"float32": first.metrics, "int8": quantized.metrics},
        licence="Apache-2.0",
        overwrite=True,
    )


def _records(rng: np.random.Generator, folder: Path, count: int) -> Iterator[Record]:
    for number in range(1, count + 1):
        image, panoptic_map, segments = _draw(rng)
        name = f"{number:04d}.png"
        Image.fromarray(image).save(folder / name)
        yield number, name, panoptic_map, segments


def _draw(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int32], list[Segment]]:
    height, width = SIZE
    label = np.zeros(SIZE, dtype=np.int32)  # row of `kinds`
    horizon, border = int(rng.integers(14, 30)), int(rng.integers(20, 44))
    label[horizon:, :border], label[horizon:, border:] = 1, 2
    kinds = [5, 3, 4]
    for _ in range(int(rng.integers(1, 5))):
        kind, radius = int(rng.integers(3)), int(rng.integers(7, 13))
        x, y = int(rng.integers(8, width - 8)), int(rng.integers(16, height - 6))
        mask = np.zeros(SIZE, dtype=np.uint8)
        if kind == 0:
            cv2.circle(mask, (x, y), radius, 1, -1)
        elif kind == 1:
            cv2.rectangle(mask, (x - radius, y - radius * 2 // 3), (x + radius, y + radius * 2 // 3), 1, -1)
        else:
            cv2.fillPoly(mask, [np.array([[x, y - radius], [x - radius, y + radius], [x + radius, y + radius]])], 1)
        label[mask == 1] = len(kinds)
        kinds.append(kind)
    paint = np.array([_PAINT[kind] for kind in kinds]) + rng.integers(-25, 26, (len(kinds), 3))
    image = np.clip(paint[label] + rng.normal(0, 6, (*SIZE, 3)), 0, 255).astype(np.uint8)
    ids = np.where(np.bincount(label.ravel(), minlength=len(kinds)) >= 24, np.arange(1, len(kinds) + 1), 0)
    panoptic_map = ids.astype(np.int32)[label]
    segments = []
    for id_ in np.unique(panoptic_map[panoptic_map > 0]).tolist():
        mask = panoptic_map == id_
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        segments.append(Segment(id_, SHAPES[kinds[id_ - 1]].id, int(mask.sum()), (x, y, w, h)))
    return image, panoptic_map, segments


def main(argv: Sequence[str] | None = None) -> None:
    """Makes the bundle."""
    parser = argparse.ArgumentParser(prog="python -m edgeseg.bench.spec_bundle", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("apps/spec"))
    parser.add_argument("--work", type=Path, default=Path("runs/spec"))
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    path = make_bundle(args.work, args.out)
    print(f"{path}: {sum(file.stat().st_size for file in path.rglob('*') if file.is_file()) / 1024:.0f} KiB")


if __name__ == "__main__":
    main()

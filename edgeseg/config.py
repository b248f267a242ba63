"""Every default of edgeseg, as frozen dataclasses that TOML files fill."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from edgeseg.structures import InputError

T = TypeVar("T")

CONFIG_FOLDER = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class DataConfig:
    """Where images come from and how they reach the network."""

    root: Path | None = None
    """Folder of a data set: COCO panoptic (annotations/panoptic_{train,val}.json), or another of docs/data.md."""
    format: str = "auto"
    """Its layout: coco, coconut, cityscapes, ade20k, mapillary-v1.2, mapillary-v2.0, kitti-step, vipseg; auto looks."""
    image_size: tuple[int, int] = (256, 256)
    """Network input (height, width), multiples of 32; images are scaled to fit and padded right and below."""
    batch_size: int = 16
    """Images a step, over all processes."""
    num_workers: int = 1
    """Loader processes; the samples do not depend on it."""
    flip: bool = True
    """Mirror left-right half of the time."""
    flip_vertical: bool = False
    """Mirror top-bottom half of the time and turn square ones by 90 degrees (pictures without an up: cells, fields)."""
    min_scale: float = 0.8
    """Smallest random zoom against the fitted size."""
    max_scale: float = 1.5
    """Largest random zoom against the fitted size; what sticks out is cropped."""
    color_jitter: float = 0.2
    """Largest relative change of brightness, contrast and each channel's gain; 0 switches it off."""
    copy_paste: float = 0.0
    """Probability that the things and some of the stuff of a second image are pasted in (kMaX-DeepLab: 0.5)."""
    balance: float = 0.0
    """Images with a category that fewer than this share of the images have are shown more often (LVIS: 0.001)."""


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the network."""

    backbone: str = "mobilenet_v3_small_minimalistic_x1_5"
    """Registered backbone (edgeseg models), or timm:NAME for a network of timm."""
    attention_window: int = 0
    """tiny_moat: side of its attention's windows in cells of stride 16, half of it at stride 32; 0 = the whole map."""
    position_bias: bool = False
    """tiny_moat: learned logits for the distance of two cells (the published networks exist with and without)."""
    head: str = "kmax"
    """Registered head."""
    num_queries: int = 64
    """Slots N: the most segments an image can have, at most 254 (semantic heads have one for each category)."""
    query_dim: int = 128
    """Width of a query and of the pixel embedding it is compared with."""
    mask_kernel: int = 3
    """Side of the depthwise kernel before the pixel embedding: 5 as published, 3 costs less where int8 cannot gain."""
    ffn_dim: int = 256
    """Hidden width of the queries' feed-forward part."""
    num_heads: int = 4
    """Heads of the queries' self-attention."""
    decoder_dims: tuple[int, int, int, int] = (48, 48, 32, 24)
    """Bottleneck widths d of the pixel decoder at strides 32, 16, 8, 4; a stage's output has 4 d channels."""
    kmeans_strides: tuple[int, ...] = (32, 16, 8)
    """Stride of the pixels that each k-means layer clusters, in order."""
    kmeans_update: Literal["sum", "mean"] = "sum"
    """kmax: what a query is told of its pixels. Their sum as published, whose range is the largest segment's: 8 bits
    leave little of small ones. Or their mean."""
    centre_threshold: float = 0.1
    """Heat below which panoptic_deeplab and maskconver see no centre."""
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    """Subtracted from RGB inside the graph (ImageNet's, in 0..255)."""
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    """Divides RGB inside the graph."""


@dataclass(frozen=True)
class LossConfig:
    """kMaX losses and the two ReMaX relaxations, which are off where trainings are short (docs/relaxations.md)."""

    mask_activation: Literal["softmax", "sigmoid"] = "softmax"
    """How masks are trained: a pixel's slots against each other, as kMaX-DeepLab does, or each slot for itself, as the
    networks that ReMaX was made for."""
    remask: bool = False
    """ReMask: gate mask logits by a training-only semantic head."""
    remask_layers: int = 0
    """Only the masks of that many k-means layers, from the first, are gated; 0 = of all."""
    remask_gate: Literal["sigmoid", "softmax"] = "sigmoid"
    """What makes probabilities of the two logits whose product is the gate: sigmoid as published, or softmax, by which
    both are trained."""
    reclass: bool = False
    """ReClass: soften class targets by the overlap with the predicted mask."""
    reclass_eta: float = 0.1
    """Strength of ReClass, 0..1."""
    class_weight: float = 3.0
    """Weight of the class term (3 as published)."""
    dice_weight: float = 6.0
    """Weight of the dice term (3 as published)."""
    mask_id_weight: float = 1.0
    """Weight of the per-pixel cross entropy over slots (0.3 as published)."""
    discrimination_weight: float = 0.3
    """Weight of the instance discrimination term (1 as published)."""
    discrimination_pixels: int = 256
    """Pixels sampled per image for it (4096 as published; its cost is the square)."""
    min_weight: float = 0.3
    """Smallest dice and probability that weigh a matched slot's class and dice terms (1e-5 as published): with next to
    none, slots that match badly learn nothing for long, which a short training cannot afford."""
    semantic_weight: float = 1.0
    """Weight of the semantic cross entropy: of the training-only head, or of a head's own (panoptic_deeplab, lraspp,
    deeplab_v3plus)."""
    small_thing_weight: float = 1.0
    """Weight of the pixels of small things in it (3 as published for Panoptic-DeepLab)."""
    small_thing_area: int = 4096
    """Things of fewer pixels of the network's input are small."""
    centre_weight: float = 200.0
    """Weight of panoptic_deeplab's squared error of the heat-map (as published)."""
    offset_weight: float = 0.05
    """Weight of panoptic_deeplab's absolute error of the offsets in pixels (0.01 as published)."""
    heat_weight: float = 1.0
    """Weight of maskconver's focal loss of the class centres (as published)."""
    mask_weight: float = 5.0
    """Weight of maskconver's cross entropy of masks, and of their dice (5 as published for mobile networks)."""
    distill_mask_weight: float = 1.0
    """Weight of the divergence from the teacher's masks (train.teacher)."""
    distill_boundary_weight: float = 1.0
    """Weight of a boundary's mean divergence in it, against the body's."""
    distill_class_weight: float = 1.0
    """Weight of the divergence from the teacher's categories."""
    distill_temperature: float = 1.0
    """Divides the logits of both; above 1 the less likely masks and categories count more."""

    def __post_init__(self) -> None:
        """Refuses relaxations that are none."""
        if not 0 <= self.reclass_eta <= 1:
            raise InputError(f"reclass_eta = {self.reclass_eta}; 0 to 1 is possible")
        if self.remask_layers < 0:
            raise InputError(f"remask_layers = {self.remask_layers}; it must not be negative (0 = all layers)")


@dataclass(frozen=True)
class TrainConfig:
    """The optimisation."""

    steps: int = 20_000
    """Optimiser steps; the schedule's length."""
    minutes: float | None = None
    """Wall-clock budget instead of steps: the schedule follows the clock, so two runs differ."""
    lr: float = 1e-3
    """Peak learning rate of AdamW."""
    backbone_lr_scale: float = 1.0
    """Learning rate of the backbone against the rest (0.1 with pretrained weights)."""
    weight_decay: float = 0.05
    """AdamW's decay, not on norms and biases."""
    warmup_fraction: float = 0.05
    """Part of the run with linearly growing rate."""
    poly_power: float = 0.9
    """Exponent of the polynomial decay."""
    ema_decay: float = 0.998
    """Decay of the averaged weights that are evaluated and exported; 0 switches it off."""
    norm_batches: int = 16
    """Training batches from which the norms' statistics are taken anew before an evaluation; 0 keeps the running ones,
    which trail the weights (docs/training.md)."""
    frozen_norms_fraction: float = 0.0
    """Last part of the run in which the norms go by statistics that stay, as when deployed, and not by the batch."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Lightning Fabric precision; bf16-mixed is faster where the processor has bfloat16 instructions."""
    seed: int = 0
    """Seeds weights, order and augmentation."""
    eval_every: int = 2_000
    """Steps between evaluations; 0 evaluates at the end only."""
    eval_images: int = 0
    """Images of the split used between times; 0 = all. The last evaluation always takes all."""
    save_every: int = 500
    """Steps between `last` checkpoints."""
    pretrained: str | None = None
    """What to start from: a trained checkpoint of edgeseg, of other categories too; or, for the backbone alone, `hub`
    for what torchvision or timm publish (a download), or a .safetensors or .pth file of it (never unpickled)."""
    teacher: Path | None = None
    """Trained checkpoint to learn from beside the labels (docs/distillation.md)."""

    def __post_init__(self) -> None:
        """Refuses what no training can be."""
        rules = [
            (getattr(self, name) > 0, f"{name} = {getattr(self, name)}; it must be above 0")
            for name in ("steps", "lr", "save_every")
        ]
        rules += [
            (0 <= getattr(self, name) < 1, f"{name} = {getattr(self, name)}; 0 to below 1 is possible")
            for name in ("warmup_fraction", "ema_decay", "frozen_norms_fraction")
        ]
        rules += [
            (getattr(self, name) >= 0, f"{name} = {getattr(self, name)}; it must not be negative")
            for name in ("backbone_lr_scale", "weight_decay", "norm_batches", "seed", "eval_every", "eval_images")
        ]
        rules.append((self.minutes is None or self.minutes > 0, f"minutes = {self.minutes}; it must be above 0"))
        for holds, complaint in rules:
            if not holds:
                raise InputError(complaint)


@dataclass(frozen=True)
class MergeConfig:
    """Thresholds of the panoptic merge (docs/merge.md)."""

    thing_threshold: float = 0.5
    """A thing slot below this class probability is empty."""
    stuff_threshold: float = 0.3
    """A stuff slot below this class probability is empty."""
    min_area: int = 16
    """A slot with fewer pixels of the network's input is empty."""
    upsample: Literal[1, 2, 4] = 2
    """Mask logits are enlarged by this (bilinear, align_corners=False) before the argmax over slots."""


@dataclass(frozen=True)
class Config:
    """One experiment."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    merge: MergeConfig = field(default_factory=MergeConfig)


def config_names() -> list[str]:
    """Names of the configs that come with edgeseg."""
    return sorted(path.stem for path in CONFIG_FOLDER.glob("*.toml"))


def load_config(name_or_path: str) -> Config:
    """Reads a config by the name of a shipped one or the path of a TOML file.

    Raises:
        InputError: File missing, not TOML, or a key or value that does not exist (the nearest one is named).
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = CONFIG_FOLDER / f"{name_or_path}.toml"
        if not path.is_file():
            raise InputError(
                f"no config named {name_or_path!r}{nearest(name_or_path, config_names())}; "
                f"shipped are {', '.join(config_names())}, or give the path of a .toml file"
            )
    return config_from_dict(Config, read_toml(path), where=str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        InputError: Missing, or not TOML.
    """
    if not path.is_file():
        raise InputError(f"config file {path} does not exist")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error


def config_from_dict(cls: type[T], table: dict[str, Any], *, where: str) -> T:
    """Builds a config dataclass from plain values, refusing whatever does not fit.

    Args:
        cls: A dataclass of this module, or of another that follows its rules.
        table: Values as TOML and JSON give them.
        where: Named in errors: the file, then the table.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            raise InputError(f"{where}: unknown key {key!r}{nearest(key, list(fields))}; known are {', '.join(fields)}")
        values[key] = _convert(hints[key], value, where=f"{where}: {key}")
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def config_to_dict(config: object) -> dict[str, Any]:
    """The plain values of a config dataclass, as JSON and TOML hold them (paths as strings, tuples as lists)."""

    def plain(value: object) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    table: dict[str, Any] = plain(config)
    return table


def nearest(word: str, known: list[str]) -> str:
    """A hint for error messages: the known word most like the given one, or nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _convert(hint: Any, value: Any, *, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return _convert(next(arg for arg in args if arg is not type(None)), value, where=where)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return config_from_dict(hint, value, where=where)
    if origin is Literal:
        if value in args and type(value) in {type(arg) for arg in args}:
            return value
        close = nearest(str(value), [str(arg) for arg in args])
        raise InputError(f"{where} = {value!r}{close}; allowed are {', '.join(map(repr, args))}")
    if origin is tuple and isinstance(value, list):
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(kinds) != len(value):
            raise InputError(f"{where} = {value!r}: {len(kinds)} values wanted, {len(value)} given")
        return tuple(_convert(kind, item, where=where) for kind, item in zip(kinds, value, strict=True))
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise InputError(f"{where} = {value!r} is a {type(value).__name__}; {getattr(hint, '__name__', hint)} wanted")

"""Faults that an artifact may have, each undone to see whether the artifact then agrees with torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeseg.config import MergeConfig
from edgeseg.export.trial import Answer, Case, Trial, distance
from edgeseg.export.verify import partners, slot_categories
from edgeseg.structures import CheckError, Merged

Hypothesis = Callable[[Case], Iterator[Trial]]

_FEW = 2  # images that are enough where one trial costs much
_THRESHOLDS = [round(0.05 * step, 2) for step in range(20)] + [0.99]
_FACTORS = (0.25, 0.5, 2.0, 4.0)
_UNLIKE = 0.02  # distance from which two answers of torch's are not the same one


def swapped_channels(case: Case) -> Iterator[Trial]:
    """The graph takes BGR: an image with red and blue exchanged gives torch's answer."""
    answers = case.run(lambda image: image[..., ::-1])
    yield case.trial("swapped channels", "it reads BGR where RGB is handed over", answers, case.wanted)


def wrong_normalisation(case: Case) -> Iterator[Trial]:
    """The normalisation was lost, halved, doubled: torch's network does the same on pixels that undo its own.

    A file takes bytes, so it is torch that is fed: pixels x that its normalisation turns into what the file is assumed
    to compute on.
    """
    if case.network is None:
        return
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (case.setting.mean, case.setting.std))
    swapped_mean, swapped_std = mean.flip(1), std.flip(1)
    undone: dict[tuple[str, str], Callable[[torch.Tensor], torch.Tensor]] = {
        ("normalisation dropped", "the network gets bytes, 0..255, without mean and std"): lambda x: x * std + mean,
        ("normalisation dropped", "pixels are divided by 255, but mean and std are left out"): lambda x: (
            x / 255 * std + mean
        ),
        ("normalisation dropped", "the mean is subtracted, but nothing divided by std"): lambda x: (
            (x - mean) * std + mean
        ),
        ("normalisation dropped", "pixels are divided by std, but the mean is not subtracted"): lambda x: x + mean,
        ("wrong normalisation", "pixels are divided by 255 before the graph normalises them"): lambda x: x / 255,
        ("wrong normalisation", "pixels are normalised twice"): lambda x: (x - mean) / std,
        ("wrong normalisation", "mean and std stand in the order of BGR"): lambda x: (
            (x - swapped_mean) / swapped_std * std + mean
        ),
    }
    few = case.answers[:_FEW]
    for (fault, cause), change in undone.items():
        yield case.trial(fault, cause, few, case.torch(case.network, change, first=_FEW))


def turned_map(case: Case) -> Iterator[Trial]:
    """Rows and columns are exchanged or reversed; turning the map back gives torch's answer."""
    turns: dict[tuple[str, str], Callable[[NDArray[np.generic]], NDArray[np.generic]]] = {
        ("transposed map", "rows and columns of its map are exchanged"): lambda x: x.swapaxes(-1, -2),
        ("mirrored map", "its map is mirrored left-right"): lambda x: x[..., ::-1],
        ("mirrored map", "its map is upside down"): lambda x: x[..., ::-1, :],
        ("mirrored map", "its map is turned by 180 degrees"): lambda x: x[..., ::-1, ::-1],
    }
    for (fault, cause), turn in turns.items():
        answers = [
            Answer(
                merged._replace(slot_map=np.ascontiguousarray(turn(merged.slot_map))),
                None if logits is None else np.ascontiguousarray(turn(logits)),
            )
            for merged, logits in case.answers
        ]
        yield case.trial(fault, cause, answers, case.wanted)


def wrong_categories(case: Case) -> Iterator[Trial]:
    """Categories are numbered otherwise: shifted by one, things and stuff exchanged, or the void column elsewhere."""
    count = len(case.setting.is_thing)
    pairs = _category_pairs(case)
    wanted = pairs.argmax(1)  # by the artifact's category
    seen = np.flatnonzero(pairs.sum(1))
    if len(seen) and (wanted[seen] != seen).any():
        shifts = set(((wanted - np.arange(count)) % count)[seen].tolist())
        table = np.arange(count)
        table[seen] = wanted[seen]
        if len(shifts) == 1:
            table = (np.arange(count) + shifts.pop()) % count
        answers = [Answer(_renumbered(merged, table), logits) for merged, logits in case.answers]
        yield case.trial(*_name_renumbering(table, seen, case.setting.is_thing), answers, case.wanted)
    known = case.with_logits[:_FEW]
    for step, cause in ((1, "void is read as class 0"), (-1, "class 0 is read as void")):
        rolled = [_remerged(case, index, class_logits=np.roll(_class_logits(case, index), step, 1)) for index in known]
        if known:
            what = f"class logits are shifted by one column, {cause}"
            yield case.trial("off-by-one category", what, [case.answers[index] for index in known], rolled)


def wrong_thresholds(case: Case) -> Iterator[Trial]:
    """The merge has other thresholds: torch's logits, merged with those, give the artifact's answer."""
    known = case.with_logits[:_FEW]
    if not known:
        return
    answers, now = [case.answers[index] for index in known], case.setting.merge
    grids: dict[str, list[MergeConfig]] = {
        "thing_threshold": [replace(now, thing_threshold=value) for value in _THRESHOLDS],
        "stuff_threshold": [replace(now, stuff_threshold=value) for value in _THRESHOLDS],
        "thing_threshold and stuff_threshold": [
            replace(now, thing_threshold=now.stuff_threshold, stuff_threshold=now.thing_threshold),
            *(replace(now, thing_threshold=value, stuff_threshold=value) for value in _THRESHOLDS),
        ],
        "min_area": [replace(now, min_area=value) for value in (0, *(4**power for power in range(1, 8)))],
        "upsample": [replace(now, upsample=1), replace(now, upsample=2), replace(now, upsample=4)],
    }
    for names, grid in grids.items():
        trials = [
            (case.trial("", "", answers, [_remerged(case, index, config=config) for index in known]), config)
            for config in grid
            if config != now
        ]
        best = min(trial.distance for trial, _ in trials)
        equally_good = [config for trial, config in trials if trial.distance <= best + 1e-3]
        trial, config = next((trial, config) for trial, config in trials if config == _middle(equally_good))
        changed = " and ".join(
            f"{name} is about {getattr(config, name)}, not {getattr(now, name)}" for name in names.split(" and ")
        )
        cause = f"the panoptic merge in it is another: {changed}"
        yield replace(trial, fault="wrong threshold" if names != "upsample" else "wrong map size", cause=cause)


def wrong_scale(case: Case) -> Iterator[Trial]:
    """Class or mask logits are off by a factor, as a wrong quantization scale makes them."""
    known = case.with_logits[:_FEW]
    for factor in _FACTORS if known else ():
        answers = [case.answers[index] for index in known]
        scaled = [
            _remerged(case, index, class_logits=_class_logits(case, index) * np.float32(factor)) for index in known
        ]
        yield case.trial("wrong scale", f"its class logits are {factor:g} times torch's", answers, scaled)
    pairs = [(answer.mask_logits, case.goldens[i].mask_logits) for i, answer in enumerate(case.answers) if i in known]
    squares = [(float((a * b).sum()), float((b * b).sum())) for a, b in pairs if a is not None and b is not None]
    if squares and (factor := sum(ab for ab, _ in squares) / sum(bb for _, bb in squares)) > 0:
        unscaled = [
            Answer(merged, None if logits is None else logits / np.float32(factor)) for merged, logits in case.answers
        ]
        yield case.trial("wrong scale", f"its mask logits are {factor:.2f} times torch's", unscaled, case.wanted)


def other_precision(case: Case) -> Iterator[Trial]:
    """The file is the one of another precision: it gives that one's golden answers."""
    for precision, goldens in case.others.items():
        wanted = [Answer(golden.merged, golden.mask_logits) for golden in goldens]
        yield case.trial("wrong file", f"it gives the answers of {precision}", case.answers, wanted)


def stale_golden(case: Case) -> Iterator[Trial]:
    """The golden answers are those of other weights: the artifact agrees with the weights in the bundle."""
    if case.network is None:
        return
    torchs = case.torch(case.network, lambda x: x, first=_FEW)
    if max(map(distance, torchs, case.wanted)) > _UNLIKE:
        cause = "it gives what weights.safetensors gives; the golden answers are those of another network"
        yield case.trial("stale golden", cause, case.answers[:_FEW], torchs)


@torch.no_grad()
def lost_layer(case: Case) -> Iterator[Trial]:
    """The weights of one layer are gone: torch's network does the same without them."""
    if case.network is None:
        return
    trials = []
    for name, module in case.network.named_modules():
        tensors = [tensor for key, tensor in _own_tensors(module) if key.startswith("weight") and tensor.ndim > 1]
        if not tensors:
            continue
        kept = [tensor.clone() for tensor in tensors]
        for tensor in tensors:
            tensor.zero_()
        answers = case.torch(case.network, lambda x: x, first=1)
        trials.append(
            case.trial("lost layer", f"the weights of layer {name} are zero in it", case.answers[:1], answers)
        )
        for tensor, values in zip(tensors, kept, strict=True):
            tensor.copy_(values)
    if trials:
        yield min(trials, key=lambda trial: trial.distance)


HYPOTHESES: Sequence[Hypothesis] = (
    swapped_channels,
    wrong_normalisation,
    turned_map,
    wrong_categories,
    stale_golden,
    other_precision,
    wrong_scale,
    wrong_thresholds,
    lost_layer,
)
"""Of two that explain a fault equally well the earlier one is named."""


def _category_pairs(case: Case) -> NDArray[np.int64]:
    """(K, K) segments by the artifact's category and by torch's, of those that cover most of each other."""
    pairs = np.zeros((len(case.setting.is_thing),) * 2, dtype=np.int64)
    for answer, wanted in zip(case.answers, case.wanted, strict=True):
        try:
            partner, is_mutual = partners(answer.merged, wanted.merged)
        except CheckError:
            continue  # of another size: nothing to pair
        ours, torchs = slot_categories(answer.merged)[partner], slot_categories(wanted.merged)
        counted = is_mutual & (ours >= 0) & (torchs >= 0) & (ours < len(pairs))
        np.add.at(pairs, (ours[counted], torchs[counted]), 1)
    return pairs


def _renumbered(merged: Merged, table: NDArray[np.int64]) -> Merged:
    category = merged.slot_category
    known = (category >= 0) & (category < len(table))
    return merged._replace(
        slot_category=np.where(known, table[np.where(known, category, 0)], category).astype(np.int32)
    )


def _name_renumbering(table: NDArray[np.int64], seen: NDArray[np.int64], is_thing: Sequence[bool]) -> tuple[str, str]:
    """Fault and cause."""
    count = len(table)
    named = ", ".join(f"{index} for {table[index]}" for index in seen.tolist() if table[index] != index)
    shift = int(table[seen[0]] - seen[0]) % count
    if shift in (1, count - 1) and ((np.arange(count) + shift) % count == table).all():
        where = "low" if shift == 1 else "high"
        return "off-by-one category", f"its categories are one too {where} ({named})"
    kinds = np.asarray(is_thing)
    if (kinds[table[seen]] != kinds[seen]).all():
        return "things and stuff exchanged", f"its categories count things and stuff the other way round ({named})"
    return "permuted categories", f"its categories are numbered otherwise ({named})"


def _class_logits(case: Case, index: int) -> NDArray[np.float32]:
    class_logits = case.goldens[index].class_logits
    assert class_logits is not None
    return class_logits


def _remerged(
    case: Case, index: int, *, class_logits: NDArray[np.float32] | None = None, config: MergeConfig | None = None
) -> Answer:
    """Torch's answer for a golden image with other class logits or thresholds."""
    mask_logits = case.goldens[index].mask_logits
    assert mask_logits is not None
    chosen = _class_logits(case, index) if class_logits is None else class_logits
    return Answer(case.merge(chosen, mask_logits, config or case.setting.merge), mask_logits)


def _middle(configs: Sequence[MergeConfig]) -> MergeConfig:
    return configs[len(configs) // 2]


def _own_tensors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return [(name, tensor) for name, tensor in own if tensor is not None]

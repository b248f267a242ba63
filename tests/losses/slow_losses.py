"""Every loss once more, in loops and double precision, written from the papers' equations and not from ours.

Sources: kMaX-DeepLab (deeplab2 max_deeplab_loss.py: terms and weights), ReMaX (arXiv 2306.17319, figure 2: ReMask and
ReClass), Panoptic-DeepLab (arXiv 1911.10194, section 3), MaskConver (arXiv 2312.06052) with equation 1 of "Objects as
Points" (arXiv 1904.07850). Where edgeseg departs from them, its docstrings say so, and this follows the docstrings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from edgeseg.config import LossConfig
from edgeseg.structures import Batch, CentreMaps, DenseMaps, Prediction

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


def softmax(x: Array) -> Array:
    """Over the first axis."""
    e = np.exp(x - x.max(0))
    return np.asarray(e / e.sum(0))


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def rows_at(label_map: torch.Tensor, stride: int) -> Rows:
    """(h, w) row of the table under each cell's centre."""
    height, width = label_map.shape
    cells = [
        [int(label_map[y * stride + stride // 2, x * stride + stride // 2]) for x in range(width // stride)]
        for y in range(height // stride)
    ]
    return np.array(cells)


def bilinear(x: Array, size: tuple[int, int]) -> Array:
    """(C, h, w) to (C, *size), half-pixel centres, edges repeated."""
    out = np.zeros((len(x), *size))
    for i, j in np.ndindex(size):
        y = max((i + 0.5) * x.shape[1] / size[0] - 0.5, 0)
        z = max((j + 0.5) * x.shape[2] / size[1] - 0.5, 0)
        y0, z0 = int(y), int(z)
        y1, z1 = min(y0 + 1, x.shape[1] - 1), min(z0 + 1, x.shape[2] - 1)
        top = x[:, y0, z0] * (1 - z + z0) + x[:, y0, z1] * (z - z0)
        bottom = x[:, y1, z0] * (1 - z + z0) + x[:, y1, z1] * (z - z0)
        out[:, i, j] = top * (1 - y + y0) + bottom * (y - y0)
    return out


def mean(values: Sequence[float]) -> float:
    """0 for nothing."""
    return float(np.mean(values)) if len(values) else 0.0


def add(terms: dict[str, float]) -> dict[str, float]:
    return terms | {"total": sum(terms.values())}


def small_weight(
    rows: Rows, row: int, categories: Sequence[int], is_thing: Sequence[bool], stride: int, config: LossConfig
) -> float:
    small = is_thing[categories[row]] and (rows == row).sum() * stride**2 < config.small_thing_area
    return config.small_thing_weight if small else 1.0


def semantic_term(
    logits: Array, rows: Rows, categories: Sequence[int], is_thing: Sequence[bool], stride: int, config: LossConfig
) -> float:
    """Of one image: (C, h, w) logits whose channel is the category index."""
    costs = []
    for y, x in np.ndindex(rows.shape):
        if rows[y, x] >= 0:
            probability = softmax(logits[:, y, x])[categories[rows[y, x]]]
            costs.append(small_weight(rows, rows[y, x], categories, is_thing, stride, config) * -math.log(probability))
    return mean(costs)


def slow_semantic(logits: torch.Tensor, batch: Batch, config: LossConfig, is_thing: Sequence[bool]) -> dict[str, float]:
    stride = batch.label_map.shape[1] // logits.shape[2]
    costs = [
        semantic_term(
            logits[b].detach().numpy(),
            rows_at(batch.label_map[b], stride),
            batch.categories[b].tolist(),
            is_thing,
            stride,
            config,
        )
        for b in range(len(logits))
    ]
    return add({"semantic": config.semantic_weight * mean(costs)})


def mask_probability(masks: Array, config: LossConfig) -> Array:
    return softmax(masks) if config.mask_activation == "softmax" else sigmoid(masks)


def slow_match(
    masks: Array, classes: Array, rows: Rows, categories: Sequence[int], config: LossConfig
) -> dict[int, int]:
    """Row -> slot: the best of all ways to give each row that has a cell a slot, or each slot a row if rows abound."""
    probability, present = mask_probability(masks, config), [m for m in range(len(categories)) if (rows == m).any()]
    score = {}
    for n, m in itertools.product(range(len(masks)), present):
        overlap = probability[n][rows == m].sum()
        dice = (2 * overlap + 1) / (probability[n][rows >= 0].sum() + (rows == m).sum() + 1)
        score[n, m] = dice * softmax(classes[n])[categories[m]]
    slots = range(len(masks))
    if len(present) <= len(masks):
        ways = [dict(zip(present, picked, strict=True)) for picked in itertools.permutations(slots, len(present))]
    else:
        ways = [dict(zip(picked, slots, strict=True)) for picked in itertools.permutations(present, len(masks))]
    return max(ways, key=lambda way: sum(score[n, m] for m, n in way.items()))


def slow_slots_terms(
    masks: Array,
    classes: Array,
    semantic: Array | None,
    rows: Rows,
    categories: Sequence[int],
    slot_of: dict[int, int],
    config: LossConfig,
    depth: int,
) -> tuple[float, float, float]:
    """Class, dice and mask-id terms of one image at one depth (0 the final one); all at the resolution of `rows`."""
    num_slots, void = len(masks), classes.shape[1] - 1
    relaxed = masks.copy()
    if config.remask and semantic is not None and (config.remask_layers == 0 or depth <= config.remask_layers):
        act = sigmoid if config.remask_gate == "sigmoid" else softmax
        for n in range(num_slots):
            gate = sum(act(classes[n])[c] * act(semantic)[c] for c in range(void + 1))
            relaxed[n] = masks[n] + gate * masks[n]
    probability, plain = mask_probability(relaxed, config), mask_probability(masks, config)
    valid = rows >= 0
    class_costs, dice_costs = [], []
    for n in range(num_slots):
        row = next((m for m, slot in slot_of.items() if slot == n), None)
        own = rows == row if row is not None else np.zeros_like(valid)
        dice = (2 * probability[n][own].sum() + 1) / (probability[n][valid].sum() + own.sum() + 1)
        label = void if row is None else categories[row]
        wanted = np.eye(void + 1)[label]
        if config.reclass:
            for c in range(void):
                region = np.isin(rows, [m for m, category in enumerate(categories) if category == c])
                share = config.reclass_eta * plain[n][region].sum() / (region.sum() + 1e-5)
                wanted[c] = share + (1 - share) * wanted[c]
        p = softmax(classes[n])
        if row is None:
            weight = 0.25 * probability[n][valid].sum() / max(probability[n].sum(), 1e-5)
            dice_costs.append(0.0)
        else:
            weight = 0.75 * max(dice, config.min_weight)
            dice_costs.append((1 - dice) * max(p[label], config.min_weight))
        class_costs.append(-(wanted * np.log(p)).sum() * weight)
    pixels = []
    for y, x in np.ndindex(rows.shape):
        if int(rows[y, x]) not in slot_of:
            continue
        own = slot_of[int(rows[y, x])]
        pixels.append(-math.log(probability[own, y, x]))
        if config.mask_activation == "sigmoid":
            pixels[-1] -= sum(math.log(1 - probability[n, y, x]) for n in range(num_slots) if n != own)
    return mean(class_costs), mean(dice_costs), mean(pixels)


def slow_discrimination(embedding: Array, rows: Rows, num_pixels: int, generator: torch.Generator) -> float:
    """Contrast over pixels drawn without replacement, log-odds 1.5 log(pixels / pixels of the own segment)."""
    flat, features = rows.ravel(), embedding.reshape(len(embedding), -1)
    noise = torch.rand(flat.size, generator=generator).double().numpy()
    area = np.array([max((flat == max(row, 0)).sum(), 1) for row in flat])
    order = 1.5 * np.log(flat.size / area) - np.log(-np.log(noise))
    picked = [i for i in np.argsort(-order) if flat[i] >= 0]
    picked = picked[:num_pixels]
    costs = []
    for i in picked:
        unit = [features[:, j] / np.linalg.norm(features[:, j]) for j in picked]
        own = features[:, i] / np.linalg.norm(features[:, i])
        similarity = np.array([own @ other for other in unit]) / 0.3
        log_p = np.log(softmax(similarity))
        same = [k for k, j in enumerate(picked) if flat[j] == flat[i]]
        costs.append(-mean([log_p[k] for k in same]))
    return mean(costs)


def slow_kmax(
    predictions: Sequence[Prediction],
    batch: Batch,
    config: LossConfig,
    is_thing: Sequence[bool],
    generators: Sequence[torch.Generator],
) -> dict[str, float]:
    height = batch.label_map.shape[1]
    terms = dict.fromkeys(("class", "dice", "mask_id", "discrimination", "semantic"), 0.0)
    num = len(batch.categories)
    arrays = [
        [None if t is None else t.detach().numpy() for t in (*p.slots, p.embedding, p.semantic_logits)]
        for p in predictions
    ]
    matches = []
    for b in range(num):
        classes, masks = arrays[0][0][b], arrays[0][1][b]  # type: ignore[index]
        rows = rows_at(batch.label_map[b], height // masks.shape[1])
        matches.append(slow_match(masks, classes, rows, batch.categories[b].tolist(), config))
    for depth, (classes, masks, embedding, semantic) in enumerate(arrays):
        stride = height // masks.shape[2]  # type: ignore[union-attr]
        shared = min(stride, 8)  # masks of coarser layers are compared at stride 8
        for b in range(num):
            categories = batch.categories[b].tolist()
            rows = rows_at(batch.label_map[b], shared)
            large = [None if m is None else bilinear(m[b], rows.shape) for m in (masks, semantic)]
            class_term, dice_term, mask_term = slow_slots_terms(
                large[0],
                classes[b],
                large[1],
                rows,
                categories,
                matches[b],
                config,  # type: ignore[arg-type,index]
                depth,
            )
            terms["class"] += config.class_weight * class_term / num
            terms["dice"] += 0.75 * config.dice_weight * dice_term / num
            terms["mask_id"] += config.mask_id_weight * mask_term / num
            own = rows_at(batch.label_map[b], stride)
            contrast = slow_discrimination(embedding[b], own, config.discrimination_pixels, generators[b])  # type: ignore[index]
            terms["discrimination"] += config.discrimination_weight * contrast / num
            if semantic is not None:
                cost = semantic_term(semantic[b], own, categories, is_thing, stride, config)
                terms["semantic"] += config.semantic_weight * cost / num
    return add(terms)


def centre_of(label_map: torch.Tensor, row: int) -> tuple[float, float, int]:
    """Centre of mass (down, right) in pixels, and the area."""
    pixels = (label_map == row).nonzero().double() + 0.5
    return float(pixels[:, 0].mean()), float(pixels[:, 1].mean()), len(pixels)


def width_of(area: int) -> float:
    return min(max(0.25 * math.sqrt(area), 3.0), 8.0)


def slow_panoptic_deeplab(
    maps: DenseMaps, batch: Batch, config: LossConfig, is_thing: Sequence[bool]
) -> dict[str, float]:
    num, stride = len(batch.categories), batch.label_map.shape[1] // maps.centre.shape[2]
    things_first = sorted(range(len(is_thing)), key=lambda k: not is_thing[k])
    costs: dict[str, list[float]] = {"semantic": [], "centre": [], "offset": []}
    for b in range(num):
        label_map, categories = batch.label_map[b], batch.categories[b].tolist()
        rows = rows_at(label_map, stride)
        said = torch.cat([maps.things[b], maps.stuff[b]]).detach().numpy()[np.argsort(things_first)]
        costs["semantic"].append(semantic_term(said, rows, categories, is_thing, stride, config))
        things = {
            m: centre_of(label_map, m) for m, k in enumerate(categories) if is_thing[k] and (label_map == m).any()
        }
        squares, misses = [], []
        for y, x in np.ndindex(rows.shape):
            if rows[y, x] < 0:
                continue
            at = stride * (y + 0.5), stride * (x + 0.5)
            heats = [
                math.exp(-((at[0] - down) ** 2 + (at[1] - right) ** 2) / (2 * width_of(area) ** 2))
                for down, right, area in things.values()
            ]
            squares.append((float(maps.centre[b, 0, y, x]) - max(heats, default=0.0)) ** 2)
            if int(rows[y, x]) in things:
                goal = things[int(rows[y, x])]
                misses.append(sum(abs(at[i] + stride * float(maps.offset[b, i, y, x]) - goal[i]) for i in (0, 1)))
        costs["centre"].append(mean(squares))
        costs["offset"].append(mean(misses))
    weights = {"semantic": config.semantic_weight, "centre": config.centre_weight, "offset": config.offset_weight}
    return add({name: weights[name] * mean(values) for name, values in costs.items()})


def slow_maskconver(maps: CentreMaps, batch: Batch, config: LossConfig, is_thing: Sequence[bool]) -> dict[str, float]:
    num, (height, width) = len(batch.categories), maps.heat.shape[2:]
    stride, num_categories = batch.label_map.shape[1] // height, maps.heat.shape[1]
    costs: dict[str, list[float]] = {"centre": [], "mask": [], "dice": []}
    for b in range(num):
        label_map, categories = batch.label_map[b], batch.categories[b].tolist()
        rows = rows_at(label_map, stride)
        found = {m: centre_of(label_map, m) for m in range(len(categories)) if (rows == m).any()}
        cells = {m: (int(down / stride), int(right / stride)) for m, (down, right, _) in found.items()}
        focal = 0.0
        for k, y, x in np.ndindex(num_categories, height, width):
            if rows[y, x] < 0:
                continue
            p = float(np.clip(sigmoid(np.float64(maps.heat[b, k, y, x])), 1e-4, 1 - 1e-4))
            mine = [m for m in found if categories[m] == k]
            if any(cells[m] == (y, x) for m in mine):
                focal -= (1 - p) ** 2 * math.log(p)
                continue
            heats = [
                math.exp(
                    -(stride**2) * ((y - cells[m][0]) ** 2 + (x - cells[m][1]) ** 2) / (2 * width_of(found[m][2]) ** 2)
                )
                for m in mine
            ]
            focal -= (1 - max(heats, default=0.0)) ** 4 * p**2 * math.log(1 - p)
        costs["centre"].append(focal / (len(found) + 1))
        entropies, losses = [], []
        for m, (y, x) in cells.items():
            one_hot = torch.eye(num_categories, dtype=torch.float64)[[categories[m]]][None]
            # One image and one segment at a time: masks_at must not mix them.
            logits = maps.masks_at(torch.full((num, 1), y * width + x), one_hot.expand(num, -1, -1))[b, 0]
            p, truth, valid = sigmoid(logits.detach().numpy()), rows == m, rows >= 0
            entropies.append(-(np.log(p[valid & truth]).sum() + np.log(1 - p[valid & ~truth]).sum()) / valid.sum())
            losses.append(1 - (2 * p[truth].sum() + 1) / (p[valid].sum() + truth.sum() + 1))
        costs["mask"].append(mean(entropies))
        costs["dice"].append(mean(losses))
    weights = {"centre": config.heat_weight, "mask": config.mask_weight, "dice": config.mask_weight}
    return add({name: weights[name] * mean(values) for name, values in costs.items()})

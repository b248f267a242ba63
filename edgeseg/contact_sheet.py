"""Many photos with their labels on a few pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edgeseg.config import nearest
from edgeseg.data.placing import save_png, written_aside
from edgeseg.data.sets import Dataset
from edgeseg.structures import Category, InputError, Sample
from edgeseg.visualize import MIN_SIDE, draw_legend, draw_panoptic

PER_SHEET = 12
"""Photos on one picture of a folder of pictures."""

_ROW_HEIGHT = 512
_SHEET_WIDTH = 2112  # three photos of 4:3
_LONGEST = 4  # times the shorter side; a longer strip would fill the sheet alone
_GAP = 12
_CAPTION = 26
_LEGEND = 24  # font size
_PAPER, _INK = (22, 24, 29), (245, 246, 248)


def show_dataset(
    dataset: Dataset,
    out: Path,
    *,
    num: int = 12,
    category: str | None = None,
    seed: int = 0,
    on_progress: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Draws randomly chosen photos with their labels.

    Args:
        dataset: Where to choose from.
        out: A .png of all of them, or a folder to make, with a PNG for every `PER_SHEET`.
        num: Photos; all there are if there are fewer.
        category: Only photos that show it.
        seed: Chooses.
        on_progress: Called with the number of photos just drawn.

    Returns:
        The pictures, and the photos on them.

    Raises:
        InputError: `out` is in use, no such category, no photo shows it, or a photo cannot be read.
    """
    if num < 1:
        raise InputError(f"--num {num}: at least 1 photo is wanted")
    if out.suffix.lower() == ".png":
        _refuse_existing(out)
    category_id = None if category is None else _category_id(dataset.categories, category)
    tiles: list[_Tile] = []
    for sample in _chosen(dataset, category_id, seed):
        tiles.append(_tile(sample, dataset.categories))
        on_progress(1)
        if len(tiles) == num:
            break
    if not tiles:
        raise InputError(f"none of {len(dataset)} photos shows {category!r}; choose another category or --split")
    names = [tile.name for tile in tiles]
    if out.suffix.lower() == ".png":
        save_sheet(_sheet(tiles, dataset.categories), out)
        return {"sheets": [str(out)], "num": len(names), "images": names}
    sheets = []
    with written_aside(out) as folder:
        for start in range(0, len(tiles), PER_SHEET):
            name = f"sheet-{start // PER_SHEET + 1:02d}.png"
            Image.fromarray(_sheet(tiles[start : start + PER_SHEET], dataset.categories)).save(folder / name)
            sheets.append(str(out / name))
    return {"sheets": sheets, "num": len(names), "images": names}


def save_sheet(sheet: NDArray[np.uint8], out: Path) -> None:
    """Writes a picture, (H, W, 3) uint8 RGB, whole or not at all.

    Raises:
        InputError: `out` is no .png, or in use.
    """
    if out.suffix.lower() != ".png":
        raise InputError(f"--out {out}: a .png is wanted")
    _refuse_existing(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_png(sheet, out)


def _refuse_existing(out: Path) -> None:
    if out.exists():
        raise InputError(f"{out} exists already; remove it or choose another --out")


class _Tile(NamedTuple):
    """A drawn photo of height `_ROW_HEIGHT`."""

    name: str
    picture: NDArray[np.uint8]
    category_ids: frozenset[int]
    has_void: bool


def _category_id(categories: Sequence[Category], name: str) -> int:
    found = [category.id for category in categories if category.name == name]
    if not found:
        names = [category.name for category in categories]
        raise InputError(f"--category {name!r} is none{nearest(name, names)}; there are {', '.join(names)}")
    return found[0]


def _chosen(dataset: Dataset, category_id: int | None, seed: int) -> Iterator[Sample]:
    """Samples in random order that show the category."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(dataset)).tolist()
    for index in order:
        sample = dataset[index]
        if category_id is None or any(segment.category_id == category_id for segment in sample.segments):
            yield sample


def _tile(sample: Sample, categories: Sequence[Category]) -> _Tile:
    """Drawn at the height of a row, or at the size from which names can be read, then shrunk."""
    image, panoptic_map = _padded(sample)
    height, width = panoptic_map.shape
    scale = max(_ROW_HEIGHT / height, MIN_SIDE / min(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        panoptic_map = cv2.resize(panoptic_map, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(
            np.int32, copy=False
        )
    drawn = draw_panoptic(image, panoptic_map, sample.segments, categories)
    drawn_width = max(1, round(drawn.shape[1] * _ROW_HEIGHT / drawn.shape[0]))
    mode = cv2.INTER_AREA if drawn.shape[0] > _ROW_HEIGHT else cv2.INTER_CUBIC
    picture = cv2.resize(drawn, (drawn_width, _ROW_HEIGHT), interpolation=mode).astype(np.uint8, copy=False)
    present = frozenset(segment.category_id for segment in sample.segments)
    return _Tile(sample.file_name, picture, present, bool((sample.panoptic_map == 0).any()))


def _padded(sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Photo and map, black and void added where one side is more than `_LONGEST` times the other."""
    height, width = sample.panoptic_map.shape
    down = max(0, -(-width // _LONGEST) - height)
    right = max(0, -(-height // _LONGEST) - width)
    padding = ((0, down), (0, right))
    return np.pad(sample.image, (*padding, (0, 0))), np.pad(sample.panoptic_map, padding)


def _sheet(tiles: Sequence[_Tile], categories: Sequence[Category]) -> NDArray[np.uint8]:
    """Rows of tiles with their file names, the legend of what they show below."""
    rows: list[list[_Tile]] = [[]]
    for tile in tiles:
        if rows[-1] and _width([*rows[-1], tile]) > _SHEET_WIDTH:
            rows.append([])
        rows[-1].append(tile)
    width = max(_width(row) for row in rows)
    present = frozenset().union(*(tile.category_ids for tile in tiles))
    shown = [category for category in categories if category.id in present]
    legend = draw_legend(shown, width=width, with_void=any(tile.has_void for tile in tiles), font_size=_LEGEND)
    line = _ROW_HEIGHT + _CAPTION + _GAP
    sheet = Image.new("RGB", (width, _GAP + line * len(rows) + legend.shape[0]), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for index, row in enumerate(rows):
        x, y = _GAP, _GAP + index * line
        for tile in row:
            sheet.paste(Image.fromarray(tile.picture), (x, y))
            draw.text((x, y + _ROW_HEIGHT + 4), _shortened(tile.name, font, tile.picture.shape[1]), _INK, font)
            x += tile.picture.shape[1] + _GAP
    sheet.paste(Image.fromarray(legend), (0, _GAP + line * len(rows)))
    return np.asarray(sheet)


def _width(row: Sequence[_Tile]) -> int:
    return _GAP + sum(int(tile.picture.shape[1]) + _GAP for tile in row)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The end of a name that is too long for its place."""
    for start in range(len(text)):
        part = text if start == 0 else f"…{text[start:]}"
        if font.getlength(part) <= width:
            return part
    return ""

"""The data doctor's repairs, written into a new folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeseg.data.coco_panoptic import encode_ids, segment_geometry
from edgeseg.data.doctor_codes import Finding
from edgeseg.data.doctor_index import SplitIndex, SplitPaths, find_splits, is_int, read_index, row_digest
from edgeseg.data.doctor_jobs import image_jobs
from edgeseg.data.doctor_pictures import Photo, open_label, open_photo, turned
from edgeseg.data.doctor_rules import ImageJob, Kinds, Row, read_box, read_rows
from edgeseg.data.json_rows import iter_json
from edgeseg.data.parallel import in_processes
from edgeseg.data.placing import written_aside
from edgeseg.structures import InputError

_JPEG: dict[str, Any] = {"format": "JPEG", "quality": 95, "subsampling": 0}
_TIFF: dict[str, Any] = {"format": "TIFF", "compression": "tiff_deflate"}
_WRITTEN: dict[str, dict[str, Any]] = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".png": {"format": "PNG"},
    ".bmp": {"format": "BMP"},
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": {"format": "WEBP", "lossless": True},
}
"""How a rewritten photo is stored; its name stays."""


class _Task(NamedTuple):
    root: Path
    out: Path
    kinds: Mapping[str, Kinds]
    shared_pngs: Mapping[str, set[str]]  # labels of several annotations stay as they are


class _Fixed(NamedTuple):
    job: ImageJob
    annotation: Mapping[str, Any]
    size: tuple[int, int] | None  # where photo and PNG agree against the JSON


def fix_folder(
    root: Path,
    out: Path,
    *,
    split: str | None = None,
    num_workers: int = 0,
    on_progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Writes a copy of a folder with everything repaired that has only one answer.

    Fields that are nobody's business here (licences, URLs) stay; files that no JSON lists are left behind; what cannot
    be repaired is carried over, so that a check of `out` says what is left. `root` is only read.

    Args:
        root: COCO panoptic folder.
        out: Folder to make.
        split: Only this one, as `Examination.open` has it.
        num_workers: Processes; 0 works in this one. The files do not depend on it.
        on_progress: Called with the number of images just done.

    Raises:
        InputError: `out` exists or lies in `root`, or a JSON is missing or cannot be read at all.
    """
    require_new_folder(root, out)
    indexes: list[SplitIndex] = []
    orphans: list[Finding] = []
    for paths in find_splits(root, split, orphans.append):
        index = read_index(paths, lambda finding: None)
        if index is None:
            raise InputError(f"{paths.json} cannot be read as a panoptic JSON; repair it before --fix")
        indexes.append(index)
    for finding in orphans:
        if finding.code == "split-json-missing":
            raise InputError(f"{root / finding.file} has no JSON; restore it or remove the folder before --fix")
    with written_aside(out) as folder:
        for index in indexes:
            _fix_split(index, folder, num_workers, on_progress)


def require_new_folder(root: Path, out: Path) -> None:
    """Refuses a folder that exists or lies in the data.

    Raises:
        InputError: `out` exists or lies in `root`.
    """
    if out.exists():
        raise InputError(f"--fix {out} exists already; repairs go into a new folder: give another name")
    if root.resolve() in out.resolve().parents:
        raise InputError(f"--fix {out} lies in the data folder {root}; give a folder outside it")


def _fix_split(index: SplitIndex, folder: Path, num_workers: int, on_progress: Callable[[int], None]) -> None:
    paths = index.paths
    target = SplitPaths(folder, paths.name)
    for source, present in ((paths.photos, index.photo_files), (paths.pngs, index.png_files)):
        if present is not None:
            (folder / source.relative_to(paths.root)).mkdir(parents=True)
    target.json.parent.mkdir(exist_ok=True)
    kinds = {paths.name: {id_: entry.is_thing for id_, entry in index.categories.items()}}
    task = _Task(paths.root, folder, kinds, {paths.name: index.shared_pngs})
    left: list[Any] = []
    jobs = image_jobs(index, lambda finding: None, left.append)
    sizes: dict[int | str, tuple[int, int]] = {}

    def annotations() -> Iterator[Any]:
        for fixed in in_processes(_fix_image, task, jobs, num_workers=num_workers):
            on_progress(1)
            if fixed.size:
                sizes[fixed.job.image_id] = fixed.size
            if fixed.annotation:
                yield fixed.annotation
        yield from left

    with target.json.open("w", encoding="utf-8") as file:
        file.write('{"annotations": ')
        _write_rows(file, annotations())
        lists: dict[str, Callable[[Iterable[Any]], Iterator[Any]]] = {
            "images": lambda rows: _images(rows, sizes),
            "categories": _categories,
        }
        for key, rows, value in _by_key(paths.json):
            if key == "annotations":
                continue
            file.write(f", {json.dumps(key)}: ")
            if rows is None:
                file.write(json.dumps(value))
            else:
                _write_rows(file, lists.get(key, iter)(rows))
        file.write("}\n")


def _by_key(path: Path) -> Iterator[tuple[str, Iterator[Any] | None, Any]]:
    """Each top-level key with the rows of its list, or with its value; rows left unread are passed over."""
    items = iter_json(path)
    item = next(items, None)

    def rows(key: str) -> Iterator[Any]:
        nonlocal item
        while (item := next(items, None)) is not None and item.key == key and item.row_number is not None:
            yield item.value

    while item is not None:
        key, _, value = item
        if value == [] and isinstance(value, list):
            own = rows(key)
            yield key, own, None
            for _ in own:
                pass
        else:
            yield key, None, value
            item = next(items, None)


def _write_rows(file: TextIO, rows: Iterable[Any]) -> None:
    file.write("[")
    for number, row in enumerate(rows):
        file.write((",\n" if number else "\n") + json.dumps(row))
    file.write("]")


def _images(rows: Iterable[Any], sizes: Mapping[int | str, tuple[int, int]]) -> Iterator[Any]:
    """Without repetitions of equal entries, sizes corrected."""
    for row in _distinct(rows):
        image_id = row.get("id") if isinstance(row, dict) else None
        if isinstance(image_id, int | str) and image_id in sizes:
            row = {**row, "height": sizes[image_id][0], "width": sizes[image_id][1]}
        yield row


def _categories(rows: Iterable[Any]) -> Iterator[Any]:
    """Without repetitions of equal entries; colours that are none, or another category's, dropped."""
    colors: set[tuple[int, ...]] = set()
    for row in _distinct(rows):
        if isinstance(row, dict) and "color" in row:
            color = row["color"]
            is_color = isinstance(color, list) and len(color) == 3 and all(is_int(c) and 0 <= c <= 255 for c in color)
            if not is_color or tuple(color) in colors:
                row = {key: value for key, value in row.items() if key != "color"}
            else:
                colors.add(tuple(color))
        yield row


def _fix_image(task: _Task, job: ImageJob) -> _Fixed:
    photo = open_photo(job.photo, lambda code, value: None) if job.photo else None
    rows = read_rows(job, task.kinds[job.split], lambda *_, **__: None)
    label = open_label(job.png, {row.id for row in rows}, lambda code, value: None) if job.png else None
    size = None
    if photo is not None and label is not None and photo.size_for(label.size) == label.size != job.size:
        size = label.size
    if job.photo is not None:
        _write_photo(job.photo, task.out / job.photo.relative_to(task.root), photo, label.size if label else job.size)
    annotation = job.annotation
    if job.png is not None:
        target = task.out / job.png.relative_to(task.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        is_shared = job.annotation.get("file_name") in task.shared_pngs[job.split]
        if label is None or is_shared or not label.is_certain:
            shutil.copyfile(job.png, target)
        else:
            ids, table = fix_label(label.ids, job.rows, rows, task.kinds[job.split])
            if "segments_info" in annotation:
                annotation = {**annotation, "segments_info": table}
            if label.is_plain and np.array_equal(ids, label.ids):
                shutil.copyfile(job.png, target)
            else:
                Image.fromarray(encode_ids(ids)).save(target, format="PNG")
    return _Fixed(job, annotation, size)


def _write_photo(source: Path, target: Path, photo: Photo | None, wanted: tuple[int, int] | None) -> None:
    """Copies a photo, or rewrites it as opaque 8-bit RGB without an EXIF orientation where that loses nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    how = _WRITTEN.get(target.suffix.lower())
    if photo is None or photo.rgb is None or photo.is_final or how is None:
        shutil.copyfile(source, target)
        return
    turns = photo.orientation != 1 and photo.size_for(wanted) == photo.upright_size
    Image.fromarray(turned(photo.rgb, photo.orientation) if turns else photo.rgb).save(target, **how)


def fix_label(
    ids: NDArray[np.int32], raw_rows: Sequence[Any], rows: Sequence[Row], is_thing: Kinds
) -> tuple[NDArray[np.int32], list[Any]]:
    """Makes map and table agree where that has only one answer.

    Unlisted ids become void and rows without pixels go, unless a row cannot be read, or more ids disagree than agree:
    then the two may not belong together, and nothing is thrown away.

    Args:
        ids: (H, W) segment ids.
        raw_rows: segments_info as it stands in the JSON.
        rows: Those of them that can be read.
        is_thing: By category id.

    Returns:
        (H, W) ids, and segments_info with areas and boxes as counted.
    """
    table = list(_distinct(raw_rows))
    listed = {row.id for row in rows}
    present = set(np.unique(ids).tolist()) - {0}
    if len(table) > len(rows) or len(listed ^ present) > len(listed & present):
        return ids, table
    merged = dict.fromkeys(present - listed, 0)
    first_of: dict[int, int] = {}
    for row in rows:
        if row.id in present and is_thing.get(row.category_id) is False and not row.is_crowd:
            first = first_of.setdefault(row.category_id, row.id)
            if first != row.id:
                merged[row.id] = first
    if merged:
        known, index = np.unique(ids, return_inverse=True)
        ids = np.array([merged.get(i, i) for i in known.tolist()], dtype=np.int32)[index].reshape(ids.shape)
    found, areas, boxes = segment_geometry(ids)
    place = {segment_id: number for number, segment_id in enumerate(found.tolist())}
    return ids, [
        _recounted(row, int(areas[place[row.id]]), boxes[place[row.id]].tolist()) for row in rows if row.id in place
    ]


def _distinct(rows: Iterable[Any]) -> Iterator[Any]:
    """Without repetitions of equal rows."""
    seen: set[int] = set()
    for row in rows:
        if (digest := row_digest(row)) not in seen:
            seen.add(digest)
            yield row


def _recounted(row: Row, area: int, box: list[int]) -> dict[str, Any]:
    claimed = read_box(row)
    kept = row.raw["bbox"] if claimed == tuple(box) else box
    return {**row.raw, "area": area, "bbox": kept}

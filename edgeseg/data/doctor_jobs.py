"""The data doctor's way from a split's annotations to the images to open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edgeseg.data.doctor_codes import Finding, shown
from edgeseg.data.doctor_index import SplitIndex, is_int, iter_annotations, name_key, row_digest, safe_name, unlisted
from edgeseg.data.doctor_rules import ImageJob


def image_jobs(
    index: SplitIndex, find: Callable[[Finding], None], leave: Callable[[Any], None] = lambda row: None
) -> Iterator[ImageJob]:
    """One job for each image, in the order of the annotations; images without one come last.

    Args:
        index: The split.
        find: Takes what is wrong with the annotations and with the presence of files.
        leave: Takes the rows that become no job although they belong to an image, or cannot be read.
    """
    paths = index.paths
    where = paths.relative(paths.json)
    seen: dict[int | str, int] = {}
    owners: dict[str, int | str] = {}
    photos, pngs = _Files(index.photo_files), _Files(index.png_files)
    for row in iter_annotations(paths):
        image_id = row.get("image_id") if isinstance(row, dict) else None
        if not is_int(image_id) and not isinstance(image_id, str):
            find(Finding("annotation-field", paths.name, where, f"entry of annotations {shown(row)}"))
            leave(row)
        elif image_id in seen:
            is_equal = seen[image_id] == row_digest(row)
            same = " (equal entries)" if is_equal else ""
            find(
                Finding("annotation-duplicate", paths.name, where, f"image_id {shown(image_id)} again{same}", image_id)
            )
            if not is_equal:
                leave(row)
        elif image_id not in index.images:
            value = f"image_id {shown(image_id)}{_other_kind(image_id, index)}"
            find(Finding("annotation-without-image", paths.name, where, value, image_id))
        else:
            seen[image_id] = row_digest(row)
            png_name, rows = row.get("file_name"), row.get("segments_info")
            if not isinstance(png_name, str):
                find(Finding("annotation-field", paths.name, where, f"file_name {shown(png_name)}", image_id))
            elif not safe_name(png_name):
                find(Finding("name-unsafe", paths.name, where, f"file_name {shown(png_name)}", image_id))
            elif png_name in owners:
                value = f"{shown(png_name)}, also of image {shown(owners[png_name])}"
                find(Finding("png-shared", paths.name, where, value, image_id))
            if not isinstance(rows, list):
                find(Finding("annotation-field", paths.name, where, f"segments_info {shown(rows)}", image_id))
            png = png_name if safe_name(png_name) else None
            if png is not None:
                owners.setdefault(png, image_id)
            if png is not None and not pngs.has(png):
                value = f"{shown(png)}{pngs.hint(png)}"
                find(Finding("png-missing", paths.name, paths.relative(paths.pngs / png), value, image_id))
            yield _job(index, image_id, photos, png if png and pngs.has(png) else None, row, find)
    for image_id in index.images:
        if image_id not in seen:
            find(Finding("image-without-annotation", paths.name, where, f"image {shown(image_id)}", image_id))
            yield _job(index, image_id, photos, None, {}, find)
    listed = {entry.file_name for entry in index.images.values() if entry.file_name}
    for name in unlisted(index.photo_files, listed):
        find(Finding("photo-unlisted", paths.name, paths.relative(paths.photos / name), shown(name)))
    for name in unlisted(index.png_files, set(owners)):
        find(Finding("png-unlisted", paths.name, paths.relative(paths.pngs / name), shown(name)))


class _Files:
    """The names in a folder."""

    def __init__(self, present: frozenset[str] | None) -> None:
        self._present = present
        self._by_key: dict[str, str] | None = None

    def has(self, name: str) -> bool:
        """Whether it is there; a folder that is missing has been said once, so that all its files pass."""
        return self._present is None or name in self._present

    def hint(self, name: str) -> str:
        """Names a file that differs only in case, accents' encoding or extension."""
        if self._by_key is None:
            self._by_key = {name_key(other): other for other in self._present or ()}
        found = self._by_key.get(name_key(name))
        return f"; {shown(found)} is there" if found else ""


def _job(
    index: SplitIndex,
    image_id: int | str,
    photos: _Files,
    png: str | None,
    annotation: dict[str, Any],
    find: Callable[[Finding], None],
) -> ImageJob:
    paths, entry = index.paths, index.images[image_id]
    photo = entry.file_name
    if photo is not None and not photos.has(photo):
        value = f"{shown(photo)}{photos.hint(photo)}"
        find(Finding("photo-missing", paths.name, paths.relative(paths.photos / photo), value, image_id))
        photo = None
    return ImageJob(
        paths.name,
        image_id,
        paths.photos / photo if photo and index.photo_files is not None else None,
        paths.pngs / png if png and index.png_files is not None else None,
        paths.relative(paths.photos / (entry.file_name or "?")),
        paths.relative(paths.pngs / (png or "?")),
        entry.size,
        annotation,
    )


def _other_kind(image_id: int | str, index: SplitIndex) -> str:
    """A hint where 7 is written "7" or the other way round."""
    other: int | str = str(image_id) if is_int(image_id) else image_id
    if isinstance(other, str) and isinstance(image_id, str) and other.isdecimal():
        other = int(other)
    return f"; images has {other!r}" if other != image_id and other in index.images else ""

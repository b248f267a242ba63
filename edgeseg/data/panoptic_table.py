"""The annotation table of a data set, some bytes a segment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.columns import Columns, pack_texts, text_at, unpack_texts

ImageId = int | str


class SegmentRecord(NamedTuple):
    """A row of segments_info; area and box are not kept, they are counted from the PNG."""

    id: int
    category_id: int
    is_crowd: bool


class AnnotationRecord(NamedTuple):
    """An entry of annotations: the PNG's name relative to its folder, and the table of its segments."""

    png_name: str
    segments: tuple[SegmentRecord, ...]


class ImageRecord(NamedTuple):
    """An entry of images, joined with its annotation; `size` is (height, width)."""

    image_id: ImageId
    file_name: str
    size: tuple[int, int]
    annotation: AnnotationRecord


class AnnotationTable(Mapping[ImageId, AnnotationRecord]):
    """Annotations by image id, in the file's order.

    Args:
        image_ids: One per annotation, unique.
        png_names: One per annotation.
        ends: (annotations,) int64 end of each annotation's rows in the next three.
        segment_ids: (segments,) int32 ids.
        categories: (segments,) index of each segment's category in the next.
        category_ids: (categories,) int32 ids.
        is_crowd: (segments,) bool.
    """

    def __init__(
        self,
        image_ids: Iterable[ImageId],
        png_names: Iterable[str],
        ends: NDArray[np.int64],
        segment_ids: NDArray[np.int32],
        categories: NDArray[np.integer[Any]],
        category_ids: NDArray[np.int32],
        is_crowd: NDArray[np.bool_],
    ) -> None:
        self.row_of = {image_id: row for row, image_id in enumerate(image_ids)}
        columns: dict[str, NDArray[Any]] = {
            "segment_end": ends,
            "segment_id": segment_ids,
            "category": categories.astype(np.min_scalar_type(len(category_ids)), copy=False),
            "category_id": category_ids,
            "is_crowd": is_crowd,
        }
        self.columns = Columns({**pack_texts("png_name", png_names), **columns})

    def __getitem__(self, image_id: ImageId) -> AnnotationRecord:
        return _annotation(self.columns, self.row_of[image_id])

    def __iter__(self) -> Iterator[ImageId]:
        return iter(self.row_of)

    def __len__(self) -> int:
        return len(self.row_of)


class ImageTable(Mapping[ImageId, tuple[str, tuple[int, int]]]):
    """File name and (height, width) by image id, in the file's order.

    Args:
        image_ids: One per image, unique.
        file_names: One per image.
        sizes: (images, 2) int32 height, width; 0, 0 where nothing says.
    """

    def __init__(self, image_ids: Iterable[ImageId], file_names: Iterable[str], sizes: NDArray[np.int32]) -> None:
        self.row_of = {image_id: row for row, image_id in enumerate(image_ids)}
        self.columns = Columns({**pack_texts("file_name", file_names), "size": sizes})

    def __getitem__(self, image_id: ImageId) -> tuple[str, tuple[int, int]]:
        return _image(self.columns, self.row_of[image_id])

    def __iter__(self) -> Iterator[ImageId]:
        return iter(self.row_of)

    def __len__(self) -> int:
        return len(self.row_of)


class ImageRecords(Sequence[ImageRecord]):
    """Images joined with their annotations, in the order of the images.

    Args:
        images: The images.
        annotations: Has every image's id.
    """

    def __init__(self, images: ImageTable, annotations: AnnotationTable) -> None:
        ids = pack_texts("image_id", map(json.dumps, images))
        rows = np.array([annotations.row_of[image_id] for image_id in images], dtype=np.int64)
        self._columns = Columns({**images.columns.arrays, **annotations.columns.arrays, **ids, "annotation": rows})

    def __len__(self) -> int:
        return len(self._columns["annotation"])

    def __getitem__(self, index: int) -> ImageRecord:  # type: ignore[override]  # no slices
        row = range(len(self))[index]
        image_id: ImageId = json.loads(text_at(self._columns, "image_id", row))
        file_name, size = _image(self._columns, row)
        return ImageRecord(image_id, file_name, size, _annotation(self._columns, int(self._columns["annotation"][row])))

    def file_names(self) -> list[str]:
        """Of all images, in order."""
        return unpack_texts(self._columns, "file_name")

    def png_names(self) -> list[str]:
        """Of all images' PNGs, in order."""
        names = unpack_texts(self._columns, "png_name")
        return [names[row] for row in self._columns["annotation"].tolist()]

    @property
    def nbytes(self) -> int:
        """Size of the table in memory."""
        return self._columns.nbytes


def _annotation(columns: Columns, row: int) -> AnnotationRecord:
    start, end = int(columns["segment_end"][row - 1]) if row else 0, int(columns["segment_end"][row])
    ids = columns["segment_id"][start:end].tolist()
    categories = columns["category_id"][columns["category"][start:end]].tolist()
    crowds = columns["is_crowd"][start:end].tolist()
    segments = tuple(map(SegmentRecord._make, zip(ids, categories, crowds, strict=True)))
    return AnnotationRecord(text_at(columns, "png_name", row), segments)


def _image(columns: Columns, row: int) -> tuple[str, tuple[int, int]]:
    height, width = columns["size"][row].tolist()
    return text_at(columns, "file_name", row), (height, width)

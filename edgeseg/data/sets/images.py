"""Images without labels, for prediction and pseudo-labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeseg.data.photo import IMAGE_SUFFIXES, read_image
from edgeseg.data.sets.label_files import files_below
from edgeseg.data.sets.layout import Layout
from edgeseg.structures import Category, InputError, Sample


@dataclass(frozen=True)
class Images:
    """Every image of a folder, all void, without categories.

    Images are turned as their EXIF orientation says, as `edgeseg predict` does; labels of that size are read with it.
    """

    folder: Path
    file_names: tuple[str, ...]

    @property
    def categories(self) -> tuple[Category, ...]:
        """None."""
        return ()

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int) -> Sample:
        name = self.file_names[index]
        image = read_image(self.folder / name, upright=True)
        return Sample(name, name, image, np.zeros(image.shape[:2], dtype=np.int32), ())


def _open(root: Path, split: str) -> Images:
    """ROOT/SPLIT/ where there is one, else ROOT; at any depth."""
    folder = root / split if (root / split).is_dir() else root
    names = files_below(folder, IMAGE_SUFFIXES)
    if not names:
        raise InputError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    return Images(folder, tuple(names))


# Every labelled set is a folder of images too: this one is taken only where it is asked for.
LAYOUT = Layout("images", "nothing: only by name", lambda root: False, _open)

"""Label maps as PNG: one number a pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeseg.data.coco_panoptic import decode_ids
from edgeseg.structures import InputError


def read_index_png(path: Path, *, with_rgb: bool = False) -> NDArray[np.int32]:
    """Reads a grey (8 or 16 bits) or palette PNG as the numbers stored in it, (H, W) int32.

    Args:
        path: The file.
        with_rgb: Also take 8-bit RGB as R + 256 G + 65536 B.

    Raises:
        InputError: Missing, damaged, or a picture of colours.
    """
    try:
        with Image.open(path) as picture:
            is_deep = any("16" in str(tile[3]) for tile in picture.tile)
            picture.load()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; restore the file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be decoded ({error}); restore or re-export the file") from error
    if picture.mode in ("L", "P", "1", "I", "I;16"):
        return np.asarray(picture).astype(np.int32)
    if with_rgb and picture.mode == "RGB" and not is_deep:
        return decode_ids(np.asarray(picture))
    wanted = "grey, palette or 8-bit RGB" if with_rgb else "grey or palette"
    raise InputError(f"{path} has mode {picture.mode}; a label map is a {wanted} PNG: export the indices, not colours")

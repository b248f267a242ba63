"""A full disk, said to the user."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from edgeseg.structures import InputError

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space on the device, in the user's quota, for a file of this size."""


def not_written(path: Path, error: OSError) -> InputError:
    """What to raise from one of `FULL_DISK`: the file or folder that there is no room for, and what to do."""
    free = shutil.disk_usage(next(parent for parent in path.absolute().parents if parent.exists())).free
    return InputError(
        f"{path} was not written: {error.strerror} ({free / 2**20:.0f} MiB are free there now); make room, or give "
        "another --out"
    )

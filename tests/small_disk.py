"""Commands on a file system of their own that is soon full."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


def run_on_a_small_disk(place: Path, kib: int, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command with so many KiB mounted at a folder; what it leaves there is listed on standard output.

    Skips the test where nobody may mount a file system of his own.
    """
    if shutil.which("unshare") is None:
        pytest.skip("a file system of its own needs unshare: apt-get install util-linux")
    script = f'mount -t tmpfs -o size={kib}k tmpfs "$0" && "$@"; code=$?; ls -A "$0"; exit $code'
    spaces = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(place)]
    if subprocess.run([*spaces, "true"], capture_output=True).returncode != 0:
        pytest.skip("this system lets nobody mount a file system of his own")
    return subprocess.run([*spaces, *command], capture_output=True, text=True)

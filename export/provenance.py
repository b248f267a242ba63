"""What made a bundle: versions, commit, time."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

_TOOLS = ("edgeseg", "torch", "executorch", "litert-torch", "ai-edge-litert", "coremltools", "onnx", "onnxruntime")


def tool_versions() -> dict[str, str]:
    """Versions of python and of every installed package that makes or runs artifacts."""
    versions = {"python": platform.python_version()}
    for package in _TOOLS:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # not installed: it made nothing here
    return versions


def time_utc() -> str:
    """Now, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@functools.cache
def checkout_commit() -> str:
    """Commit of the checkout that holds this file, with -dirty where it was changed; empty for an installed package."""
    folder = Path(__file__).resolve().parents[1]
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git here, or a checkout of another user
        return ""

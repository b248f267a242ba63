"""What machine and which checkout a measurement comes from."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil

from edgeseg.bench.measurement import Device


@functools.cache
def this_machine() -> Device:
    """The host as its system describes it."""
    memory_mib = psutil.virtual_memory().total // 2**20
    return Device(
        _processor(), usable_cores(), f"{platform.system()} {platform.release()}", platform.machine(), memory_mib
    )


def usable_cores() -> int:
    """Logical processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def _processor() -> str:
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model", "Hardware")))
    return next(named, platform.processor() or "unknown processor")

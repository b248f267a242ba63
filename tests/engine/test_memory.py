"""Freed memory stays with the process that trains."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgeseg.engine.memory import keep_freed_memory

STEPS = """
import resource, sys, torch
from edgeseg.engine.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
torch.set_num_threads(1)
def step():
    torch.ones(1 << 23) + 1  # twice 32 MB
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_pages_are_mapped_once_instead_of_at_every_step() -> None:
    by_default, kept = (
        int(subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, check=True, text=True).stdout)
        for how in ("default", "keep")
    )
    assert kept < by_default / 4


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()

"""The aarch64 runner under an emulator: the same pictures on ARM, in float and in int8. Its times mean nothing."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeseg.bench.tensors import read_tensors, write_tensors
from edgeseg.bench.worker import Request
from edgeseg.export.bundle import open_bundle
from edgeseg.export.golden import read_golden
from edgeseg.export.verify import FLOOR, QUANTIZED_FLOOR
from tests.bench.native import BUNDLE, SPEC, program, run, to_json
from tests.devices import arm_root

pytestmark = pytest.mark.slow

WITHOUT_SVE = "QEMU_CPU=cortex-a76"  # what most phones have; emulated SVE takes ten times as long


def on_arm(name: str, *, least_qemu: int) -> list[str]:
    """How a program of the aarch64 build is started; skips where nothing can run it."""
    ours = arm_root.folder() / "qemu-aarch64"
    qemu = str(ours) if ours.exists() else shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        pytest.skip("no QEMU; apt install qemu-user-static")
    version = re.search(r"version (\d+)", run([qemu, "--version"]).stdout)
    assert version is not None
    if int(version[1]) < least_qemu:
        pytest.skip(f"QEMU {version[1]} dies in this runtime, {least_qemu} runs it; {arm_root.BUILD} fetches one")
    return ["env", WITHOUT_SVE, qemu, *program("aarch64-linux", name)]


def test_merge_and_letterbox_hold_every_case_on_arm() -> None:
    """Ties and thresholds included: nothing is fused or rounded otherwise."""
    done = run([*on_arm("edgeseg-spec", least_qemu=7), SPEC])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("runtime", "file", "least_qemu"),
    [
        ("executorch", "tiny-64x64.float32.xnnpack.pte", 7),
        ("executorch", "tiny-64x64.int8.xnnpack.pte", 7),
        ("litert", "tiny-64x64.float32.tflite", 8),
        ("litert", "tiny-64x64.int8.tflite", 8),
    ],
)
def test_golden_answers_are_torchs_on_arm(runtime: str, file: str, least_qemu: int, tmp_path: Path) -> None:
    precision = file.split(".")[1]
    goldens = read_golden(open_bundle(BUNDLE), precision)
    write_tensors(tmp_path / "images", {"images": np.stack([golden.image for golden in goldens])})
    wanted = Request(runtime, BUNDLE / file, (64, 64), threads=1, seconds=1, seed=0)
    wanted = replace(wanted, images=str(tmp_path / "images"), answers=str(tmp_path / "answers"))
    runner = on_arm("edgeseg-runner", least_qemu=least_qemu)
    done = run([*runner, to_json(wanted, tmp_path / "request.json"), tmp_path / "result.json"])
    assert (done.returncode, done.stderr) == (0, "")
    maps = read_tensors(tmp_path / "answers")["slot_map"]
    shares = [np.mean(found == golden.merged.slot_map) for found, golden in zip(maps, goldens, strict=True)]
    assert np.mean(shares) >= FLOOR.get(precision, QUANTIZED_FLOOR)

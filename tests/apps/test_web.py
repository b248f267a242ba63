"""The browser app: its core against apps/spec in Node.js, the built app in Chromium.

Both are toolchains that `make test` can do without; where they are missing, the skip says so.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeseg.bench.measurement import read_measurements
from edgeseg.data.transforms import unletterbox_map
from edgeseg.export.bundle import open_bundle
from edgeseg.export.golden import read_golden
from edgeseg.export.verify import floor_of
from edgeseg.merge import merged_to_segments

ROOT = Path(__file__).parents[2]
WEB = ROOT / "apps" / "web"
BUNDLE = ROOT / "apps" / "spec" / "tiny.edgeseg"
NODE = (20, 19)
NO_NETWORK = "ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EIDLETIMEOUT"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def node_version() -> tuple[int, ...]:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return ()
    said = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
    return tuple(int(part) for part in said.strip().removeprefix("v").split(".")[:2])


def run(*command: str, where: Path = WEB) -> str:
    done = subprocess.run(command, cwd=where, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def web() -> Path:
    """apps/web with the packages of its lock file."""
    if node_version() < NODE:
        pytest.skip(f"Node.js {NODE[0]}.{NODE[1]} or later with npm is not installed")
    lock = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    stamp = WEB / "node_modules" / ".edgeseg-lock"
    if not stamp.is_file() or stamp.read_text() != lock:
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=WEB, capture_output=True, text=True)
        if done.returncode != 0 and (told := re.search(NO_NETWORK, done.stderr)):
            pytest.skip(f"npm ci cannot fetch the packages of apps/web/package-lock.json ({told[0]})")
        assert done.returncode == 0, done.stderr[-3000:]
        stamp.write_text(lock)
    return WEB


def test_the_core_reproduces_every_case_of_the_specification(web: Path) -> None:
    assert "# fail 0" in run("npm", "test")


def test_the_sources_keep_their_lint(web: Path) -> None:
    run("npm", "run", "lint")


@pytest.fixture(scope="module")
def seen(web: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[str, Any], Path]:
    """What tests/browser/run.mjs saw of the tiny bundle, and the folder of its downloads."""
    chromium = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if chromium is None:
        pytest.skip(f"no Chromium: none of {', '.join(CHROMIUM)} is installed")
    run("npm", "run", "build")
    out = tmp_path_factory.mktemp("web")
    golden = BUNDLE / "golden" / "000.png"
    picture = Image.open(golden).convert("RGB")
    frame = io.BytesIO()
    picture.resize((640, 640), Image.Resampling.NEAREST).crop((0, 80, 640, 560)).save(frame, "JPEG")
    (out / "camera.mjpeg").write_bytes(frame.getvalue() * 30)
    picture.resize((1920, 1920)).crop((0, 420, 1920, 1500)).save(out / "photo.jpg")
    command = ["node", "tests/browser/run.mjs", "--out", str(out), "--chromium", chromium]
    command += ["--video", str(out / "camera.mjpeg"), "--photo", str(out / "photo.jpg"), "--golden", str(golden)]
    command += ["--newer", str(newer(out)), "--changed", str(changed(out))]
    run(*command, "--", sys.executable, "-m", "edgeseg", "app", "web", str(BUNDLE), "--port", "0")
    if kept := os.environ.get("EDGESEG_KEEP_SCREENSHOTS"):
        for png in out.glob("*.png"):
            shutil.copy(png, kept)
    return json.loads((out / "seen.json").read_text()), out


def newer(folder: Path) -> Path:
    """The bundle as a later version of edgeseg would write it."""
    copy = Path(shutil.copytree(BUNDLE, folder / "newer.edgeseg"))
    table = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps(table | {"schema_version": "2.0"}))
    return copy


def changed(folder: Path) -> Path:
    """The bundle with one bit of every browser artifact turned."""
    copy = Path(shutil.copytree(BUNDLE, folder / "changed.edgeseg"))
    for artifact in open_bundle(copy).artifacts:
        if artifact.runtime in ("onnx", "litert"):
            content = bytearray((copy / artifact.file).read_bytes())
            content[len(content) // 2] ^= 1
            (copy / artifact.file).write_bytes(content)
    return copy


def test_every_artifact_for_browsers_passes_its_self_check_with_one_thread_and_with_two(seen: Any) -> None:
    facts, _ = seen
    names = [a.file for a in open_bundle(BUNDLE).artifacts if a.runtime in ("onnx", "litert")]
    assert {name.rsplit(".", 1)[0] for name in facts["artifacts"]} == set(names)
    for name, row in facts["artifacts"].items():
        assert row["check"].startswith("Self-check: PASS"), f"{name}: {row}"
        assert row["engine"].endswith(f"(wasm), threads: {name[-1]}")
        assert not row["message"]


def test_saved_segments_are_those_of_torchs_golden_answer(seen: Any) -> None:
    """The panoptic PNG that the app saves for a golden image, against the numpy merge of torch's answer."""
    facts, out = seen
    bundle = open_bundle(BUNDLE)
    for name in facts["artifacts"]:
        artifact = next(a for a in bundle.artifacts if name.startswith(a.file))
        wanted = read_golden(bundle, artifact.precision)[0].merged
        slot_map = unletterbox_map(wanted.slot_map, bundle.image_size, bundle.image_size, bundle.image_size)
        panoptic_map, segments = merged_to_segments(wanted, slot_map, bundle.categories)
        png = np.array(Image.open(out / f"{name}.png").convert("RGB")).astype(np.int32)
        equal = float((png[..., 0] + 256 * png[..., 1] + 65536 * png[..., 2] == panoptic_map).mean())
        assert equal >= floor_of(artifact.precision), name
        document = json.loads((out / f"{name}.panoptic.json").read_text())
        rows = document["annotations"][0]["segments_info"]
        assert [row["category_id"] for row in rows] == [segment.category_id for segment in segments]
        assert [row["area"] for row in rows] == np.bincount(png[..., 0].ravel())[1:].tolist()


def test_what_a_browser_does_not_have_is_shown_and_cannot_be_chosen(seen: Any) -> None:
    facts, _ = seen
    texts = {option["text"]: option["disabled"] for option in facts["options"]}
    assert texts["executorch int8 (executorch does not run in browsers)"]
    assert texts["coreml float32 (coreml does not run in browsers)"]
    webgpu = next(option for option in facts["options"] if option["value"] == "webgpu")
    assert webgpu["disabled"] == (webgpu["text"] != "webgpu")


def test_a_camera_that_is_refused_or_missing_is_said_and_a_photo_still_works(seen: Any) -> None:
    facts, _ = seen
    assert facts["refused"]["message"].startswith("The camera was refused.")
    assert facts["missing"]["message"].startswith("There is no camera.")
    assert facts["refused"]["shown"] == facts["missing"]["shown"] == "000.png"


def test_a_newer_or_damaged_bundle_is_refused_by_name(seen: Any) -> None:
    facts, _ = seen
    assert 'schema_version "2.0", this app reads 1.x; update the app' in facts["wrong"]["newer"]
    assert "was changed after the export (sha256 differs)" in facts["wrong"]["changed"]


def test_the_app_works_after_its_server_is_gone(seen: Any) -> None:
    assert seen[0]["offline"].startswith("Self-check: PASS")


def test_the_camera_shows_segments_that_a_tap_names(seen: Any) -> None:
    facts, _ = seen
    names = {category.name for category in open_bundle(BUNDLE).categories}
    assert facts["tapped"].split(",")[0] in names
    stages = ["capture", "pre", "run", "post", "draw", "total"]
    assert [row[0] for row in facts["cameraTimes"]] == [*stages, "frames a second"]


def test_post_and_draw_of_a_1080p_photo_take_at_most_8_ms(seen: Any) -> None:
    """On a quiet core; a neighbour that takes half of it doubles the time, and nothing here can tell."""
    median = {row[0]: float(row[1]) for row in seen[0]["photoTimes"]}
    busy = 1 + os.getloadavg()[0] / (os.cpu_count() or 1)
    assert median["post"] + median["draw"] <= 8 * busy


def test_no_control_is_without_a_name_for_screen_readers(seen: Any) -> None:
    assert seen[0]["unlabelled"] == []
    assert "errors" not in seen[0]


def test_saved_measurements_are_read_by_python(seen: Any) -> None:
    _, out = seen
    measured = read_measurements(out / "downloads" / "measurements.jsonl")
    bundle = open_bundle(BUNDLE)
    assert [(m.artifact, m.sha256) for m in measured] == [(a.file, a.sha256) for a in bundle.artifacts]
    for measurement in measured:
        if measurement.runtime in ("onnx", "litert"):
            assert len(measurement.samples_ms) == sum(measurement.round_sizes) >= 10
            assert measurement.runtime_version.endswith("(wasm)")
            assert len(measurement.load_ms) == 2
        else:
            assert measurement.not_timed == f"{measurement.runtime} does not run in browsers"

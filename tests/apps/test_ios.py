"""The iOS sample: its core passes apps/spec by its own script (apps/ios/ci.sh), its Xcode project is whole."""

from __future__ import annotations

import json
import os
import plistlib
import re
import shutil
import subprocess
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeseg.bench.xctest_log import parse_measured
from edgeseg.export.app import PROJECTS
from edgeseg.export.runtimes import get_runtime

APPS = Path(__file__).parents[2] / "apps"
IOS = APPS / "ios"
SPEC = APPS / "spec"
PROJECT = IOS / "EdgeSeg.xcodeproj"
_MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")


pytestmark = pytest.mark.timeout(2460)  # a cold start fetches the toolchain


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build folder of ci.sh."""
    cache = Path(os.environ.get("EDGESEG_CACHE", Path.home() / ".cache" / "edgeseg")) / "swift" / "trixie"
    missing = [tool for tool in ("unshare", "chroot", "debootstrap") if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"apps/ios/ci.sh needs root and unshare, chroot, debootstrap; missing: {missing or 'root'}")
    if not cache.is_dir() and not _answers(f"{_MIRROR}/dists/trixie/InRelease"):
        pytest.skip(f"no Swift toolchain in {cache}, and {_MIRROR}, where it comes from, does not answer")
    folder = tmp_path_factory.mktemp("ios")
    done = subprocess.run([IOS / "ci.sh", folder], capture_output=True, text=True, timeout=2400)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder


@pytest.mark.slow
def test_the_core_runs_every_test_that_its_sources_hold(built: Path) -> None:
    sources = "".join(file.read_text("utf-8") for file in (IOS / "EdgeSegCore" / "Tests").rglob("*.swift"))
    report = (built / "tests.txt").read_text(encoding="utf-8")
    xctests = re.findall(r"Executed (\d+) tests, with 0 failures", report)
    assert max(map(int, xctests)) == len(re.findall(r"func test[A-Z]", sources))
    swift_tests = re.search(r"Test run with (\d+) tests passed", report)
    assert swift_tests, report[-2000:]
    assert int(swift_tests[1]) == len(re.findall(r"@Test\b", sources))


@pytest.mark.slow
def test_a_line_that_xctest_really_measured_is_read(built: Path) -> None:
    (row,) = parse_measured((built / "tests.txt").read_text(encoding="utf-8"))
    assert (row.test, row.metric, len(row.values)) == ("MeasuredTests.testPercentilesOfManySamples", "Time", 10)
    assert row.average == pytest.approx(sum(row.values) / 10, abs=5.1e-4)  # printed with three digits


@pytest.mark.slow
def test_pillow_reads_the_panoptic_png_that_the_core_wrote(built: Path) -> None:
    cases = json.loads((SPEC / "overlay.json").read_text(encoding="utf-8"))["cases"]
    for case in cases:
        wanted = case["panoptic_png"]
        ids = np.fromfile(SPEC / wanted["file"], np.uint8).reshape(wanted["shape"])
        with Image.open(built / f"panoptic.{case['name']}.png") as png:
            assert png.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(png), ids)


@pytest.mark.slow
def test_post_and_draw_at_1080p_take_at_most_8_ms_of_one_core(built: Path) -> None:
    found = re.search(r"post \+ draw at 1920x1080.*: p50 ([\d.]+) ms", (built / "times.txt").read_text("utf-8"))
    assert found
    assert float(found[1]) <= 8.0


def test_the_core_imports_foundation_and_nothing_of_apple_that_linux_lacks() -> None:
    imports = {
        (file.name, name)
        for file in (IOS / "EdgeSegCore" / "Sources" / "EdgeSegCore").glob("*.swift")
        for name in _imports(file)
    }
    assert {name for _, name in imports} == {"Foundation", "CryptoKit"}
    assert [file for file, name in imports if name == "CryptoKit"] == ["BundleFolder.swift"]  # behind #if canImport


def test_only_a_runtimes_own_files_import_it() -> None:
    users = {
        name: sorted(file.name for file in (IOS / "EdgeSeg").glob("*.swift") if name in _imports(file))
        for name in ("CoreML", "ExecuTorch")
    }
    assert users == {
        "CoreML": ["Choice.swift", "CompiledModel.swift", "CoreMLSegmenter.swift"],
        "ExecuTorch": ["ExecuTorchSegmenter.swift"],
    }


def test_every_target_compiles_exactly_the_sources_of_its_folder() -> None:
    objects = _project()["objects"]
    for name in ("EdgeSeg", "EdgeSegBench"):
        target = _one(objects, "PBXNativeTarget", name=name)
        compiled = [
            objects[objects[entry]["fileRef"]]["path"]
            for entry in objects[_phase(objects, target, "PBXSourcesBuildPhase")]["files"]
        ]
        assert sorted(compiled) == sorted(file.name for file in (IOS / name).glob("*.swift"))


def test_every_reference_of_the_project_leads_to_an_object_and_every_file_is_there() -> None:
    project = _project()
    objects = project["objects"]
    keys = re.findall(r"\b[0-9A-F]{24}\b", (PROJECT / "project.pbxproj").read_text("utf-8"))
    assert set(keys) == set(objects)
    assert objects[project["rootObject"]]["isa"] == "PBXProject"
    group = objects[objects[project["rootObject"]]["mainGroup"]]
    files = sorted(str(file) for file in _files(objects, group, IOS))
    assert str(IOS / PROJECTS["ios"].bundle) in files
    assert not [file for file in files if not Path(file).exists() and file != str(IOS / PROJECTS["ios"].bundle)]


def test_the_app_carries_the_bundle_and_links_the_core() -> None:
    objects = _project()["objects"]
    target = _one(objects, "PBXNativeTarget", name="EdgeSeg")
    resources = objects[_phase(objects, target, "PBXResourcesBuildPhase")]["files"]
    (bundle,) = (objects[objects[entry]["fileRef"]] for entry in resources)
    assert (bundle["lastKnownFileType"], bundle["path"]) == ("folder", "Resources/bundle.edgeseg")
    (product,) = (objects[entry] for entry in target["packageProductDependencies"])
    package = _one(objects, "XCLocalSwiftPackageReference")
    manifest = (IOS / package["relativePath"] / "Package.swift").read_text(encoding="utf-8")
    assert f'.library(name: "{product["productName"]}"' in manifest


def test_the_schemes_build_targets_of_the_project() -> None:
    objects = _project()["objects"]
    schemes = sorted((PROJECT / "xcshareddata" / "xcschemes").glob("*.xcscheme"))
    assert [scheme.stem for scheme in schemes] == ["EdgeSeg", "EdgeSegBench"]
    for scheme in schemes:
        for reference in ET.parse(scheme).iter("BuildableReference"):
            target = objects[reference.attrib["BlueprintIdentifier"]]
            assert (target["isa"], target["name"]) == ("PBXNativeTarget", reference.attrib["BlueprintName"])


def test_the_app_says_why_it_wants_the_camera_and_wants_nothing_else() -> None:
    info = plistlib.loads((IOS / "EdgeSeg" / "Info.plist").read_bytes())
    assert [key for key in info if key.endswith("UsageDescription")] == ["NSCameraUsageDescription"]


def test_the_deployment_target_is_the_one_that_core_ml_files_are_written_for() -> None:
    written_for = get_runtime("coreml").target.removeprefix("iOS")  # type: ignore[attr-defined]
    objects = _project()["objects"].values()
    targets = {
        entry["buildSettings"]["IPHONEOS_DEPLOYMENT_TARGET"]
        for entry in objects
        if entry["isa"] == "XCBuildConfiguration" and "IPHONEOS_DEPLOYMENT_TARGET" in entry["buildSettings"]
    }
    assert targets == {f"{written_for}.0"}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except OSError:
        return False


def _imports(file: Path) -> list[str]:
    return re.findall(r"^\s*(?:@testable )?import (\w+)", file.read_text("utf-8"), re.MULTILINE)


def _project() -> dict[str, Any]:
    table = parse_plist((PROJECT / "project.pbxproj").read_text(encoding="utf-8"))
    assert isinstance(table, dict)
    return table


def _one(objects: dict[str, Any], isa: str, **wanted: str) -> dict[str, Any]:
    (found,) = (entry for entry in objects.values() if entry["isa"] == isa and wanted.items() <= entry.items())
    assert isinstance(found, dict)
    return found


def _phase(objects: dict[str, Any], target: dict[str, Any], isa: str) -> str:
    (found,) = (key for key in target["buildPhases"] if objects[key]["isa"] == isa)
    return str(found)


def _files(objects: dict[str, Any], group: dict[str, Any], folder: Path) -> Iterator[Path]:
    """Paths of the sources that a group names; products are built, not there."""
    for key in group["children"]:
        child = objects[key]
        if child["sourceTree"] == "BUILT_PRODUCTS_DIR":
            continue
        path = folder / child.get("path", "")
        if child["isa"] == "PBXGroup":
            yield from _files(objects, child, path)
        else:
            yield path


_TOKEN = re.compile(r'\s+|//[^\n]*|/\*.*?\*/|(?P<token>[{}()=;,]|"(?:[^"\\]|\\.)*"|[\w./$:-]+)', re.DOTALL)


def parse_plist(text: str) -> Any:
    """Reads Apple's old-style property list (Property List Programming Guide, "Old-Style ASCII Property Lists")."""
    tokens = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found, f"no property list at {text[at : at + 40]!r}"
        if found["token"]:
            tokens.append(found["token"])
        at = found.end()
    value, rest = _value(tokens, 0)
    assert rest == len(tokens)
    return value


def _value(tokens: list[str], at: int) -> tuple[Any, int]:
    if tokens[at] == "{":
        table: dict[str, Any] = {}
        at += 1
        while tokens[at] != "}":
            key, equals = tokens[at], tokens[at + 1]
            assert equals == "=", f"{key} has no value"
            assert key not in table, f"{key} is there twice"
            table[key], at = _value(tokens, at + 2)
            assert tokens[at] == ";", f"no semicolon after {key}"
            at += 1
        return table, at + 1
    if tokens[at] == "(":
        items = []
        at += 1
        while tokens[at] != ")":
            item, at = _value(tokens, at)
            items.append(item)
            at += tokens[at] == ","
        return items, at + 1
    assert tokens[at] not in "})=;,"
    return tokens[at].strip('"'), at + 1

"""The Android sample compiles, passes apps/spec, packs and signs by its own script (apps/android/ci.sh)."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

ANDROID = Path(__file__).parents[2] / "apps" / "android"
APP = ANDROID / "app" / "src" / "main"
_TOOLS = ("java", "javac", "keytool", "curl", "apt-get", "dpkg-deb")


pytestmark = pytest.mark.timeout(1860)  # a cold start fetches the toolchain


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build folder of ci.sh."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"apps/android/ci.sh needs a JDK, curl and apt-get; this machine has no {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("android")
    done = subprocess.run([ANDROID / "ci.sh", folder], capture_output=True, text=True, timeout=1800)
    if done.returncode == 3:
        pytest.skip(f"apps/android/ci.sh cannot fetch its tools: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder


@pytest.mark.slow
def test_the_core_passes_its_tests_against_the_specification(built: Path) -> None:
    report = (built / "tests.txt").read_text(encoding="utf-8")
    found = re.search(r"^OK \((\d+) tests\)$", report, re.MULTILINE)
    assert found, report
    assert int(found[1]) == sum(
        len(re.findall(r"@Test\b", file.read_text("utf-8"))) for file in _kotlin(ANDROID / "core")
    )


@pytest.mark.slow
def test_post_and_draw_at_1080p_take_at_most_8_ms_of_one_core(built: Path) -> None:
    found = re.search(
        r"post \+ draw at 1920x1080: p50 ([\d.]+) ms", (built / "benchmark.txt").read_text(encoding="utf-8")
    )
    assert found
    assert float(found[1]) <= 8.0


@pytest.mark.slow
def test_the_apk_asks_for_the_camera_and_nothing_else(built: Path) -> None:
    lines = (built / "permissions.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "permission" in line] == ["uses-permission: name='android.permission.CAMERA'"]


@pytest.mark.slow
def test_the_apk_launches_the_main_activity_on_the_versions_that_gradle_is_told(built: Path) -> None:
    badging = (built / "badging.txt").read_text(encoding="utf-8")
    script = (ANDROID / "app" / "build.gradle.kts").read_text(encoding="utf-8")
    for key, badge in (("minSdk", "sdkVersion"), ("targetSdk", "targetSdkVersion")):
        version = re.search(rf"\b{key} = (\d+)", script)
        assert version
        assert f"\n{badge}:'{version[1]}'" in badging
    assert "launchable-activity: name='edgeseg.app.MainActivity'" in badging


@pytest.mark.slow
def test_every_class_of_the_app_and_none_of_the_stubs_is_in_the_dex(built: Path) -> None:
    with zipfile.ZipFile(built / "app.apk") as apk:
        classes = _dex_classes(apk.read("classes.dex"))
    for file in _kotlin(APP):
        for name in re.findall(
            r"^(?:open |data |private )*(?:class|object) (\w+)", file.read_text("utf-8"), re.MULTILINE
        ):
            assert f"Ledgeseg/app/{name};" in classes
    assert not [name for name in classes if name.startswith(("Lorg/pytorch/", "Lcom/google/ai/"))]


@pytest.mark.slow
def test_the_apk_with_a_small_bundle_is_under_30_mb(built: Path) -> None:
    assert (built / "app.apk").stat().st_size < 30e6
    with zipfile.ZipFile(built / "app.apk") as apk:
        assert "assets/bundle.edgeseg/bundle.json" in apk.namelist()


def test_the_manifest_has_no_permission_but_the_camera() -> None:
    manifest = (APP / "AndroidManifest.xml").read_text(encoding="utf-8")
    assert re.findall(r"<uses-permission[^>]*name=\"([^\"]*)\"", manifest) == ["android.permission.CAMERA"]


def test_core_imports_nothing_of_android() -> None:
    imports = {line for file in _kotlin(ANDROID / "core" / "src" / "main") for line in _imports(file)}
    assert imports
    assert not [name for name in imports if not name.startswith(("java.", "kotlin", "edgeseg.core."))]


def test_only_a_runtimes_own_file_imports_it() -> None:
    users = {
        prefix: [file.name for file in _kotlin(APP) if any(name.startswith(prefix) for name in _imports(file))]
        for prefix in ("org.pytorch.", "com.google.ai.edge.litert")
    }
    assert users == {"org.pytorch.": ["ExecuTorchSegmenter.kt"], "com.google.ai.edge.litert": ["LiteRtSegmenter.kt"]}


def test_the_app_shows_the_runtime_versions_that_gradle_fetches() -> None:
    catalogue = tomllib.loads((ANDROID / "gradle" / "libs.versions.toml").read_text(encoding="utf-8"))["versions"]
    shown = (APP / "res" / "values" / "versions.xml").read_text(encoding="utf-8")
    for name in ("executorch", "litert"):
        assert f'name="{name}_version" translatable="false">{catalogue[name]}<' in shown


def test_ci_compiles_with_the_versions_of_the_catalogue() -> None:
    catalogue = tomllib.loads((ANDROID / "gradle" / "libs.versions.toml").read_text(encoding="utf-8"))["versions"]
    fetched = (ANDROID / "ci" / "toolchain.txt").read_text(encoding="utf-8")
    for name, key in (
        ("kotlin-stdlib", "kotlin"),
        ("kotlinx-serialization-json-jvm", "serialization"),
        ("junit", "junit"),
    ):
        assert f"/{name}-{catalogue[key]}.jar" in fetched


def test_every_text_that_people_read_is_a_resource() -> None:
    layouts = "".join(file.read_text("utf-8") for file in (APP / "res").rglob("*.xml"))
    assert not re.findall(r'android:(?:text|contentDescription|label)="(?!@)[^"]*"', layouts)


def _kotlin(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.kt"))


def _imports(file: Path) -> list[str]:
    return re.findall(r"^import ([\w.]+)", file.read_text("utf-8"), re.MULTILINE)


def _dex_classes(dex: bytes) -> set[str]:
    """Names of the classes that a dex file defines (Dalvik executable format, section "File layout")."""
    string_ids, _, type_ids, _, num_classes, class_defs = (
        struct.unpack_from("<I", dex, at)[0] for at in (0x3C, 0x40, 0x44, 0x5C, 0x60, 0x64)
    )
    names = set()
    for row in range(num_classes):
        (type_index,) = struct.unpack_from("<I", dex, class_defs + 32 * row)
        (string_index,) = struct.unpack_from("<I", dex, type_ids + 4 * type_index)
        (start,) = struct.unpack_from("<I", dex, string_ids + 4 * string_index)
        while dex[start] & 0x80:  # the length, in 7-bit groups
            start += 1
        names.add(dex[start + 1 : dex.index(0, start + 1)].decode())
    return names

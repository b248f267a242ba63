from __future__ import annotations

import json
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseg.cli import main
from edgeseg.export.app import APPS, PROJECTS, make_server, write_project
from edgeseg.export.bundle import open_bundle
from edgeseg.structures import InputError

BUNDLE = APPS / "spec" / "tiny.edgeseg"


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    """A built browser app of two files, and a project with what a build leaves behind."""
    dist, project = tmp_path / "apps" / "web" / "dist", tmp_path / "apps" / "android"
    (dist / "ort").mkdir(parents=True)
    (dist / "index.html").write_text("<h1>app</h1>")
    (dist / "ort" / "run.wasm").write_bytes(b"\0asm")
    (dist / "ort" / "run.mjs").write_text("export {};")
    (tmp_path / "apps" / "web" / "secret.txt").write_text("not served")
    (project / "app" / "src" / "main" / "assets" / "bundle.edgeseg").mkdir(parents=True)
    (project / "app" / "src" / "main" / "assets" / "bundle.edgeseg" / "old").write_text("an earlier bundle")
    (project / "app" / "build").mkdir()
    (project / "app" / "build" / "app.apk").write_text("built")
    (project / "settings.gradle.kts").write_text('rootProject.name = "EdgeSeg"')
    return tmp_path / "apps"


@pytest.fixture
def url(apps: Path) -> Iterator[str]:
    with make_server(BUNDLE, port=0, apps=apps) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_the_app_and_the_bundle_are_served_isolated_with_their_types(url: str) -> None:
    kinds = {
        "/": "text/html",
        "/ort/run.wasm": "application/wasm",
        "/ort/run.mjs": "text/javascript",
        "/bundle/bundle.json": "application/json",
        "/bundle/golden/000.png?again": "image/png",
    }
    for path, kind in kinds.items():
        with urllib.request.urlopen(url + path) as answer:
            assert answer.headers["Content-Type"].split(";")[0] == kind
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    with urllib.request.urlopen(url + "/bundle/bundle.json") as answer:
        assert json.load(answer)["name"] == "tiny"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/bundle/../../README.md",
        "/%2e%2e/secret.txt",
        "/bundle//etc/passwd",
        "/bundle/golden/",
        "/no",
    ],
)
def test_nothing_else_is_served(url: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(url + path)


def test_a_taken_port_is_said(url: str, apps: Path) -> None:
    with pytest.raises(InputError, match="give another --port"):
        make_server(BUNDLE, port=int(url.rsplit(":", 1)[1]), apps=apps)


def test_an_app_that_is_not_built_says_how_to_build_it(apps: Path) -> None:
    shutil.rmtree(apps / "web" / "dist")
    with pytest.raises(InputError, match=r"make web \(needs Node\.js"):
        make_server(BUNDLE, port=0, apps=apps)


def test_a_project_holds_the_sources_and_the_new_bundle_and_no_build_outputs(apps: Path, tmp_path: Path) -> None:
    result = write_project("android", BUNDLE, tmp_path / "out", apps=apps)
    bundle = open_bundle(Path(result["bundle"]))
    assert bundle.path == tmp_path / "out" / "app" / "src" / "main" / "assets" / "bundle.edgeseg"
    assert bundle.name == "tiny"
    assert not (bundle.path / "old").exists()
    assert (tmp_path / "out" / "settings.gradle.kts").is_file()
    assert not (tmp_path / "out" / "app" / "build").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["apps", "out"]


def test_a_folder_in_use_is_refused(apps: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    with pytest.raises(InputError, match="exists already"):
        write_project("android", BUNDLE, tmp_path / "out", apps=apps)
    assert (tmp_path / "out" / "mine").read_text() == "keep"


def test_a_platform_without_sources_is_said(apps: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run this in a checkout"):
        write_project("ios", BUNDLE, tmp_path / "out", apps=apps)


@pytest.mark.parametrize("platform", PROJECTS)
def test_the_verb_wants_a_folder_for_a_project(platform: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["app", platform, str(BUNDLE)]) == 2
    assert "--out FOLDER" in capsys.readouterr().err


def test_the_verb_refuses_what_is_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["app", "web", str(tmp_path)]) == 2
    assert "is not a bundle" in capsys.readouterr().err
    assert main(["app", "web", str(tmp_path / "none")]) == 2
    assert "none does not exist; make one with edgeseg export" in capsys.readouterr().err

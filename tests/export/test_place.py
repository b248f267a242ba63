"""An export that ends before its end: Ctrl-C, a signal, a full disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from edgeseg.export.place import whole_folder
from edgeseg.structures import InputError
from tests.small_disk import run_on_a_small_disk

MAIN = "import sys, edgeseg.bench.spec_bundle, edgeseg.cli; sys.exit(edgeseg.cli.main(sys.argv[1:]))"
"""The command line, with the small backbone of `small_run` registered."""
LONG = 540.0  # seconds; on a loaded machine minutes pass until the first conversion


def export(run: Path, out: Path, *words: str) -> list[str]:
    return [sys.executable, "-c", MAIN, "export", str(run), "--out", str(out), "--only", "onnx", *words]


def converters(parent: int) -> list[psutil.Process]:
    """A process's children that convert, as soon as there are some."""
    deadline = time.monotonic() + LONG
    while True:
        children = psutil.Process(parent).children(recursive=True)
        if found := [child for child in children if "edgeseg.export.child" in _words(child)]:
            return found
        assert time.monotonic() < deadline, "no conversion began"
        time.sleep(0.02)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # ended since it was listed
        return []


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """An empty folder for the bundle and one for temporary files."""
    (tmp_path / "out").mkdir()
    (tmp_path / "tmp").mkdir()
    return tmp_path / "out", tmp_path / "tmp"


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, code, last_words",
    [
        (signal.SIGINT, 130, "edgeseg: interrupted"),
        (signal.SIGTERM, 143, ""),
        (signal.SIGKILL, -signal.SIGKILL, None),
    ],
)
def test_a_signal_while_a_child_converts_ends_both_and_leaves_nothing(
    number: signal.Signals, code: int, last_words: str | None, small_run: Path, folders: tuple[Path, Path]
) -> None:
    """To the parent alone, as `kill` sends it. After SIGKILL nobody is left to clean up, but the child ends too."""
    out, tmp = folders
    with subprocess.Popen(
        export(small_run, out / "a.edgeseg"), stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp)}
    ) as parent:
        children = converters(parent.pid)
        parent.send_signal(number)
        _, said = parent.communicate(timeout=LONG)
    assert parent.returncode == code
    assert psutil.wait_procs(children, timeout=LONG)[1] == []
    if last_words is not None:
        assert list(out.iterdir()) == list(tmp.iterdir()) == []
        assert "Traceback" not in said
        assert said.splitlines()[-1].startswith(last_words or "exporting: ")


@pytest.mark.slow
@pytest.mark.parametrize("kib", [64, 700, 1100])
def test_a_full_disk_is_one_line_and_leaves_nothing(kib: int, small_run: Path, tmp_path: Path) -> None:
    """A file system of that size: full at the golden images, at the program to convert, and in the converter."""
    done = run_on_a_small_disk(tmp_path, kib, export(small_run, tmp_path / "a.edgeseg", "--quiet"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "a.edgeseg was not written: No space left on device" in done.stderr


def test_a_file_that_may_not_grow_is_refused_and_the_old_bundle_stays(tmp_path: Path) -> None:
    out = tmp_path / "a.edgeseg"
    out.mkdir()
    (out / "bundle.json").write_text("the old one")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def replace() -> None:
        with whole_folder(out) as aside:
            (aside / "whole" / "bundle.json").write_text("the new one")
            (aside / "whole" / "weights").write_bytes(bytes(1 << 17))

    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(InputError, match="was not written: File too large"):
            replace()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["a.edgeseg"]
    assert (out / "bundle.json").read_text() == "the old one"


def test_a_folder_appears_whole_and_replaces_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "new" / "a.edgeseg"
    for words in ("first", "second"):
        with whole_folder(out) as aside:
            assert not out.exists() or (out / "said").read_text() == "first"
            (aside / "whole" / "said").write_text(words)
        assert (out / "said").read_text() == words
        assert [path.name for path in out.parent.iterdir()] == ["a.edgeseg"]


def test_an_error_inside_is_passed_on_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "a.edgeseg"):
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; run the tests as another user")
    (tmp_path / "closed").mkdir(mode=0o500)
    with (
        pytest.raises(InputError, match="cannot be written: Permission denied"),
        whole_folder(tmp_path / "closed" / "a"),
    ):
        pass

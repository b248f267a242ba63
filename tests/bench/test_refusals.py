from __future__ import annotations

import subprocess
import sys

import pytest

from edgeseg.bench.refusals import refusals
from edgeseg.structures import CheckError, InputError


@pytest.mark.parametrize(
    ("error", "script", "code", "line"),
    [
        (InputError("no head named 'kmx'"), "bench/equal_time.py", 2, "equal_time: no head named 'kmx'\n"),
        (CheckError("yolo failed"), "bench/peers/__main__.py", 1, "peers: yolo failed\n"),
    ],
)
def test_a_refusal_is_one_line_and_the_command_lines_exit_code(
    error: Exception,
    script: str,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [script])
    with pytest.raises(SystemExit) as ended, refusals():
        raise error
    assert (ended.value.code, capsys.readouterr().err) == (code, line)


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError), refusals():
        raise ZeroDivisionError


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "argument", "said"),
    [
        ("native_speed", "nowhere.edgeseg", "nowhere.edgeseg does not exist; make one with edgeseg export"),
        ("parity", "nowhere", "checkpoint nowhere does not exist"),
        ("sizes", "nowhere", "checkpoint nowhere does not exist"),
    ],
)
def test_benchmarks_refuse_what_is_not_there(module: str, argument: str, said: str) -> None:
    command = [sys.executable, "-m", f"edgeseg.bench.{module}", argument]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"{module}: {said}")

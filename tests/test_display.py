"""The live display, as a log file and as a terminal see it."""

from __future__ import annotations

import contextlib
import io

import pytest
from rich.console import Console

from edgeseg import display

LOSSES = {"dice": 1.25, "class": 0.5}


def update(shown: display.TrainingDisplay, step: int, steps: int = 100, pq: float | None = None) -> None:
    shown.update(step, steps, LOSSES, pq=pq, seconds_left=125.0, lr=1e-3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the display believes; write into the list to let time pass."""
    now = [1000.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    return now


def test_a_log_file_gets_one_line_at_once_then_one_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with display.TrainingDisplay("run") as shown:
        for step in range(1, 31):  # one step a second: lines at 0, 10 and 20 s
            update(shown, step)
            clock[0] += 1.0
        printed = capsys.readouterr().err.splitlines()
    assert [line.split("/")[0] for line in printed] == ["run: step 1", "run: step 11", "run: step 21"]


def test_the_last_step_is_printed_even_if_the_run_breaks_off(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with contextlib.suppress(KeyboardInterrupt), display.TrainingDisplay("run") as shown:
        update(shown, 1)
        update(shown, 2)
        raise KeyboardInterrupt
    assert [line.split("/")[0] for line in capsys.readouterr().err.splitlines()] == ["run: step 1", "run: step 2"]


def test_a_line_holds_step_loss_parts_pq_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with display.TrainingDisplay("run") as shown:
        update(shown, 100, pq=0.6125)
    line = capsys.readouterr().err
    for part in ("step 100/100", "loss 1.750", "dice 1.250", "class 0.500", "PQ 0.61", "lr 1.0e-03", "left 2:05"):
        assert part in line


def test_standard_output_stays_empty(capsys: pytest.CaptureFixture[str]) -> None:
    with display.TrainingDisplay() as shown, display.progress("job", 2) as advance:
        update(shown, 1)
        advance(2)
        display.say("hello")
    assert capsys.readouterr().out == ""


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with display.TrainingDisplay(quiet=True) as shown, display.progress("job", 2, quiet=True) as advance:
        update(shown, 1)
        advance(2)
        display.say("hello", quiet=True)
    assert capsys.readouterr() == ("", "")


def test_square_brackets_in_a_message_are_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    display.say("read [bold]file[/] street[0]")
    assert capsys.readouterr().err == "read [bold]file[/] street[0]\n"


def test_progress_in_a_log_file_ends_with_the_total(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with display.progress("evaluating", 4) as advance:
        for _ in range(4):
            advance(1)
    assert capsys.readouterr().err.splitlines() == ["evaluating: 1/4", "evaluating: 4/4"]


def test_a_terminal_gets_a_panel_with_best_pq_and_survives_a_loss_that_is_not_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(display, "_CONSOLE", Console(file=screen, force_terminal=True, width=100, color_system=None))
    with display.TrainingDisplay("my run") as shown:
        update(shown, 1, pq=0.7)
        update(shown, 2, pq=0.6)
        shown.update(3, 100, {"dice": float("nan")}, pq=0.6, seconds_left=None, lr=1e-3)
    panel = screen.getvalue()
    assert "my run" in panel
    assert "PQ 0.600 (best 0.700)" in panel
    assert "dice" in panel
    assert "nan" in panel


def test_a_rising_loss_gives_a_rising_curve() -> None:
    assert display._sparkline([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) == "▁▂▃▄▅▆▇█"
    assert display._sparkline([2.0, 2.0]) == "▁▁"

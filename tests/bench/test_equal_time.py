"""The comparison of networks after equal time: its clock and its table."""

from __future__ import annotations

import time

from edgeseg.bench.equal_time import ProcessorClock, table
from edgeseg.config import TrainConfig


def test_sleeping_costs_no_training_time() -> None:
    clock = ProcessorClock(TrainConfig(minutes=1.0))
    clock.start()
    time.sleep(0.2)
    clock.tick()
    assert clock.step == 1
    assert clock.seconds < 0.1


def test_working_does() -> None:
    clock = ProcessorClock(TrainConfig(minutes=1.0))
    clock.start()
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    clock.tick()
    assert clock.seconds >= 0.05


def test_a_row_of_the_table_is_in_millions_milliseconds_and_percent() -> None:
    row = {"params": 1_880_000, "macs": 181_400_000, "steps": 619, "ms_per_step": 193.9}
    row |= {"all": 0.2866, "things": 0.2041, "stuff": 0.3688, "ap": 0.1, "miou": 0.5}
    assert table([{"backbone": "mobilenet_v2", "head": "kmax", **row}]).splitlines()[-1] == (
        "| `mobilenet_v2` | `kmax` | 1.88 | 181 | 619 | 194 | 28.7 | 20.4 | 36.9 | 10.0 | 50.0 |"
    )

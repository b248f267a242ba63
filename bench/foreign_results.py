"""What other benchmark tools write, as numbers.

The formats are read from the tools' sources: TensorFlow's `tensorflow/lite/tools/benchmark/benchmark_model.cc` and
`xla/tsl/util/stats_calculator.cc`, LiteRT's `litert/tools/benchmark_litert_model.h` and
`tflite/tools/benchmark/proto/benchmark_result.proto`, and `tools/benchmark_litert_model.py` of ai-edge-litert's wheel.
"""

from __future__ import annotations

import json
import math
import re
import statistics
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeseg.bench.xctest_log import parse_measured
from edgeseg.structures import InputError

_MAX_BYTES = 2**24  # a longer log is something else


@dataclass(frozen=True)
class Summary:
    """One run of another tool, as that tool summed it up.

    Attributes:
        tool: What wrote it.
        num_runs: Timed calls.
        mean_ms: Mean of the calls. All tools give it; what follows stands where the tool gives it.
        model: Model file as the tool names it, or XCTest's test; empty if it does not say.
        p5_ms: 5th percentile.
        p50_ms: Median.
        p95_ms: 95th percentile.
        min_ms: Fastest call.
        max_ms: Slowest call.
        std_ms: Standard deviation.
        load_ms: Initialisation of the session.
        first_ms: First call, a warm-up.
        warmup_runs: Untimed calls.
        threads: Threads asked for.
        memory_mib: Growth of the tool's memory footprint, approximate by its own words.
        accelerators: Asked for or applied, in the tool's words, commas between.
        note: What makes it less than a latency; empty if nothing.
    """

    tool: str
    num_runs: int
    mean_ms: float
    model: str = ""
    p5_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    std_ms: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    warmup_runs: int | None = None
    threads: int | None = None
    memory_mib: float | None = None
    accelerators: str = ""
    note: str = ""


def parse_results(path: Path) -> list[Summary]:
    """Recognises a file by its content: log, JSON, operator profile (CSV), protocol buffer, or XCTest's log.

    Returns:
        One result; of XCTest one per measured time.

    Raises:
        InputError: Missing, larger than 16 MiB, none of these, cut off, or numbers that are none.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the file that benchmark_model or litert-benchmark wrote")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path} has {path.stat().st_size} bytes; a benchmark's result has fewer than {_MAX_BYTES}")
    data = path.read_bytes()
    text = data.decode("utf-8", errors="replace").replace("\r\n", "\n")
    parse = next((parse for mark, parse in _PARSERS if mark in text), None)
    try:
        found = _parse_xctest(text) if _XCTEST in text else [parse(text) if parse else _parse_proto(data)]
        for row in found:
            if row.num_runs < 1 or not all(0 <= value < math.inf for value in _times(row)):
                raise ValueError(f"{row.num_runs} runs, mean {row.mean_ms} ms: runs and finite times wanted")
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, struct.error) as error:
        what = "is no whole result of benchmark_model, litert-benchmark or XCTest"
        raise InputError(f"{path} {what} ({error}); import the file as it was written") from error
    return found


def _times(summary: Summary) -> list[float]:
    return [value for name, value in asdict(summary).items() if name.endswith("_ms") and value is not None]


_STATISTICS = re.compile(r"count=(\d+)(?: first=\S+)? curr=.*")
_TIMINGS = re.compile(
    r"Inference timings in us: Init: (\S+), First inference: (\S+), Warmup \(avg\): \S+, Inference \(avg\): (\S+)"
)
_FOOTPRINT = re.compile(r"emory footprint (?:delta from the start of the tool )?\(MB\): init=\S+ overall=(\S+)")
_DELEGATE = re.compile(r"Explicitly applied (\S+) delegate")


def _bracketed(text: str, label: str) -> str:
    """A parameter as the tool logs it: `Graph: [model.tflite]`."""
    found = re.search(rf"\b{label}: \[(.*)\]", text)
    return found[1] if found else ""


def _threads(text: str) -> int | None:
    asked = _bracketed(text, "Num threads")
    return int(asked) if asked else None


def _parse_log(text: str) -> Summary:
    """What benchmark_model prints; before 2024 without percentiles."""
    timings, *others = _TIMINGS.finditer(text)
    if others:
        raise ValueError(f"it holds {1 + len(others)} runs, one to a file wanted")
    load_us, first_us, mean_us = timings.groups()
    before = list(_STATISTICS.finditer(text, 0, timings.start()))
    if len(before) != 2:
        raise ValueError(
            f"{len(before)} lines of counted runs before the first timings; one run has a warm-up and one more"
        )
    warmup, timed = before
    footprint = _FOOTPRINT.search(text)
    return Summary(
        tool="TFLite benchmark_model",
        model=_bracketed(text, "Graph"),
        **_statistics_ms(timed[0]) | {"mean_ms": float(mean_us) / 1000},
        load_ms=float(load_us) / 1000,
        first_ms=float(first_us) / 1000,
        warmup_runs=int(warmup[1]),
        threads=_threads(text),
        memory_mib=float(footprint[1]) if footprint else None,
        accelerators=",".join(dict.fromkeys(_DELEGATE.findall(text))),
        note=_PROFILED if "Operator-wise Profiling Info" in text else "",
    )


_PROFILED = "timed with operator profiling on, which slows every call"


def _parse_profile(text: str) -> Summary:
    """The file of --op_profiling_output_file with --op_profiling_output_mode=csv: sums of operators, not calls."""
    regular = text.split("Operator-wise Profiling Info for Regular Benchmark Runs:", 1)[1]
    timings = re.search(r"Timings \(microseconds\): (count=.*)", regular)
    if timings is None:
        raise ValueError("no line 'Timings (microseconds)' of the regular runs")
    return Summary(
        tool="TFLite benchmark_model, operator profile",
        **_statistics_ms(timings[1]),
        note="sum of the operators, " + _PROFILED,
    )


def _statistics_ms(line: str) -> dict[str, Any]:
    """TensorFlow's Stat in microseconds; one run prints `count=1 curr=29`, equal ones `count=5 curr=29(all same)`."""
    values: dict[str, str] = dict(re.findall(r"(\w+)=([^\s(]+)", line))
    mean_us = values["avg"] if "avg" in values else values["curr"]
    names = {"p5": "p5_ms", "median": "p50_ms", "p95": "p95_ms", "min": "min_ms", "max": "max_ms", "std": "std_ms"}
    found = {ours: float(values[theirs]) / 1000 for theirs, ours in names.items() if theirs in values}
    return {"num_runs": int(values["count"]), "mean_ms": float(mean_us) / 1000, **found}


_KINDS = ("Warmup", "Inference")


def _parse_litert_text(text: str) -> Summary:
    """The block that LiteRT's benchmark_model and litert-benchmark print in milliseconds."""
    block = text[text.rindex("BENCHMARK RESULTS") :]

    def ms(label: str) -> float | None:
        found = re.search(rf"{re.escape(label)}:\s+([\d.]+)", block)
        return float(found[1]) if found else None

    warmup, timed = (re.search(rf"{kind} \(avg\):\s+([\d.]+) ms \((\d+) runs\)", block) for kind in _KINDS)
    if timed is None:
        raise ValueError("no line 'Inference (avg)'")
    counted = list(_STATISTICS.finditer(text))  # only the C++ tool prints them
    percentiles = _statistics_ms(counted[-1][0]) if counted else {}
    return Summary(
        tool="LiteRT benchmark_model" if counted else "litert-benchmark",
        model=_bracketed(text, "Graph"),
        num_runs=int(timed[2]),
        mean_ms=float(timed[1]),
        p5_ms=percentiles.get("p5_ms", ms("Inference (p5)")),
        p50_ms=percentiles.get("p50_ms", ms("Inference (median)")),
        p95_ms=percentiles.get("p95_ms", ms("Inference (p95)")),
        min_ms=ms("Inference (min)"),
        max_ms=ms("Inference (max)"),
        std_ms=ms("Inference (std)"),
        load_ms=ms("Model initialization"),
        first_ms=ms("Warmup (first)"),
        warmup_runs=int(warmup[2]) if warmup else None,
        threads=_threads(text),
        memory_mib=ms("Overall footprint"),
    )


def _parse_litert_json(text: str) -> Summary:
    """`litert-benchmark --result_json`; its accelerators are those asked for."""
    table = json.loads(text)
    latency = table["latency"]
    note = "" if table["fully_accelerated"] else "LiteRT: not fully accelerated"
    return Summary(
        tool="litert-benchmark",
        model=str(table["model"]),
        num_runs=int(latency["num_runs"]),
        mean_ms=float(latency["avg_ms"]),
        p50_ms=float(latency["median_ms"]),
        **{name: float(latency[name]) for name in ("p5_ms", "p95_ms", "min_ms", "max_ms", "std_ms")},
        load_ms=float(latency["init_ms"]),
        first_ms=float(latency["warmup_first_ms"]),
        warmup_runs=int(latency["num_warmup_runs"]),
        threads=int(table["num_threads"]),
        accelerators=",".join(table["accelerators"]),
        note=note,
    )


_PARSERS: tuple[tuple[str, Callable[[str], Summary]], ...] = (
    ("Inference timings in us:", _parse_log),
    ("BENCHMARK RESULTS", _parse_litert_text),
    ("Operator-wise Profiling Info for Regular Benchmark Runs:", _parse_profile),
    ('"latency"', _parse_litert_json),
)
"""Words that only this kind of file has; a log may hold an operator profile, hence the order."""


_XCTEST = "' measured ["


def _parse_xctest(text: str) -> list[Summary]:
    """Blocks that XCTest measured; other metrics than time are left out."""
    measured = [row for row in parse_measured(text) if row.values_ms]
    if not measured:
        raise ValueError("XCTest measured no time in it")
    return [
        Summary(
            tool=f"XCTest, {row.metric}",
            model=row.test,
            num_runs=len(row.values_ms),
            mean_ms=statistics.mean(row.values_ms),
            p50_ms=statistics.median(row.values_ms),
            min_ms=min(row.values_ms),
            max_ms=max(row.values_ms),
        )
        for row in measured
    ]


def _parse_proto(data: bytes) -> Summary:
    """`benchmark_model --result_file_path`: a BenchmarkResult message of latency, memory and run counts."""
    message = _fields(data)
    latency, memory, misc = (_fields(message.get(number, b"")) for number in (2, 3, 4))
    names = ("mean_ms", "min_ms", "max_ms", "std_ms", "p50_ms", "p5_ms", "p95_ms", "load_ms", "first_ms")
    times = {name: latency[number] for number, name in enumerate(names, start=1) if number in latency}
    if not {"mean_ms", "p50_ms"} <= set(times) or 2 not in misc:
        raise ValueError("none of the known formats")
    return Summary(
        tool="LiteRT benchmark_model",
        num_runs=misc[2],
        warmup_runs=misc.get(3),
        memory_mib=memory[2] / 1024 if 2 in memory else None,
        **times,
    )


def _fields(data: bytes) -> dict[int, Any]:
    """Fields of a protocol buffer message by number: varints, floats, and bytes of strings and messages."""
    found: dict[int, Any] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            found[number], at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("none of the known formats")
            found[number], at = data[at : at + size], at + size
        elif kind == 5:
            found[number], at = struct.unpack_from("<f", data, at)[0], at + 4
        else:
            raise ValueError("none of the known formats")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at

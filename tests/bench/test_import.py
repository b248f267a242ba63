"""Results of other benchmark tools (tests/bench/foreign) become marked records, or are refused by name."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.bench.foreign_results import Summary, parse_results
from edgeseg.bench.imported import import_to_file, read_imported
from edgeseg.cli import main
from edgeseg.structures import InputError

FOREIGN = Path(__file__).with_name("foreign")
IOS = Path(__file__).with_name("ios")

WANTED = {  # read off the files by eye
    "benchmark_model.txt": Summary(
        tool="TFLite benchmark_model",
        model="/data/local/tmp/street.float32.tflite",
        num_runs=80,
        mean_ms=12.9423,
        p5_ms=12.647,
        p50_ms=12.781,
        p95_ms=13.169,
        min_ms=12.605,
        max_ms=20.356,
        std_ms=1.19,
        load_ms=61.78,
        first_ms=20.761,
        warmup_runs=40,
        threads=4,
        memory_mib=40.8281,
        accelerators="XNNPACK",
    ),
    "benchmark_model_2020.txt": Summary(
        tool="TFLite benchmark_model",
        model="street.int8.tflite",
        num_runs=52,
        mean_ms=19.8857,
        min_ms=19.171,
        max_ms=29.925,
        std_ms=0.87,
        load_ms=4.5,
        first_ms=637.079,
        warmup_runs=1,
        threads=1,
        memory_mib=8.25,
    ),
    "benchmark_model_profile.csv": Summary(
        tool="TFLite benchmark_model, operator profile",
        num_runs=50,
        mean_ms=12.0,
        min_ms=11.9,
        max_ms=12.2,
        std_ms=0.07,
        note="sum of the operators, timed with operator profiling on, which slows every call",
    ),
    "litert_benchmark_model.txt": Summary(
        tool="LiteRT benchmark_model",
        model="street.float32.tflite",
        num_runs=50,
        mean_ms=53.74,
        p5_ms=49.62,
        p50_ms=51.891,
        p95_ms=68.628,
        min_ms=49.09,
        max_ms=68.61,
        std_ms=6.07,
        load_ms=119.52,
        first_ms=87.11,
        warmup_runs=9,
        threads=2,
        memory_mib=57.25,
    ),
    "litert-benchmark.json": Summary(
        tool="litert-benchmark",
        model="nuclei.tflite",
        num_runs=20,
        mean_ms=453.4,
        p5_ms=403.77,
        p50_ms=443.48,
        p95_ms=523.84,
        min_ms=400.05,
        max_ms=650.74,
        std_ms=57.3,
        load_ms=86.34,
        first_ms=294.84,
        warmup_runs=3,
        threads=2,
        accelerators="CPU",
        note="LiteRT: not fully accelerated",
    ),
}


@pytest.mark.parametrize("name", WANTED)
def test_a_result_file_is_read_to_the_last_number(name: str) -> None:
    assert parse_results(FOREIGN / name) == [WANTED[name]]


def test_logcats_prefix_changes_nothing() -> None:
    assert parse_results(FOREIGN / "benchmark_model_logcat.txt") == [WANTED["benchmark_model.txt"]]


def test_the_text_and_the_json_of_one_run_agree() -> None:
    (text,), table = parse_results(FOREIGN / "litert-benchmark.txt"), WANTED["litert-benchmark.json"]
    assert (text.num_runs, text.p50_ms, text.p95_ms, text.load_ms) == (
        table.num_runs,
        table.p50_ms,
        table.p95_ms,
        table.load_ms,
    )


def test_a_protocol_buffer_reads_as_googles_own_library_wrote_it(tmp_path: Path) -> None:
    """The message of LiteRT's tflite/tools/benchmark/proto/benchmark_result.proto, built at run time."""
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2", reason="pip install protobuf")
    from google.protobuf import descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="result.proto", package="result", syntax="proto2")

    def message(name: str, fields: list[tuple[str, int]], types: dict[str, str] | None = None) -> None:
        made = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, start=1):
            extra = {"type_name": f".result.{types[field]}"} if types and field in types else {}
            made.field.add(name=field, number=number, type=kind, label=kinds.LABEL_OPTIONAL, **extra)

    times = ("avg", "min", "max", "stddev", "median", "p5", "p95", "init", "first_inference", "average_warm_up")
    message("Latency", [(f"{time}_ms", kinds.TYPE_FLOAT) for time in times])
    message("Memory", [("init_kb", kinds.TYPE_INT64), ("overall_kb", kinds.TYPE_INT64), ("peak_mb", kinds.TYPE_FLOAT)])
    message("Misc", [("size", kinds.TYPE_FLOAT), ("runs", kinds.TYPE_INT32), ("warmup", kinds.TYPE_INT32)])
    parts = {"latency": "Latency", "memory": "Memory", "misc": "Misc"}
    message("Result", [("name", kinds.TYPE_STRING), *((part, kinds.TYPE_MESSAGE) for part in parts)], parts)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    result = message_factory.GetMessageClass(pool.FindMessageTypeByName("result.Result"))(name="x" * 300)
    for number, time in enumerate(times, start=1):
        setattr(result.latency, f"{time}_ms", number / 4)  # exact in binary
    result.memory.overall_kb = 5 * 1024
    result.misc.runs, result.misc.warmup = 1000, 5
    (tmp_path / "result.pb").write_bytes(result.SerializeToString())
    assert parse_results(tmp_path / "result.pb") == [
        Summary(
            tool="LiteRT benchmark_model",
            num_runs=1000,
            mean_ms=0.25,
            min_ms=0.5,
            max_ms=0.75,
            std_ms=1.0,
            p50_ms=1.25,
            p5_ms=1.5,
            p95_ms=1.75,
            load_ms=2.0,
            first_ms=2.25,
            warmup_runs=5,
            memory_mib=5.0,
        )
    ]


def test_every_time_that_xctest_measured_is_a_result(tmp_path: Path) -> None:
    """The log is of Linux' XCTest; Apple's line is as its own users quote it."""
    (linux,) = parse_results(IOS / "xctest_linux.txt")
    assert (linux.model, linux.tool, linux.num_runs) == ("MeasureTests.testWork", "XCTest, Time", 10)
    assert (linux.min_ms, linux.max_ms) == pytest.approx((572.344, 786.138))
    assert linux.p50_ms == pytest.approx((625.802 + 641.112) / 2)
    assert linux.mean_ms == pytest.approx(648, abs=0.5)  # the line's average has three digits
    where = "/b/Tests.swift:12: Test Case '-[AppTests.SegmenterTests testSegment]' measured "
    apple = (
        f"{where}[Clock Monotonic Time, s] average: 0.012, relative standard deviation: 3.802%, "
        "values: [0.012145, 0.011855], performanceMetricID:com.apple.dt.XCTMetric_Clock.time.monotonic, "
        'baselineName: "", baselineAverage: , polarity: prefers smaller'
    )
    memory = (
        f"{where}[Memory Peak Physical, kB] average: 204800.000, relative standard deviation: 0.1%, "
        "values: [204800.000000], performanceMetricID:com.apple.dt.x"
    )
    log = tmp_path / "xcodebuild.log"
    log.write_text(f"{apple}\n{memory}\n")
    (phone,) = parse_results(log)
    assert (phone.model, phone.tool) == ("AppTests.SegmenterTests.testSegment", "XCTest, Clock Monotonic Time")
    assert (phone.min_ms, phone.max_ms) == pytest.approx((11.855, 12.145))
    log.write_text(memory)
    with pytest.raises(InputError, match="XCTest measured no time in it"):
        parse_results(log)


def test_several_results_of_a_file_keep_their_names_behind_the_given_one(tmp_path: Path) -> None:
    log, out = tmp_path / "log.txt", tmp_path / "imported.jsonl"
    line = (IOS / "xctest_linux.txt").read_text()
    log.write_text(line + line.replace("testWork", "testMore"))
    import_to_file(log, "M2", out)
    assert [row.name for row in read_imported(out)] == ["M2 MeasureTests.testWork", "M2 MeasureTests.testMore"]


def test_an_imported_result_says_so_and_is_found_again(tmp_path: Path) -> None:
    out = tmp_path / "imported.jsonl"
    import_to_file(FOREIGN / "benchmark_model.txt", None, out)
    import_to_file(FOREIGN / "benchmark_model_profile.csv", "Pixel 2, profiled", out)
    assert all(json.loads(line)["imported"] is True for line in out.read_text().splitlines())
    rows = read_imported(out)
    assert [row.name for row in rows] == ["street.float32.tflite", "Pixel 2, profiled"]
    assert rows[0].summary == WANTED["benchmark_model.txt"]


def test_the_command_says_whose_numbers_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "imported.jsonl")]
    assert main(["bench", "import", str(FOREIGN / "benchmark_model_2020.txt"), "--as", "Pixel 2", *out]) == 0
    said = capsys.readouterr().out
    assert "Pixel 2: mean 19.89 ms, no median, 52 runs  IMPORTED from TFLite benchmark_model\n" in said
    assert main(["bench", "import", str(FOREIGN / "benchmark_model_2020.txt"), "--as", "Pixel 2", *out]) == 2
    assert "'Pixel 2' already; give another name with --as NAME" in capsys.readouterr().err


def test_a_name_stands_for_one_result_and_a_nameless_one_needs_it(tmp_path: Path) -> None:
    out = tmp_path / "imported.jsonl"
    import_to_file(FOREIGN / "benchmark_model.txt", "phone", out)
    with pytest.raises(InputError, match="'phone' already; give another name with --as NAME"):
        import_to_file(FOREIGN / "benchmark_model_2020.txt", "phone", out)
    with pytest.raises(InputError, match=r"does not name its model.*--as NAME"):
        import_to_file(FOREIGN / "benchmark_model_profile.csv", None, out)
    assert len(read_imported(out)) == 1


def test_measurements_of_ours_are_not_taken_for_imported_ones(tmp_path: Path) -> None:
    out = tmp_path / "measurements.jsonl"
    out.write_text('{"schema": 1, "samples_ms": [1.0]}\n')
    with pytest.raises(InputError, match=r"measurements\.jsonl:1: an imported result of schema 1 wanted"):
        import_to_file(FOREIGN / "benchmark_model.txt", None, out)
    assert out.read_text() == '{"schema": 1, "samples_ms": [1.0]}\n'


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[: text.index("Inference timings")], "no whole result"),
        (lambda text: text + text, "holds 2 runs, one to a file wanted"),
        (lambda text: text.replace("avg=1.29423e+04", "avg=nonsense"), "no whole result"),
        (lambda text: text.replace("Inference (avg): 1.29423e+04", "Inference (avg): nan"), "finite times"),
        (lambda text: text.replace("count=80", "count=0"), "0 runs, mean"),
        (lambda text: "", "no whole result"),
    ],
    ids=["cut off", "two runs", "no number", "nan", "no runs", "empty"],
)
def test_a_damaged_log_is_refused_by_name(change: object, words: str, tmp_path: Path) -> None:
    assert callable(change)
    damaged = tmp_path / "log.txt"
    damaged.write_text(change((FOREIGN / "benchmark_model.txt").read_text()))
    with pytest.raises(InputError, match=words) as error:
        parse_results(damaged)
    assert str(damaged) in str(error.value)
    assert "\n" not in str(error.value)


@given(data=st.binary(max_size=400))
@settings(max_examples=50)
def test_any_bytes_are_refused_with_one_line(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    with pytest.raises(InputError, match="no whole result") as error:
        parse_results(path)
    assert "\n" not in str(error.value)


@given(data=st.data(), name=st.sampled_from(sorted(WANTED)))
@settings(max_examples=50)
def test_a_result_changed_anywhere_never_ends_in_a_traceback(
    data: st.DataObject, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = (FOREIGN / name).read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + data.draw(st.integers(0, 40)) :])
    with contextlib.suppress(InputError):
        assert all(row.num_runs >= 1 for row in parse_results(path))

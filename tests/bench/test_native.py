"""The C++ runner against the Python worker: the same requests, the same answers, the same record."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from edgeseg.bench import worker
from edgeseg.bench.native_build import SOURCES
from edgeseg.bench.worker import Request, Result, Split
from edgeseg.config import MergeConfig
from edgeseg.export.bundle import open_bundle
from edgeseg.export.captured import silenced
from edgeseg.export.golden import read_golden
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.program import export_program
from edgeseg.export.runtimes import OUTPUT_NAMES, MergeMode, get_runtime
from edgeseg.export.verify import to_merged
from edgeseg.structures import Slots
from tests.bench.native import BUNDLE, SPEC, built, noise_images, program, run, to_json

pytestmark = pytest.mark.slow  # the first of them compiles the runner, the rest take milliseconds

SIZE = (64, 64)
ARTIFACTS = [
    ("executorch", "tiny-64x64.float32.xnnpack.pte"),
    ("executorch", "tiny-64x64.int8.xnnpack.pte"),
    ("litert", "tiny-64x64.float32.tflite"),
    ("litert", "tiny-64x64.int8.tflite"),
]
MERGE = MergeConfig(thing_threshold=0.2, stuff_threshold=0.15, min_area=8, upsample=4)
IS_THING = [True, False, True]


@pytest.fixture(scope="module")
def runner() -> list[str]:
    return program("host", "edgeseg-runner")


def request(runtime: str, path: Path, **changes: Any) -> Request:
    return replace(Request(runtime, path, SIZE, threads=1, seconds=0.2, seed=0), **changes)


def answers_of(runner: list[str], wanted: Request, images: NDArray[np.uint8], folder: Path) -> dict[str, Any]:
    """The runner's answers, read by another safetensors implementation than it writes with."""
    save_file({"images": images}, folder / "images.safetensors")
    wanted = replace(wanted, images=str(folder / "images.safetensors"), answers=str(folder / "answers.safetensors"))
    done = run([*runner, to_json(wanted, folder / "request.json"), folder / "result.json"])
    assert (done.returncode, done.stderr) == (0, "")
    return load_file(folder / "answers.safetensors")


def assert_answers_as_python(
    answers: dict[str, Any], wanted: Request, images: NDArray[np.uint8], config: MergeConfig, is_thing: list[bool]
) -> None:
    predict = get_runtime(wanted.runtime).load(wanted.path, num_threads=wanted.threads)
    for index, image in enumerate(images):
        expected = to_merged(predict(image[None]), config=config, is_thing=is_thing)
        np.testing.assert_array_equal(answers["slot_map"][index], expected.slot_map)
        np.testing.assert_array_equal(answers["slot_category"][index], expected.slot_category)
        np.testing.assert_allclose(answers["slot_score"][index], expected.slot_score, atol=1e-6)  # exp of two libraries


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("runtime", "file"), ARTIFACTS)
def test_answers_are_pythons_with_the_same_runtime_and_file(
    runner: list[str], runtime: str, file: str, threads: int, tmp_path: Path
) -> None:
    bundle = open_bundle(BUNDLE)
    wanted = request(runtime, BUNDLE / file, threads=threads)
    images = np.concatenate([np.stack([golden.image for golden in read_golden(bundle, "float32")]), noise_images(8)])
    answers = answers_of(runner, wanted, images, tmp_path)
    assert {name: (array.dtype.name, array.shape[0]) for name, array in answers.items()} == {
        "slot_map": ("uint8", len(images)),
        "slot_category": ("int32", len(images)),
        "slot_score": ("float32", len(images)),
    }
    assert len(np.unique(answers["slot_map"])) > 4
    is_thing = [category.is_thing for category in bundle.categories]
    assert_answers_as_python(answers, wanted, images, bundle.merge, is_thing)


class Patches(torch.nn.Module):
    """The least network with slots: masks are a convolution, classes follow the masks' means. Converts in seconds."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.masks = torch.nn.Conv2d(3, 7, 4, stride=4)
        self.masks.weight.data = torch.randn(self.masks.weight.shape, generator=generator) / 256
        self.classes = torch.nn.Parameter(3 * torch.randn(1, 7, len(IS_THING) + 1, generator=generator))

    def forward(self, image: torch.Tensor) -> Slots:
        masks = self.masks(image)
        return Slots(self.classes + masks.mean((2, 3))[..., None], masks)


@pytest.mark.parametrize(("runtime", "merge"), [("executorch", "app"), ("litert", "graph")])
def test_answers_are_pythons_where_the_merge_is_in_the_other_place(
    runner: list[str], runtime: str, merge: MergeMode, tmp_path: Path
) -> None:
    """The committed bundle has ExecuTorch's merge in the graph and LiteRT's in the app."""
    graph = DeployedGraph(Patches(), merge=merge, config=MERGE, is_thing=IS_THING).eval().requires_grad_(False)
    path = tmp_path / f"patches{get_runtime(runtime).suffix}"
    with silenced():
        converted = export_program(graph, get_runtime(runtime), SIZE)
        get_runtime(runtime).convert(converted, OUTPUT_NAMES[merge], path, precision="float32")
    categories = [{"index": index, "is_thing": is_thing} for index, is_thing in enumerate(IS_THING)]
    (tmp_path / "bundle.json").write_text(json.dumps({"merge": asdict(MERGE), "categories": categories}))
    images = noise_images(6)
    answers = answers_of(runner, request(runtime, path), images, tmp_path)
    assert len(np.unique(answers["slot_map"])) > 3
    assert_answers_as_python(answers, request(runtime, path), images, MERGE, IS_THING)


def cases_that_hold(folder: Path) -> list[tuple[int, int]]:
    """(hold, of) by file."""
    done = run([*program("host", "edgeseg-spec"), folder])
    return [(int(hold), int(of)) for hold, of in re.findall(r"(\d+) of (\d+) cases hold", done.stdout)]


def test_merge_and_letterbox_hold_every_case_of_the_specification() -> None:
    counts = [len(json.loads((SPEC / name).read_text())["cases"]) for name in ("merge.json", "letterbox.json")]
    assert cases_that_hold(SPEC) == [(count, count) for count in counts]


def test_one_wrong_pixel_in_the_specification_is_found(tmp_path: Path) -> None:
    folder = shutil.copytree(SPEC, tmp_path / "spec", ignore=shutil.ignore_patterns("tiny.edgeseg", "overlay"))
    for name in ("merge/enlarge_4.slot_map.uint8", "letterbox/9x7_in_64x64.letterboxed.uint8"):
        data = bytearray((folder / name).read_bytes())
        data[-1] ^= 1
        (folder / name).write_bytes(data)
    done = run([*program("host", "edgeseg-spec"), folder])
    assert done.returncode == 1
    assert done.stderr == "merge.json: enlarge_4 differs\nletterbox.json: 9x7_in_64x64 differs\n"


@pytest.mark.parametrize(("runtime", "file"), ARTIFACTS[::3])
def test_a_timed_record_has_pythons_keys_and_adds_up(
    runner: list[str], runtime: str, file: str, tmp_path: Path
) -> None:
    wanted = to_json(request(runtime, BUNDLE / file), tmp_path / "request.json")
    done = run([*runner, wanted, tmp_path / "result.json"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    record = json.loads((tmp_path / "result.json").read_text())
    assert record.keys() == {field.name for field in fields(Result)}
    assert record["split"].keys() == {field.name for field in fields(Split)}
    assert len(record["samples_ms"]) == sum(record["calls_per_second"]) >= 5
    assert sum(record["samples_ms"]) <= record["loop_ms"]
    assert record["loop_ms"] >= 200
    assert record["warmup_runs"] >= 2
    assert record["load_ms"] > 0
    assert 1 < record["rss_delta_mib"] < record["peak_mib"] < 64  # no Python in it
    assert (record["split"]["merge_ms"] is None) == (runtime == "executorch")  # merged in the graph
    assert "XNNPACK" in record["accelerator"]
    assert re.match(rf"{'ai-edge-litert' if runtime == 'litert' else runtime} \d+\.\d+\.\d+", record["version"])


def test_a_record_of_answers_has_no_samples(runner: list[str], tmp_path: Path) -> None:
    """As the worker writes it."""
    answers_of(runner, request("litert", Path(GOOD["path"])), noise_images(1), tmp_path)
    record = json.loads((tmp_path / "result.json").read_text())
    wanted = {"samples_ms": [], "calls_per_second": [], "warmup_runs": 0, "is_settled": True, "loop_ms": 0.0}
    assert {name: record[name] for name in wanted} == wanted
    assert set(record["split"].values()) == {None}


def test_warm_up_and_timing_follow_the_same_numbers_as_python() -> None:
    source = (SOURCES / "src" / "timing.cpp").read_text() + (SOURCES / "src" / "timing.h").read_text()
    source += (SOURCES / "src" / "main.cpp").read_text()
    found = {name: float(value) for name, value in re.findall(r"(k[A-Z]\w+) = ([\d.]+)[,;]", source)}
    assert (found["kMinSamples"], found["kWindow"], found["kTolerance"]) == (
        worker._MIN_SAMPLES,
        worker._WINDOW,
        worker._TOLERANCE,
    )
    assert (found["kLeastSeconds"], found["kMostSeconds"]) == worker._WARMUP_SECONDS
    assert (found["kSplitShare"], found["kSplitSeconds"]) == (worker._SPLIT_SHARE, worker._SPLIT_SECONDS)
    assert f"kPhoto = {{{worker._PHOTO[0]}, {worker._PHOTO[1]}}}" in source


GOOD: dict[str, Any] = {
    "runtime": "litert",
    "path": str(BUNDLE / "tiny-64x64.float32.tflite"),
    "image_size": [64, 64],
    "threads": 1,
    "seconds": 0.1,
    "seed": 0,
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"runtime": "ncnn"}, r'runtime "ncnn": this runner knows executorch and litert'),
        ({"path": "nowhere.tflite"}, "no file nowhere.tflite"),
        ({"image_size": [64]}, r'"image_size" must be \[height, width\]'),
        ({"image_size": [64, 96]}, r"takes uint8 \(1, 64, 64, 3\), not an image of image_size"),
        ({"image_size": [-64, 64]}, '"image_size" must be'),
        ({"threads": 0}, '"threads" must be a whole number from 1'),
        ({"threads": 1.5}, '"threads" must be a whole number from 1'),
        ({"seconds": "3"}, '"seconds" must be a number above 0'),
        ({"seconds": 0}, '"seconds" must be a number above 0'),
        ({"seed": -1}, '"seed" must be a whole number from 0'),
        ({"second": 3}, 'unknown key "second"'),
        ({"images": "x.safetensors"}, '"answers" must be given with "images", and only then'),
        ({"answers": "x.safetensors"}, '"answers" must be given with "images", and only then'),
        ({"images": "nowhere.safetensors", "answers": "a"}, "no file nowhere.safetensors"),
        ({"images": GOOD["path"], "answers": "a"}, "is no safetensors file"),
    ],
)
def test_a_bad_request_is_one_line_and_exit_code_2(
    runner: list[str], change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    (tmp_path / "request.json").write_text(json.dumps(GOOD | change))
    done = run([*runner, tmp_path / "request.json", tmp_path / "result.json"])
    assert done.returncode == 2
    assert re.fullmatch(rf"edgeseg-runner: .*{said}.*\n", done.stderr), done.stderr
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"runtime": "litert"', "\xff"])
def test_a_request_that_is_no_json_object_is_refused(runner: list[str], text: str, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(text, encoding="latin-1")
    done = run([*runner, tmp_path / "request.json", tmp_path / "result.json"])
    assert (done.returncode, done.stderr) == (2, f"edgeseg-runner: {tmp_path}/request.json is no JSON object\n")


def test_missing_arguments_show_the_usage(runner: list[str]) -> None:
    done = run(runner)
    assert (done.returncode, done.stderr) == (2, "usage: edgeseg-runner REQUEST.json RESULT.json\n")


def test_images_of_another_shape_are_refused_with_both_shapes(runner: list[str], tmp_path: Path) -> None:
    save_file({"images": np.zeros((2, 32, 64, 3), dtype=np.uint8)}, tmp_path / "images")
    asked = GOOD | {"images": str(tmp_path / "images"), "answers": str(tmp_path / "answers")}
    (tmp_path / "request.json").write_text(json.dumps(asked))
    done = run([*runner, tmp_path / "request.json", tmp_path / "result.json"])
    assert done.returncode == 2
    assert "images are uint8 (2, 32, 64, 3), not uint8 (n, H, W, 3) of image_size" in done.stderr


def with_header(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01",
        (2**60).to_bytes(8, "little") + b"{}",
        with_header(b"not json"),
        with_header(b"[]"),
        with_header(b'{"images": 3}'),
        with_header(b'{"images": {"dtype": "U8", "shape": [1, 64, 64, 3], "data_offsets": [0, 12288]}}', b"short"),
        with_header(b'{"images": {"dtype": "U8", "shape": [1, 64, 64, 3], "data_offsets": [8, 4]}}', b"0" * 64),
        with_header(
            b'{"images": {"dtype": "U8", "shape": [-1, 64, 64, -3], "data_offsets": [0, 12288]}}', b"0" * 12288
        ),
        with_header(b'{"images": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}', b"0" * 8),
        with_header(b'{"pictures": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}', b"0"),
    ],
)
def test_a_broken_file_of_images_is_refused(runner: list[str], content: bytes, tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(content)
    asked = GOOD | {"images": str(tmp_path / "images"), "answers": str(tmp_path / "answers")}
    (tmp_path / "request.json").write_text(json.dumps(asked))
    done = run([*runner, tmp_path / "request.json", tmp_path / "result.json"])
    assert done.returncode == 2
    assert re.fullmatch(rf"edgeseg-runner: {tmp_path}/images.*\n", done.stderr), done.stderr


@pytest.mark.parametrize(
    ("bundle", "said"),
    [
        (None, "no file .*bundle.json"),
        ("{}", '"categories" must be a list'),
        ('{"categories": [{"index": 1, "is_thing": true}], "merge": {"upsample": 1}}', ""),
        ('{"categories": [{"index": 0, "is_thing": true}], "merge": {"upsample": 3}}', '"upsample" must be 1, 2 or 4'),
    ],
)
def test_a_merge_in_the_app_needs_the_bundles_description(
    runner: list[str], bundle: str | None, said: str, tmp_path: Path
) -> None:
    shutil.copy(GOOD["path"], tmp_path / "app.tflite")
    if bundle is not None:
        (tmp_path / "bundle.json").write_text(bundle)
    save_file({"images": noise_images(1)}, tmp_path / "images")
    asked = GOOD | {"path": str(tmp_path / "app.tflite"), "images": str(tmp_path / "images"), "answers": "answers"}
    (tmp_path / "request.json").write_text(json.dumps(asked))
    done = run([*runner, tmp_path / "request.json", tmp_path / "result.json"])
    assert done.returncode == 2
    assert re.fullmatch(rf"edgeseg-runner: .*{said}.*\n", done.stderr), done.stderr


@pytest.mark.parametrize("runtime", ["executorch", "litert"])
def test_a_file_that_the_runtime_refuses_is_one_line_and_exit_code_1(
    runner: list[str], runtime: str, tmp_path: Path
) -> None:
    (tmp_path / "broken").write_bytes(bytes(range(256)) * 64)
    to_json(request(runtime, tmp_path / "broken"), tmp_path / "request.json")
    done = run([*runner, tmp_path / "request.json", tmp_path / "result.json"])
    assert done.returncode == 1
    assert re.fullmatch(rf"edgeseg-runner: {tmp_path}/broken: .* could not read the file.*\n", done.stderr), done.stderr
    assert not (tmp_path / "result.json").exists()


def test_a_result_that_cannot_be_written_is_exit_code_1(runner: list[str], tmp_path: Path) -> None:
    to_json(request("litert", Path(GOOD["path"])), tmp_path / "request.json")
    done = run([*runner, tmp_path / "request.json", tmp_path / "no" / "result.json"])
    assert done.returncode == 1
    assert "could not write" in done.stderr


def test_the_packed_runner_needs_nothing_of_the_system_but_proc_and_sys(tmp_path: Path) -> None:
    """In an empty root: no shell, no C library."""
    inside = ["unshare", "--map-root-user", "--mount", "--net", "sh", "-ec"]
    if subprocess.run([*inside, "mount --rbind /sys /mnt"], capture_output=True).returncode:
        pytest.skip("no user namespaces with mounts here")
    root = tmp_path / "root"
    shutil.copytree(built("host"), root / "runner")
    shutil.copytree(BUNDLE, root / "bundle")
    (root / "proc").mkdir()
    (root / "sys").mkdir()
    for runtime, file in ARTIFACTS[::3]:
        to_json(request(runtime, Path("/bundle") / file), root / "request.json")
        loader = json.loads((root / "runner" / "build.json").read_text())["loader"]
        program = f"/runner/{loader} --library-path /runner/lib /runner/bin/edgeseg-runner /request.json /result.json"
        mounts = f"mount --rbind /proc {root}/proc; mount --rbind /sys {root}/sys"
        done = run([*inside, f"{mounts}; exec chroot {root} {program}"])
        assert (done.returncode, done.stderr) == (0, "")
        assert len(json.loads((root / "result.json").read_text())["samples_ms"]) >= 5


def test_the_start_script_finds_its_folder_through_a_link_and_with_no_environment(tmp_path: Path) -> None:
    (tmp_path / "runner").symlink_to(built("host") / "edgeseg-runner")
    to_json(request("litert", Path(GOOD["path"])), tmp_path / "request.json")
    done = run(["env", "-i", "PATH=/usr/bin:/bin", tmp_path / "runner", tmp_path / "request.json", tmp_path / "result"])
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "result").exists()

"""A bundle measured and verified on a device: over real ssh, on several at once, again, and when it breaks."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeseg.bench.agreement import Split, agreement_on
from edgeseg.bench.devices import Known, list_devices, read_known, shell_of
from edgeseg.bench.measurement import read_measurements
from edgeseg.bench.run import Settings, bench_to_file, parse_cpus
from edgeseg.bench.station import Station, write_worker
from edgeseg.bench.tensors import read_tensors, write_tensors
from edgeseg.bench.transport_adb import Attached, parse_devices
from edgeseg.data.transforms import unletterbox_map
from edgeseg.export.bundle import Bundle, open_bundle
from edgeseg.export.golden import read_golden
from edgeseg.merge import merged_to_segments
from edgeseg.structures import CheckError, InputError, Sample
from tests.bench.sshd import Sshd
from tests.bench.tiny import write_bundle, write_onnx

TINY = Path(__file__).parents[2] / "apps" / "spec" / "tiny.edgeseg"
BRIEF = Settings(threads=(1,), seconds=0.1, rounds=1, runtimes=("onnx",))

WITHOUT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {refused}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path = [Refuse(), *(f for f in sys.meta_path if "editable" not in repr(f))]
sys.path.insert(0, {worker!r})
import runpy
sys.argv = ["worker", "request.json", "result.json"]
runpy.run_module("edgeseg.bench.worker", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    for name in ("sshd", "device"):
        (tmp_path / name).mkdir()
    with Sshd(tmp_path / "sshd", [f"TMPDIR={tmp_path / 'device'}"]) as server:
        yield server


def known(server: Sshd) -> Known:
    return Known(ssh_config=server.config, python=sys.executable)


@pytest.mark.slow
@pytest.mark.parametrize("runtime, package", [("onnx", "onnxruntime"), ("litert", "ai_edge_litert")])
def test_on_a_device_the_worker_needs_numpy_and_the_runtime_only(runtime: str, package: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    bundle = open_bundle(TINY)
    artifact = bundle.find(runtime)
    golden = read_golden(bundle, artifact.precision)[0]
    write_tensors(tmp_path / "images", {"images": golden.image[None]})
    request = {
        "runtime": runtime, "path": str(TINY / artifact.file), "image_size": list(bundle.image_size), "threads": 1,
        "seconds": 0.1, "seed": 0, "images": str(tmp_path / "images"), "answers": str(tmp_path / "answers"),
    }  # fmt: skip
    (tmp_path / "request.json").write_text(json.dumps(request))
    refused = ("torch", "scipy", "cv2", "psutil", "safetensors", "msgspec", "PIL", "onnx", "rich", "tyro")
    code = WITHOUT.format(refused=refused, worker=str(write_worker(tmp_path / "worker.zip")))
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    answer = read_tensors(tmp_path / "answers")
    assert (answer["slot_map"][0] == golden.merged.slot_map).mean() > 0.99
    np.testing.assert_allclose(answer["slot_score"][0], golden.merged.slot_score, atol=0.05)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["samples_ms"] == []
    assert "CPU" in result["accelerator"] or "XNNPACK" in result["accelerator"]


def test_onnx_runtime_reports_to_nobody(tmp_path: Path) -> None:
    """What its wheel reports with leaves a file in TMPDIR; 1.31 does where nothing forbids it."""
    pytest.importorskip("onnxruntime")
    code = (
        f"from pathlib import Path; from edgeseg.export.onnx import RUNTIME; RUNTIME.load(Path({str(TINY)!r}, {{!r}}))"
    )
    file = open_bundle(TINY).find("onnx").file
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code.format(file)], env=environment | {"TMPDIR": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_bundle_is_timed_and_verified_over_ssh_and_nothing_stays(sshd: Sshd, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    settings = dataclasses.replace(BRIEF, verify=True)
    out = tmp_path / "measurements.jsonl"
    address = f"ssh:{sshd.address}"
    result = bench_to_file(TINY, out, on=[address], settings=settings, known=known(sshd), quiet=True)
    assert list((tmp_path / "device").iterdir()) == []
    assert result["devices"][0]["machine"] == os.uname().machine
    rows = read_measurements(out)
    assert rows
    for row in rows:
        assert len(row.samples_ms) >= 5
        assert row.device_key
        assert row.accelerator == "CPUExecutionProvider"
        assert row.split is not None
        assert row.split.network_ms is not None
        assert row.overhead_fraction < 0.01
        assert len(row.states) == 2
        assert row.agreement is not None
        assert row.agreement.judged >= row.agreement.floor
        assert row.agreement.pq_to_torch is None or row.agreement.pq_to_torch > 0.9
    again = bench_to_file(
        TINY, out, on=[address], settings=dataclasses.replace(settings, resume=True), known=known(sshd), quiet=True
    )
    assert again["artifacts"] == []
    assert read_measurements(out) == rows


class TorchsAnswers:
    """Golden images labelled with what torch says about them."""

    def __init__(self, bundle: Bundle) -> None:
        self.categories, self._bundle = bundle.categories, bundle
        self._goldens = read_golden(bundle, "float32")

    def __len__(self) -> int:
        return len(self._goldens)

    def __getitem__(self, index: int) -> Sample:
        golden = self._goldens[index]
        height, width = self._bundle.image_size
        slot_map = unletterbox_map(golden.merged.slot_map, (height, width), (height, width), (height, width))
        return Sample(index, "", golden.image, *merged_to_segments(golden.merged, slot_map, self.categories))


@pytest.mark.slow
def test_quality_on_labelled_images_is_that_of_answers_made_there() -> None:
    """torch's own answers are the truth, so that a float32 file scores nearly 1 on the device and here."""
    pytest.importorskip("onnxruntime")
    bundle = open_bundle(TINY)
    artifact = bundle.find("onnx", "float32")
    with Station(shell_of("local", Known())) as station:
        there = station.deploy(bundle.path / artifact.file, "onnx", bundle.image_size)
        split = Split(TorchsAnswers(bundle), 0)
        agreement = agreement_on(station, bundle, there, precision="float32", threads=1, split=split)
    assert agreement.pq is not None
    assert agreement.pq > 0.99
    assert agreement.pq == agreement.pq_here
    assert agreement.num_pq_images == len(bundle.goldens)
    assert agreement.pq_to_torch == pytest.approx(agreement.pq, abs=0.01)


@pytest.mark.slow
def test_two_devices_work_at_once_and_one_that_is_not_there_does_not_stop_the_other(sshd: Sshd, tmp_path: Path) -> None:
    bundle, out = write_bundle(tmp_path), tmp_path / "all.jsonl"
    on = ["local", f"ssh:{sshd.address}", "ssh:me@127.0.0.1:1"]
    result = bench_to_file(bundle, out, on=on, settings=BRIEF, known=known(sshd), quiet=True)
    assert sorted(row["on"] for row in result["artifacts"]) == on[:2]
    assert len({row.device_key for row in read_measurements(out)}) == 2
    assert "ssh:me@127.0.0.1:1 cannot be used" in result["failed"]


@pytest.mark.slow
def test_a_daemon_that_dies_under_a_benchmark_is_one_line_and_complete_rows_stay(sshd: Sshd, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    bundle, out = write_bundle(tmp_path), tmp_path / "m.jsonl"
    settings = dataclasses.replace(BRIEF, threads=(1, 2), seconds=1.0)
    address = f"ssh:{sshd.address}"

    def kill_after_the_first_row() -> None:
        while not out.exists() or not out.read_text():
            time.sleep(0.02)
        sshd.send(signal.SIGKILL)

    threading.Thread(target=kill_after_the_first_row, daemon=True).start()
    with pytest.raises(CheckError, match=f"{address} was lost while "):
        bench_to_file(bundle, out, on=[address], settings=settings, known=known(sshd), quiet=True)
    assert [len(row.round_sizes) for row in read_measurements(out)] == [1]


@pytest.mark.slow
def test_ctrl_c_ends_a_benchmark_in_order(tmp_path: Path) -> None:
    bundle, folder = write_bundle(tmp_path), tmp_path / "device"
    folder.mkdir()
    words = ["bench", str(bundle), "--threads", "1", "--seconds", "60", "--runtimes", "onnx", "--cooldown", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeseg", *words],
        env=os.environ | {"TMPDIR": str(folder)},
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not list(folder.glob("edgeseg-run-*/.*.pid")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1] == "edgeseg: interrupted"
    assert list(folder.glob("edgeseg-run-*")) == []


def test_an_emulator_is_refused_when_a_number_is_to_be_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeseg.bench.station.emulator", lambda facts: "qemu-user (aarch64 on x86)")
    with pytest.raises(InputError, match=r"local is emulated \(qemu-user .*: its times are no latencies"):
        bench_to_file(write_bundle(tmp_path), None, settings=dataclasses.replace(BRIEF, publish=True), quiet=True)
    assert not (tmp_path / "measurements.jsonl").exists()


def test_a_processor_that_is_not_there_and_a_runner_that_is_none_are_refused(tmp_path: Path) -> None:
    station = Station(shell_of("local", Known()), cpus=[4096])
    with pytest.raises(InputError, match=r"local has processors 0 to \d+, no 4096"), station:
        pass
    with pytest.raises(InputError, match="holds no edgeseg-runner; build it as"):
        Station(shell_of("local", Known()), runner=tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not pin processes")
def test_a_pinned_process_says_where_it_ran(tmp_path: Path) -> None:
    (target,) = [write_onnx(tmp_path / "a.onnx", num_products=1, width=8)]
    cpu = max(os.sched_getaffinity(0))
    with Station(shell_of("local", Known()), cpus=[cpu]) as station:
        there = station.deploy(target.path, "onnx", target.image_size)
        assert station.run(there, threads=1, seconds=0.05, seed=0).cpus == (cpu,)


@pytest.mark.parametrize("text, cpus", [("4-7", (4, 5, 6, 7)), ("0,2,4-5", (0, 2, 4, 5)), ("3", (3,))])
def test_processors_are_written_as_taskset_takes_them(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpus(text) == cpus


@pytest.mark.parametrize("text", ["", "7-4", "a", "1-", "-3", "1,,2"])
def test_what_is_no_list_of_processors_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"is not like 4-7 or 0,2,4-5"):
        parse_cpus(text)


def test_what_adb_lists_is_read_with_its_state() -> None:
    """As adb 29 and 34 print it (transport_list.cpp, format_transport)."""
    text = (
        "List of devices attached\n"
        "* daemon started successfully\n"
        "0A1B2C3D4E             device usb:1-4 product:oriole model:Pixel_6 device:oriole transport_id:1\n"
        "127.0.0.1:5601         offline transport_id:2\n"
        "emulator-5554          unauthorized transport_id:3\n"
        "????????????           no permissions (user in plugdev group; are your udev rules wrong?); see [http://x]\n\n"
    )
    assert parse_devices(text) == [
        Attached("0A1B2C3D4E", "device", "Pixel_6"),
        Attached("127.0.0.1:5601", "offline", ""),
        Attached("emulator-5554", "unauthorized", ""),
        Attached("????????????", "no permissions", ""),
    ]


def test_this_computer_and_hosts_are_listed_with_their_state(sshd: Sshd) -> None:
    listed = list_devices(known(sshd), [sshd.address, "me@127.0.0.1:1"])
    rows = {row["on"]: row for row in listed["devices"]}
    assert rows["local"]["state"] == rows[f"ssh:{sshd.address}"]["state"] == "ready"
    assert rows["local"]["cores"] == len(os.sched_getaffinity(0))
    assert "refused" in rows["ssh:me@127.0.0.1:1"]["state"]


def test_the_file_of_known_devices_is_strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert read_known(None) == Known()
    file = tmp_path / "edgeseg" / "devices.toml"
    file.parent.mkdir()
    file.write_text('ssh = ["pi@raspberrypi.local"]\npython = "~/bench/bin/python3"\n')
    assert read_known(None) == Known(("pi@raspberrypi.local",), None, "~/bench/bin/python3")
    file.write_text('shh = ["pi@raspberrypi.local"]\n')
    with pytest.raises(InputError, match=r"unknown key 'shh' \(did you mean 'ssh'\?\)"):
        read_known(None)
    with pytest.raises(InputError, match="does not exist"):
        read_known(tmp_path / "missing.toml")

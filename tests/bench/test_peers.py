"""The race against peers: real processes, costs and maps by closed form; the peers themselves where they are there."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.bench.paired_ratio import paired_ratio
from edgeseg.bench.peers.__main__ import PeersArgs, run
from edgeseg.bench.peers.cards import IS_THING, Card, card_path, read_card, write_card
from edgeseg.bench.peers.contenders import peer
from edgeseg.bench.peers.files import REQUIREMENTS, make_yolo
from edgeseg.bench.peers.onnx_cost import onnx_cost
from edgeseg.bench.peers.race import Contender, Row, Runner, race, summarize
from edgeseg.bench.peers.subjects import ours, paste_yolo
from edgeseg.bench.peers.table import row_dict, table, verdict
from edgeseg.bench.peers.turns import Calls, Facts, Request, Subject, Turn, photo, take_turn
from edgeseg.structures import CheckError, InputError

PEERS_PYTHON = Path(os.environ.get("EDGESEG_PEERS_PYTHON", ".peers/bin/python"))
needs_peers = pytest.mark.skipif(
    not PEERS_PYTHON.exists(), reason=f"no {PEERS_PYTHON}; make it as {REQUIREMENTS} says, or set EDGESEG_PEERS_PYTHON"
)

TINY = """
import sys, time
from edgeseg.bench.peers.turns import Facts, Subject, serve

name, network_ms, log = sys.argv[1], float(sys.argv[2]), open(sys.argv[3], "ab", buffering=0)

def burn(ms):
    until = time.process_time() + ms / 1e3
    while time.process_time() < until:
        pass

def prepare(image):
    assert image.shape == (480, 640, 3) and image.dtype == "uint8"
    log.write(name.encode())
    burn(1)

def network(fed):
    print("a library talks")
    burn(network_ms)

def load():
    print("a library greets")
    return Subject(prepare, network, {"plain": lambda x: burn(2), "fancy": lambda x: burn(4)}, Facts("tiny 1", 3, 4, 5))

serve(load)
"""


def tiny(folder: Path, name: str, network_ms: float) -> Contender:
    script = folder / "tiny.py"
    script.write_text(TINY)
    command = [sys.executable, str(script), name, str(network_ms), str(folder / "log")]
    return Contender(name, "sleep", "float32", command)


def test_a_network_of_half_the_work_takes_half_the_time_and_its_map_the_work_around_it_more(tmp_path: Path) -> None:
    with Runner(tiny(tmp_path, "A", 10)) as reference:
        plain, fancy = race(tiny(tmp_path, "B", 5), reference, side=64, pairs=6, seconds=0.01)
    assert (plain.finish, fancy.finish) == ("plain", "fancy")
    assert plain.facts == Facts("tiny 1", 3, 4, 5)
    for row, finish_ms in ((plain, 2), (fancy, 4)):  # a clock is read late, never early
        assert row.network_ratio.ratio == pytest.approx(0.5, rel=0.1)
        assert row.whole_ratio.ratio == pytest.approx((1 + 5 + finish_ms) / 10, rel=0.1)
        assert row.bytes_ratio.ratio == pytest.approx((5 + finish_ms) / 10, rel=0.1)
        assert (row.network_ms, row.prepare_ms, row.finish_ms) == pytest.approx((5, 1, finish_ms), rel=0.15)
        assert len(row.whole_ratio.ratios) == len(row.turns["wall"]) == len(row.turns["cpu"]) == 6


def test_turns_go_in_pairs_and_either_may_be_first(tmp_path: Path) -> None:
    with Runner(tiny(tmp_path, "A", 1)) as reference:
        race(tiny(tmp_path, "B", 1), reference, side=64, pairs=8, seconds=0.001)
    blocks = re.findall("A+|B+", (tmp_path / "log").read_text())
    calls = Counter("".join(blocks))
    assert calls["A"] == 8  # a turn of the reference prepares once: its network alone is timed
    assert calls["B"] >= 8 * 3  # once before the network alone, and for each way to a map
    assert 8 < len(blocks) < 16, "A B A B B A: two turns in a row join into one block where the order changes"


def test_a_peer_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    gone = Contender("gone", "x", "y", [sys.executable, "-c", "import sys; sys.exit('no such weights')"])
    with pytest.raises(CheckError, match=r"gone ended \(exit 1\): no such weights"), Runner(gone):
        pass


def test_a_peer_that_dies_between_turns_is_named(tmp_path: Path) -> None:
    facts = json.dumps({"version": "1", "params": 1, "macs": 1, "bytes": 1})
    brief = Contender("brief", "x", "y", [sys.executable, "-c", f"print({facts!r})"])
    with Runner(brief) as runner, pytest.raises(CheckError, match=r"brief ended \(exit 0\): no message"):
        runner.turn(Request(0.1, True))


@pytest.mark.parametrize("said", ["Downloading weights...", '{"version": "1"}', '{"speed": 3}', "[1]"])
def test_what_is_no_answer_is_refused_with_what_was_said(said: str) -> None:
    chatty = Contender("chatty", "x", "y", [sys.executable, "-c", f"print({said!r})"])
    with pytest.raises(CheckError, match=r"chatty answered .*, no Facts"), Runner(chatty):
        pass


def test_a_peer_that_never_answers_is_ended() -> None:
    silent = Contender("silent", "x", "y", [sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(CheckError, match="silent did not answer within 1 s"), Runner(silent, seconds=1):
        pass


def test_no_clock_and_no_time_still_give_one_call() -> None:
    subject = Subject(lambda image: image.sum(), lambda x: x, {"": lambda x: np.zeros((1, 1))}, Facts("", 0, 0, 0))
    turn = take_turn(subject, photo(), Request(0.0, is_whole=True))
    assert (len(turn.network.cpu_ms), len(turn.wholes[0].cpu_ms[0])) == (1, 3)
    assert take_turn(subject, photo(), Request(0.0, is_whole=False)).wholes == ()


def test_a_pair_is_summed_up_by_medians_of_the_clock_that_was_asked_for() -> None:
    network = Calls("", wall_ms=((9.0,), (1.0,), (2.0,)), cpu_ms=((1.0,),))
    whole = Calls("map", wall_ms=((1.0, 5.0, 2.0), (3.0, 7.0, 1.0), (2.0, 6.0, 9.0)), cpu_ms=((1.0, 2.0, 3.0),))
    turn = Turn(network, (whole,))
    assert summarize(turn, turn, 0, "wall") == (2.0, 2.0, 2.0, 6.0, 2.0, 11.0)
    assert summarize(turn, turn, 0, "cpu") == (1.0, 1.0, 1.0, 2.0, 3.0, 6.0)


def test_without_the_peers_environment_the_install_command_is_said(tmp_path: Path) -> None:
    args = PeersArgs(tmp_path / "out.json", python=tmp_path / "no" / "bin" / "python", files=tmp_path / "files")
    with pytest.raises(InputError, match=r"python -m venv .*/no && .*pip install -r .*peers/requirements.txt -c cons"):
        run(args)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"peers": ("yolo99",)}, "no peer named 'yolo99'; there are yolo26n-seg"),
        ({"sizes": (250,)}, "--sizes 250: a multiple of 32"),
        ({"pairs": 0}, "--pairs 0"),
    ],
)
def test_what_cannot_be_raced_is_refused_first(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        run(replace(PeersArgs(tmp_path / "out.json"), **change))


def test_every_peer_has_an_exact_version() -> None:
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    assert {"ultralytics", "transformers", "torch"} <= {line.split("==")[0] for line in lines}


def test_others_programs_are_run_offline_with_their_synchronisation_off(tmp_path: Path) -> None:
    write_products(tmp_path / "given.onnx")
    python = fake_yolo(
        tmp_path,
        f"""
printf '%s ' "$@" >> {tmp_path}/said; env | grep -c -e ^YOLO_OFFLINE=1 -e ^YOLO_AUTOINSTALL=false >> {tmp_path}/said
[ "$1" = settings ] || cp {tmp_path}/given.onnx yolo26n-seg.onnx
""",
    )
    path = make_yolo("yolo26n-seg", 8, tmp_path, python)
    assert read_card(path) == Card(*onnx_cost(tmp_path / "given.onnx"))
    assert (tmp_path / "said").read_text().splitlines() == [
        "settings sync=False 2",
        "export model=yolo26n-seg.yaml format=onnx imgsz=8 device=cpu 2",
    ]
    make_yolo("yolo26n-seg", 8, tmp_path, python)
    assert len((tmp_path / "said").read_text().splitlines()) == 2, "a file that is there was made again"


def test_an_exporter_that_fails_is_quoted_and_leaves_nothing(tmp_path: Path) -> None:
    python = fake_yolo(tmp_path, "echo no such model >&2; exit 3")
    with pytest.raises(CheckError, match=r"yolo settings sync=False failed \(exit 3\): no such model"):
        make_yolo("yolo26n-seg", 8, tmp_path, python)
    assert not [*tmp_path.glob("*.onnx*")]


def fake_yolo(folder: Path, body: str) -> Path:
    (folder / "bin").mkdir()
    program = folder / "bin" / "yolo"
    program.write_text(f"#!/bin/sh\n{body}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (folder / "bin" / "python").touch()
    return folder / "bin" / "python"


def write_products(path: Path) -> None:
    """8 x 8 x 4 channels: a sum, a grouped 3 x 3 convolution, a transposed one with stride 2, a product, a Gemm."""
    onnx = pytest.importorskip("onnx", reason="pip install 'edgeseg[onnx]'")
    helper, kinds = onnx.helper, onnx.TensorProto

    def weight(name: str, *shape: int) -> Any:
        return onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name)

    shape = onnx.numpy_helper.from_array(np.array([-1, 16], np.int64), "shape")
    weights = [weight("w", 6, 2, 3, 3), weight("b", 6), weight("t", 6, 5, 2, 2), weight("m", 16, 7)]
    constants = [*weights, weight("anchors", 8, 8), shape]
    nodes = [
        helper.make_node("Add", ["image", "anchors"], ["moved"]),
        helper.make_node("Conv", ["moved", "w", "b"], ["x"], group=2, pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["x", "t"], ["y"], strides=[2, 2]),
        helper.make_node("MatMul", ["y", "m"], ["z"]),
        helper.make_node("Reshape", ["y", "shape"], ["flat"]),
        helper.make_node("Gemm", ["flat", "m"], ["g"]),
    ]
    outputs = [helper.make_tensor_value_info(name, kinds.FLOAT, None) for name in ("z", "g")]
    image = helper.make_tensor_value_info("image", kinds.FLOAT, [1, 4, 8, 8])
    graph = helper.make_graph(nodes, "products", [image], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


def test_the_cost_of_an_onnx_file_is_that_of_its_products(tmp_path: Path) -> None:
    write_products(tmp_path / "products.onnx")
    convolution = 8 * 8 * 6 * (2 * 3 * 3)  # each output sees 2 of the 4 channels
    transposed = 8 * 8 * 6 * (5 * 2 * 2)  # each input spreads over 2 x 2 of 5 channels
    product = (5 * 16 * 16) * 7  # y is 5 x 16 x 16, its rows of 16 against 7 columns
    params = 6 * 2 * 3 * 3 + 6 + 6 * 5 * 2 * 2 + 16 * 7
    assert onnx_cost(tmp_path / "products.onnx") == (params, convolution + transposed + 2 * product)


def test_yolos_best_box_lies_on_top_and_its_double_is_suppressed() -> None:
    rows = np.zeros((1, 4 + 2 + 1, 4), np.float32)  # 2 categories, 1 mask coefficient, 4 anchors
    rows[0, :4] = np.float32([[8, 8, 16, 16], [16, 8, 16, 16], [8.2, 8, 16, 16], [24, 24, 8, 8]]).T  # centre, size
    rows[0, 4:6] = np.float32([[0.6, 0], [0, 0.9], [0.5, 0], [0.4, 0]]).T
    rows[0, 6] = [1, 1, 1, -1]  # the last one's mask is empty
    found = paste_yolo(rows, np.ones((1, 1, 8, 8), np.float32), 32, 12)
    expected = np.zeros((32, 32), np.int32)
    expected[:16, :16] = 2
    expected[:16, 8:24] = 1
    np.testing.assert_array_equal(found, expected)
    assert set(np.unique(paste_yolo(rows, np.ones((1, 1, 8, 8), np.float32), 32, 1))) == {0, 1}


def test_our_merge_keeps_as_many_slots_as_are_asked_for(tmp_path: Path) -> None:
    """Slot i of 6 is best in columns 4 i to 4 i + 3 of a 24 x 24 map; scores rise with i, so that 2 keep 4 and 5."""
    onnx = pytest.importorskip("onnx", reason="pip install 'edgeseg[onnx]'")
    pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    classes = np.zeros((1, 6, len(IS_THING) + 1), np.float32)
    classes[0, :, 3] = 5 + np.arange(6)
    masks = np.where(np.arange(24) // 4 == np.arange(6)[:, None, None], 1, np.arange(6)[:, None, None] / 100)
    masks = np.broadcast_to(masks, (6, 24, 24))[None].astype(np.float32)
    helper, kinds = onnx.helper, onnx.TensorProto
    constants = [onnx.numpy_helper.from_array(array, f"{i}") for i, array in enumerate((masks, classes))]
    names = ("mask_logits", "class_logits")
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"{i}"], [name]) for i, name in enumerate(names)],
        "constant",
        [helper.make_tensor_value_info("image", kinds.UINT8, [1, 96, 96, 3])],
        [helper.make_tensor_value_info(n, kinds.FLOAT, a.shape) for n, a in zip(names, (masks, classes), strict=True)],
        constants,
    )
    path = tmp_path / "constant.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    write_card(path, Card(7, 8))
    subject = ours(path, 96, 2, "onnx")
    answers = subject.network(subject.prepare(photo()))
    found = subject.finishes["numpy merge, upsample 1"](answers)
    np.testing.assert_array_equal(found, np.where(np.arange(24) // 4 == 4, 4, 5)[None].repeat(24, 0))
    assert subject.finishes["numpy merge, upsample 4"](answers).shape == (96, 96)
    assert (subject.facts.params, subject.facts.macs, subject.facts.bytes) == (7, 8, path.stat().st_size)


def row(whole: list[float], name: str = "edgeseg default", finish: str = "numpy merge, upsample 1") -> Row:
    ratio = paired_ratio([10.0] * len(whole), whole)
    facts = Facts("onnxruntime 1", 1_900_000, 400_000_000, 7_600_000)
    return Row(name, "onnx", "int8", 256, finish, facts, "cpu", 3.0, 1.0, 0.5, whole[0], 0.1, ratio, ratio, ratio, {})


@pytest.mark.parametrize(
    ("whole", "side", "expected"),
    [
        ([4.9] * 6, 256, "met"),
        ([5.1] * 6, 256, "missed"),
        ([5.1] * 6, 640, "met"),
        ([4.5, 5.5] * 3, 256, "open"),
        ([4.9] * 5, 256, "open"),  # five pairs have no interval
        ([1.0] * 6, 384, ""),
    ],
)
def test_a_bar_is_met_or_missed_by_the_whole_interval_only(whole: list[float], side: int, expected: str) -> None:
    assert verdict(row(whole).bytes_ratio, side) == expected


def test_the_table_says_what_was_raced_once_and_every_way_to_its_map() -> None:
    device = {"name": "Chip", "cores": 2, "os": "Linux 6"}
    conditions = {"device": device, "clock": "cpu", "load": 1.0, "pairs": 6, "reference": "yolo26n-seg"}
    rows = [row([4.0] * 6), row([6.0] * 6, finish="numpy merge, upsample 4"), row([20.0] * 6, name="eomt", finish="")]
    text = table({"conditions": conditions, "rows": [row_dict(r) for r in rows]}).splitlines()
    assert text[0] == "Chip, 2 cores, Linux 6; one thread, cpu time, load 1.0, 6 pairs; ratios to yolo26n-seg"
    assert text[3] == "256 x 256"
    costs, times = (
        "1.90 0.40 7.60 3.00",
        "1.00 0.50 4.00 10% 0.400 0.400 0.400 0.400 to 0.400, bar met, numpy merge, upsample 1",
    )
    assert " ".join(text[4].split()) == f"edgeseg default, onnx int8 {costs} {times}"
    times = "1.00 0.50 6.00 10% 0.600 0.600 0.600 0.600 to 0.600, bar missed, numpy merge, upsample 4"
    assert " ".join(text[5].split()) == times
    assert text[6].endswith("2.000 to 2.000")
    assert len(text) == 7


def test_a_file_without_a_card_is_not_whole(tmp_path: Path) -> None:
    assert card_path(tmp_path / "a.onnx") == tmp_path / "a.onnx.json"
    write_card(tmp_path / "a.onnx", Card(1, 2))
    assert read_card(tmp_path / "a.onnx") == Card(1, 2)


@needs_peers
@pytest.mark.slow
@pytest.mark.parametrize(("name", "params"), [("eomt", 23.5e6), ("mask2former", 47.4e6)])
def test_a_peer_of_transformers_is_of_its_published_size_and_takes_turns(
    name: str, params: float, tmp_path: Path
) -> None:
    """EoMT-S: 24 M (model zoo of tue-mps/eomt); Mask2Former, Swin-T: 47 M (its paper, table 1)."""
    with Runner(peer(name, 64, tmp_path, python=PEERS_PYTHON, num_segments=12)) as runner:
        turn = runner.turn(Request(0.0, is_whole=True))
    assert runner.facts.params == pytest.approx(params, rel=0.02)
    assert len(turn.wholes[0].wall_ms[0]) == 3


@needs_peers
@pytest.mark.slow
def test_yolo_costs_what_its_maker_publishes(tmp_path: Path) -> None:
    """2.7 M parameters, 9.1 B FLOPs at 640 (docs.ultralytics.com/tasks/segment), two of them a multiply-accumulate.

    These are its convolutions'; 0.12 B are the products between activations in its attention.
    """
    path = make_yolo("yolo26n-seg", 640, tmp_path, PEERS_PYTHON)
    card = read_card(path)
    assert round(card.params / 1e6, 1) == 2.7
    assert round(2 * card.macs / 1e9 - 0.123, 1) == 9.1

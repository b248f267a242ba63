"""Where a bundle's time goes: profiles of real files, and advice from known costs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeseg.bench.coverage import cover_bundle, summarize
from edgeseg.bench.coverage_advice import PLAIN_BACKBONE, Facts, advise
from edgeseg.bench.neural_engine import PLACEMENTS, where
from edgeseg.bench.operator_profile import HAND_OVER, OperatorRun, Profile, Request, kind, profile
from edgeseg.bench.profile_executorch import read_events
from edgeseg.bench.profile_litert import read_events as read_litert_events
from edgeseg.bench.profile_onnx import fused_nodes
from edgeseg.bench.report_coverage import operator_costs
from edgeseg.cli import main
from edgeseg.export.bundle import open_bundle
from edgeseg.structures import InputError
from tests.bench.test_report import Page
from tests.bench.tiny import SIZE, write_bundle, write_onnx


def runs(*costs: tuple[str, bool | None, float]) -> tuple[OperatorRun, ...]:
    return tuple(OperatorRun(name, "somewhere", is_delegated, ms) for name, is_delegated, ms in costs)


def facts(runtime: str, *costs: tuple[str, bool | None, float], merge: str = "graph", upsample: int = 1) -> Facts:
    return Facts(runtime, merge, upsample, (64, 64), 8, runs(*costs))


def test_onnx_profile_finds_the_products_that_the_file_was_made_of(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="pip install 'edgeseg[onnx]'")
    target = write_onnx(tmp_path / "products.onnx", num_products=7, width=256)
    model = onnx.load(str(target.path))
    for index, unnamed in enumerate(model.graph.node):
        unnamed.name = f"node_{index}"  # as torch's exporter names every node
    onnx.save(model, str(target.path))
    found = profile(Request("onnx", target.path, SIZE, threads=1, seconds=0.1))
    products = [run for run in found.runs if run.operator == "MatMul"]
    assert len(products) == 7
    assert all(run.made_from == ("MatMul",) for run in products)
    assert all(run.is_delegated for run in found.runs)
    total = sum(run.ms or 0.0 for run in found.runs)
    assert sum(run.ms or 0.0 for run in products) > 0.8 * total  # 7 products of 256 x 256 against one mean and casts
    assert found.call_ms is not None
    assert total < 1.5 * found.call_ms


def test_fused_node_is_mapped_to_what_stands_between_its_inputs_and_outputs() -> None:
    """conv -> relu -> mean, fused to one blocked convolution between two reorders, and a mean."""
    written = graph(
        ["image"],
        node("c", "Conv", ["image", "w"], "a"),
        node("r", "Relu", ["a"], "b"),
        node("m", "Mean", ["b"], "out"),
    )
    fused = node("b_nchwc", "Conv", ["blocked_image", "blocked_w"], "blocked_b")
    optimized = graph(
        ["image"],
        node("ReorderInput", "ReorderInput", ["image"], "blocked_image"),
        fused,
        node("ReorderOutput", "ReorderOutput", ["blocked_b"], "b"),
        node("m", "Mean", ["b"], "out"),
    )
    assert fused_nodes(written, optimized) == {
        "ReorderInput": (),
        "b_nchwc": ("Conv", "Relu"),
        "ReorderOutput": (),
        "m": ("Mean",),
    }


def test_node_between_renamed_tensors_is_known_by_its_name_or_not_at_all() -> None:
    written = graph(["image"], node("c1", "Conv", ["image"], "a"), node("c2", "Conv", ["a"], "out"))
    optimized = graph(
        ["image"],
        node("c1_token_3", "QLinearConv", ["image"], "a_moved"),
        node("moved", "Transpose", ["a_moved"], "a_moved_again"),
        node("c2_token_4", "QLinearConv", ["a_moved_again"], "out"),
    )
    assert fused_nodes(written, optimized) == {"c1_token_3": ("Conv",), "moved": (), "c2_token_4": ("Conv",)}


def node(name: str, op_type: str, inputs: list[str], output: str) -> SimpleNamespace:
    return SimpleNamespace(name=name, op_type=op_type, input=inputs, output=[output], attribute=[])


def graph(inputs: list[str], *nodes: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(input=[SimpleNamespace(name=name) for name in inputs], node=nodes)


def event(name: str | None, start_us: int, end_us: int, inside: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(name=name, delegate_debug_id_str=inside, start_time=start_us * 1000, end_time=end_us * 1000)


def test_executorch_events_give_kernels_operators_inside_and_what_the_hand_over_costs() -> None:
    events = [
        event("native_call_mean.out", 1, 9),
        event("OPERATOR_CALL", 0, 10),
        event(None, 10, 40, inside="Add (ND) #1"),
        event(None, 40, 60, inside="Transpose (ND, X32) Transpose #12"),
        event("DELEGATE_CALL", 10, 75),
        event("Method::execute", 0, 80),
    ]
    found = [(run.operator, run.is_delegated, run.ms) for run in read_events(events, "XNNPACK")]
    assert found == [
        ("mean", False, 0.01),
        ("Add (ND)", True, 0.03),
        ("Transpose (ND, X32)", True, 0.02),
        (HAND_OVER, True, pytest.approx(0.015)),
    ]


def test_litert_events_of_the_runtime_itself_are_left_out() -> None:
    events = [("Invoke", 1, 900), ("CAST", 2, 46), ("Convolution (NHWC, QC8) IGEMM", 8, 166), ("Invoke", 32, 2**32)]
    found = read_litert_events(events, "XNNPACK")
    assert [(run.operator, run.is_delegated, run.ms) for run in found] == [
        ("CAST", False, 0.046),
        ("Convolution (NHWC, QC8) IGEMM", True, 0.166),
    ]


def test_kind_of_an_xnnpack_operator_keeps_its_kernel() -> None:
    assert kind("Convolution (NHWC, QC8) DWConv #14") == "Convolution (NHWC, QC8) DWConv"
    assert kind("Transpose (ND, X8) Transpose") == "Transpose (ND, X8)"
    assert kind("Max Pooling (NHWC, F32)") == "Max Pooling (NHWC, F32)"


@pytest.mark.parametrize("share, is_named", [(0.04, False), (0.06, True)])
def test_operator_outside_is_named_only_where_it_costs_more_than_its_share(share: float, is_named: bool) -> None:
    lines = advise(facts("litert", ("FULLY_CONNECTED", False, share), ("Conv", True, 1 - share)))
    assert any("FULLY_CONNECTED runs outside the delegate once" in line for line in lines) == is_named


def test_advice_says_count_share_time_and_remedy() -> None:
    (line,) = advise(facts("litert", ("HARD_SWISH", False, 1.5), ("HARD_SWISH", False, 1.6), ("Conv", True, 6.9)))
    assert line.startswith("HARD_SWISH runs outside the delegate 2 times and takes 31 % of the time (3.10 ms): ")
    assert PLAIN_BACKBONE in line


def test_backbone_that_advice_names_exists() -> None:
    from edgeseg.models import BACKBONES

    assert PLAIN_BACKBONE in BACKBONES


def test_merge_is_advised_against_only_where_it_is_in_the_graph_and_enlarges() -> None:
    costs = (("Conv", True, 2.0), ("Resize Bilinear (NHWC)", True, 3.0), ("Maximum (ND)", True, 5.0))
    (line,) = advise(facts("executorch", *costs, upsample=4))
    assert "80 % of the time (8.00 ms)" in line
    assert "merge.upsample = 2" in line
    assert advise(facts("executorch", *costs, upsample=1)) == ()
    assert advise(facts("executorch", *costs, upsample=4, merge="app")) == ()


def test_copies_quantizing_and_borders_are_named_above_their_share() -> None:
    lines = advise(
        facts(
            "executorch",
            ("Transpose (ND, X8)", True, 2.0),
            ("Convert (NC)", True, 1.0),
            (HAND_OVER, True, 0.5),
            ("as_strided_copy", False, 0.01),
            (HAND_OVER, True, 0.5),
            ("Fully Connected (NC, F32) GEMM", True, 4.0),
        )
    )
    assert [line.split(" take")[0] for line in lines] == [
        "the graph is cut into 2 delegate calls, whose borders",
        "1 copies between channel orders",
        "quantizing and dequantizing (1 times)",
    ]
    assert advise(facts("executorch", ("Transpose (ND, X8)", True, 0.5), ("Conv", True, 9.5))) == ()


def test_float32_programs_never_reach_the_neural_engine() -> None:
    """Apple, coremltools guide, Typed Execution: float 32 typed programs run on a combination of GPU and CPU."""
    assert where("conv", "float32")[1] is False
    assert where("conv", "float16")[:2] == ("Neural Engine possible", True)
    assert where("upsample_bilinear", "float16")[0] == "Neural Engine possible since A14, M2"
    assert where("scatter_nd", "float16")[1] is False
    assert where("no_such_operator", "float16") == ("unknown", None, "")
    assert all(placement.source for placement in PLACEMENTS.values())
    lines = advise(facts("coreml", ("conv (float32)", False, 0.0), ("scatter_nd (float16)", False, 0.0)))
    assert any(line.startswith("1 of 2 operators work on float32") for line in lines)
    assert "scatter_nd (float16) cannot run on the Neural Engine" in lines


def test_rows_add_up_and_the_dearest_comes_first(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path))
    profiled = Profile(
        runs(("a", True, 1.0), ("b", False, 4.0), ("a", True, 3.0), ("c", True, 2.0)), 11.0, 5, "by hand"
    )
    found = summarize(bundle, bundle.artifacts[0], profiled, 1)
    assert [(row.operator, row.count, row.ms, row.share) for row in found.rows] == [
        ("a", 2, 4.0, 0.4),
        ("b", 1, 4.0, 0.4),
        ("c", 1, 2.0, 0.2),
    ]
    assert found.operators_ms == 10.0
    assert found.outside_share == 0.4


def test_section_of_the_report_is_well_formed_and_marks_what_ran_outside(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path))
    profiled = Profile(runs(("<op>", False, 3.0), ("b", True, 1.0)), 5.0, 5, "by hand")
    untimed = Profile((OperatorRun("conv", "unknown", None, None),), None, 0, "a list")
    covered = [
        summarize(bundle, artifact, p, 1) for artifact, p in zip(bundle.artifacts, (profiled, untimed), strict=True)
    ]
    section = operator_costs(covered, {"tiny.float32.onnx": "ONNX & co"})
    page = Page(section)
    assert not page.faults
    assert not page.open
    words = " ".join(page.words)
    assert "ONNX & co" in words
    assert "75.0%" in words
    assert "not timed: a list" in words
    assert "<op> runs outside the delegate once and takes 75 % of the time" in words
    assert operator_costs([], {}) == ""


def test_unknown_artifact_and_numbers_out_of_range_are_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    with pytest.raises(InputError, match=r"no artifact 'tiny\.onnx' \(did you mean 'tiny\.float32\.onnx'\?\)"):
        cover_bundle(bundle, file="tiny.onnx", quiet=True)
    with pytest.raises(InputError, match="threads 0, seconds 2: both must be above zero"):
        cover_bundle(bundle, threads=0, quiet=True)


@pytest.mark.slow
def test_verb_prints_a_table_of_one_file_profiled_in_its_own_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path)
    options = ["coverage", str(bundle), "--artifact", "tiny.float32.onnx", "--seconds", "0.1", "--quiet", "--top", "1"]
    assert main([*options, "--json"]) == 0
    (artifact,) = json.loads(capsys.readouterr().out)["artifacts"]
    assert sum(row["count"] for row in artifact["rows"] if row["operator"] == "MatMul") == 2
    assert main(options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tiny.float32.onnx: CPU in 1 piece; operators ")
    assert len(lines) == 4  # a heading, column names, one row, the rest
    assert main([*options[:-1], "0"]) == 2
    assert "top = 0" in capsys.readouterr().err

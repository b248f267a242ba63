"""The merge's cost inside the graph."""

from __future__ import annotations

import re

import pytest

from edgeseg.bench.merge_in_graph import Args, main


@pytest.mark.slow
def test_enlarging_inside_the_graph_costs_more_than_not_enlarging(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'edgeseg[onnx]'")
    main(Args(size=(128, 128), upsample=(1, 4), runtimes=("onnx",), precisions=("float32",), processes=3, seconds=0.2))
    head, row = capsys.readouterr().out.splitlines()
    assert head == "ms, one thread | app 4 | graph 1 | graph 4"
    assert row.startswith("float32 onnx | ")
    network, graph_1, graph_4 = (float(re.match(r"[0-9.]+", part)[0]) for part in row.split(" | ")[1:])  # type: ignore[index]
    assert 0 < network < graph_4
    assert graph_1 < graph_4

"""NNCF takes our float32 ONNX file, and reports to nobody."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeseg.export.runtimes import get_runtime
from edgeseg.quantize.fold import fold
from tests.export.small import convert_here
from tests.quantize.tiny import SIZE, TinySlots, images, warmed


@pytest.mark.slow
def test_nncf_quantizes_our_file_and_it_still_says_the_same(tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="pip install 'edgeseg[nncf]'")
    onnx = pytest.importorskip("onnx", reason="pip install 'edgeseg[onnx]'")
    from edgeseg.bench.nncf_row import quantize_by_nncf

    source, out = tmp_path / "float32.onnx", tmp_path / "nncf.onnx"
    runtime = get_runtime("onnx")
    convert_here(fold(warmed(TinySlots()), torch.zeros(1, 3, *SIZE)), runtime, "app", source, size=SIZE)
    quantize_by_nncf(source, out, [images(32, seed=1)])
    assert os.environ["NNCF_CI"] == "1"
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(str(out)).graph.node}
    image = images(1, seed=2).permute(0, 2, 3, 1).byte().numpy()
    ours, theirs = (runtime.load(path)(image)["mask_logits"] for path in (source, out))
    error = np.square(theirs - ours).mean() / np.square(ours - ours.mean()).mean()
    assert 0 < error < 0.01  # 20 dB: rounded to 8 bits, not another network

"""What the accelerator libraries take of the default network, and the committed table of it.

python -m tests.bench.default_network writes tests/bench/golden/coverage.json anew: after a change that makes coverage
better, or worse on purpose.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgeseg.bench.neural_engine import where
from edgeseg.config import Config
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.program import export_program
from edgeseg.export.runtimes import OUTPUT_NAMES, get_runtime, runtime_names
from edgeseg.models import build_model
from edgeseg.quantize import RECIPES, deploy, quantize
from edgeseg.quantize.fold import fold

GOLDEN = Path(__file__).parent / "golden" / "coverage.json"
SIZE = (64, 64)
PRECISIONS = ("float32", "int8-ptq")
IS_THING = (True, True, False)


def default_network(precision: str) -> nn.Module:
    """The network of an empty TOML, with fresh weights: which operators it has does not depend on them."""
    torch.manual_seed(0)
    model = build_model(Config().model, IS_THING, SIZE).eval()
    image = torch.rand(2, 3, *SIZE) * 255
    if precision == "float32":
        return fold(model.deployable(), image[:1])
    return deploy(quantize(model.deployable(), RECIPES[precision], calibration=[image]))


def write_artifact(runtime_name: str, precision: str, folder: Path) -> Path:
    """The network as a file, the merge where the runtime has it by default."""
    runtime = get_runtime(runtime_name)
    merge = runtime.default_merge
    graph = DeployedGraph(default_network(precision), merge=merge, config=Config().merge, is_thing=IS_THING)
    path = folder / f"default{runtime.suffix}"
    runtime.convert(export_program(graph, runtime, SIZE), OUTPUT_NAMES[merge], path, precision=precision)
    return path


def taken(runtime_name: str, path: Path) -> dict[str, Any]:
    """Pieces handed over, and operators outside with counts."""
    coverage = get_runtime(runtime_name).describe(path)
    outside = coverage.outside
    if runtime_name == "coreml":  # what no float16 twin of it could have on the Neural Engine
        outside = Counter({op: n for op, n in (coverage.operators or {}).items() if not where(op, "float16")[1]})
    return {"num_delegates": coverage.num_delegates, "outside": dict(sorted((outside or {}).items()))}


def main() -> None:
    """Writes the table."""
    table: dict[str, Any] = {}
    for runtime in runtime_names():
        for precision in PRECISIONS:
            with tempfile.TemporaryDirectory() as folder:
                table[f"{runtime} {precision}"] = taken(runtime, write_artifact(runtime, precision, Path(folder)))
            print(runtime, precision, table[f"{runtime} {precision}"], flush=True)
    GOLDEN.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

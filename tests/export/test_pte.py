"""What is read out of a .pte without ExecuTorch's exporter."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "apps" / "spec" / "tiny.edgeseg").glob("*.pte"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_counts_are_those_of_executorchs_own_reader(path: Path) -> None:
    pytest.importorskip("executorch", reason="pip install 'edgeseg[executorch]'")
    from executorch.exir._serialize._program import deserialize_pte_binary

    from edgeseg.export.pte import count_pieces

    plan = deserialize_pte_binary(path.read_bytes()).program.execution_plan[0]
    calls = [instruction.instr_args for instruction in plan.chains[0].instructions]
    names = Counter(plan.operators[call.op_index].name for call in calls if hasattr(call, "op_index"))
    assert names, "a file without operators outside shows nothing"
    assert count_pieces(path) == (len(plan.delegates), names)


_RUN = """
import hashlib, sys
from pathlib import Path
import numpy as np
from edgeseg.export.runtimes import get_runtime
runtime = get_runtime("executorch")
stages = runtime.load(Path(sys.argv[1]))
assert "XNNPACK" in stages.accelerator()
outputs = stages.readout(stages.network(stages.upload(np.full((1, 64, 64, 3), 7, dtype=np.uint8))))
print("executorch.exir" in sys.modules, hashlib.sha256(b"".join(v.tobytes() for v in outputs.values())).hexdigest())
"""

_WITHOUT_BINDING = """
import sys
class Once:
    def find_spec(self, name, path=None, target=None):
        if name == "executorch.extension.pybindings._C":
            sys.meta_path.remove(self)
            raise ImportError("no library of this name")
sys.meta_path.insert(0, Once())
"""


@pytest.mark.slow
def test_what_runs_a_file_imports_the_exporter_only_where_the_binding_alone_does_not_load() -> None:
    pytest.importorskip("executorch", reason="pip install 'edgeseg[executorch]'")

    def run(code: str) -> list[str]:
        command = [sys.executable, "-W", "ignore", "-c", code, str(FILES[0])]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    alone, around = run(_RUN), run(_WITHOUT_BINDING + _RUN)
    assert (alone[0], around[0]) == ("False", "True")
    assert alone[1] == around[1]

"""From a deployed graph to an artifact, each conversion in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed, which programs refer to
from torch import Tensor, nn
from torch.export import ExportedProgram

from edgeseg.export.graph import DeployedGraph
from edgeseg.export.runtimes import OUTPUT_NAMES, MergeMode, Runtime, get_runtime, require_converter
from edgeseg.structures import CheckError


class _FromPixels(nn.Module):
    def __init__(self, graph: DeployedGraph) -> None:
        super().__init__()
        self.deployed = graph  # not `graph`: fx modules keep their own graph there

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.deployed.from_pixels(image)


def export_program(graph: DeployedGraph, runtime: Runtime, image_size: tuple[int, int]) -> ExportedProgram:
    """Traces the graph the way a runtime wants it: input, and storage of quantized weights and activations.

    Quantized modules are found by their methods `set_weight_storage` and `set_storage`, and stay as they were set.
    """
    height, width = image_size
    for module in graph.modules():
        if callable(set_weight_storage := getattr(module, "set_weight_storage", None)):
            set_weight_storage(runtime.weight_storage)
        if callable(set_storage := getattr(module, "set_storage", None)):
            set_storage(runtime.activation_storage)
    with torch.no_grad():
        if runtime.input == "pixels":
            program = torch.export.export(_FromPixels(graph).eval(), (torch.zeros(1, 3, height, width),))
        else:
            program = torch.export.export(graph.eval(), (torch.zeros(1, height, width, 3, dtype=torch.uint8),))
    _give_each_user_its_dequantize(program.graph_module)
    return program


def convert(program: ExportedProgram, runtime: Runtime, merge: MergeMode, path: Path, *, log: Path) -> None:
    """Writes the artifact from a child process: converters are noisy, keep gigabytes, and some crash.

    Args:
        program: What `export_program` made for this runtime.
        runtime: Converts.
        merge: Names the outputs.
        path: File or folder to write; nothing is left there on failure.
        log: Where the converter's words are kept if it fails.

    Raises:
        InputError: The runtime's package is missing.
        CheckError: The conversion failed; names the log.
    """
    require_converter(runtime)
    with tempfile.TemporaryDirectory(prefix="edgeseg-") as folder:
        saved = Path(folder) / "program.pt2"
        made = Path(folder) / path.name
        torch.export.save(program, saved)
        command = [sys.executable, "-P", "-m", "edgeseg.export.program", runtime.name, merge, str(saved), str(made)]
        child = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"},
            check=False,
        )
        if child.returncode != 0:
            log.write_bytes(child.stdout)
            lines = child.stdout.decode(errors="replace").strip().splitlines() or ["no message"]
            reason = lines[-1] if child.returncode > 0 else f"killed by signal {-child.returncode}"
            raise CheckError(f"converting {path.name} for {runtime.name} failed: {reason}; its log is {log}")
        shutil.move(made, path)  # the temporary folder may be on another file system


def _give_each_user_its_dequantize(module: torch.fx.GraphModule) -> None:
    """One dequantize per user; the values are the same.

    ExecuTorch: a partition owns its inputs' dequantize, and a shared one ties two partitions in a cycle. LiteRT's
    converter loses the shape of one whose users want different layouts, and stops.
    """
    dequantize = torch.ops.quantized_decomposed.dequantize_per_tensor.default
    for node in module.graph.find_nodes(op="call_function", target=dequantize):
        for user in list(node.users)[1:]:
            with module.graph.inserting_after(node):
                twin = module.graph.node_copy(node)
            user.replace_input_with(node, twin)
    module.recompile()


def _main(name: str, merge: MergeMode, saved: str, made: str) -> None:
    torch.set_num_threads(1)
    get_runtime(name).convert(torch.export.load(saved), OUTPUT_NAMES[merge], Path(made))


if __name__ == "__main__":
    name, merge, saved, made = sys.argv[1:]
    _main(name, "graph" if merge == "graph" else "app", saved, made)

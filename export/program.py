"""From a deployed graph to an artifact, each conversion in a process of its own."""

from __future__ import annotations

import errno
import io
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed, which programs refer to
from torch import Tensor, nn
from torch.export import ExportedProgram

from edgeseg.export.graph import DeployedGraph
from edgeseg.export.plan import Job
from edgeseg.export.runtimes import Runtime, require_converter
from edgeseg.full_disk import FULL_DISK
from edgeseg.structures import CheckError

_LONGEST_SUM = 1024  # cells
_TILE = 16  # cells a side, at most


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
    if graph.merge is not None:
        graph.merge.by_argmax = runtime.has_fast_argmax
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
    pool_by_mean(program.graph_module)
    _give_each_user_its_dequantize(program.graph_module)
    return program


class Conversions:
    """Converts in child processes, some at a time: converters are noisy, keep gigabytes, and some crash.

    A context: leaving it with an exception kills the children that still run. A child ends with this process, however
    that ends.

    Args:
        work: Folder for programs on their way, converters' temporary files and words; the caller removes it.
        log_folder: Where a failed converter's words are kept, as FILE.log.
        num_workers: Conversions at a time; each takes a core and a gigabyte.
    """

    def __init__(self, work: Path, log_folder: Path, *, num_workers: int) -> None:
        self._work, self._log_folder = work, log_folder
        self._pool = ThreadPoolExecutor(max_workers=num_workers)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        with self._lock:
            self._is_over = kind is not None
            for child in self._running if self._is_over else ():
                child.kill()
        self._pool.shutdown(cancel_futures=self._is_over)

    def submit(self, program: ExportedProgram, job: Job, path: Path) -> Future[None]:
        """Starts a conversion as soon as there is a place; the program is on the disk when this returns.

        Args:
            program: What `export_program` made for the job's runtime.
            job: What to make.
            path: File or folder to write, on the file system of `work`; nothing is left there on failure.

        Returns:
            Done when the file is there; holds a CheckError where the conversion failed (it names the log), an OSError
            where the disk is full.

        Raises:
            InputError: The runtime's package is missing.
        """
        require_converter(job.runtime)
        saved = self._work / f"{path.name}.pt2"
        content = io.BytesIO()  # written here: C++ reports a full disk in its own words
        torch.export.save(program, content)
        saved.write_bytes(content.getbuffer())
        return self._pool.submit(self._convert, saved, job, path)

    def _convert(self, saved: Path, job: Job, path: Path) -> None:
        with tempfile.TemporaryDirectory(dir=self._work) as folder:
            made, words = Path(folder) / path.name, Path(folder) / "log"
            code = self._run([job.runtime.name, job.precision, job.merge, str(saved), str(made)], words)
            if code != 0:
                said = words.read_text(errors="replace")
                _refuse_full_disk(said, self._work)
                log = self._log_folder / f"{path.name}.log"
                log.write_text(said)
                lines = said.strip().splitlines() or ["no message"]
                reason = lines[-1] if code > 0 else f"killed by signal {-code}"
                raise CheckError(f"converting {path.name} for {job.runtime.name} failed: {reason}; its log is {log}")
            made.rename(path)
        saved.unlink()

    def _run(self, arguments: list[str], words: Path) -> int:
        command = [sys.executable, "-P", "-m", "edgeseg.export.child", *arguments]
        settings = {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", "TMPDIR": str(words.parent)}
        with words.open("wb") as output:
            with self._lock:
                if self._is_over:
                    raise CancelledError
                child = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=os.environ | settings
                )
                self._running.add(child)
            with child:  # its standard input stays open until it ends
                code = child.wait()
            with self._lock:
                self._running.discard(child)
                if self._is_over:  # killed, not failed: its words are of no use
                    raise CancelledError
            return code


_SPACE_BYTES = 1 << 20  # with less than this left, a conversion fails for it


def _refuse_full_disk(said: str, folder: Path) -> None:
    """Raises OSError where a converter failed because of a full disk, which each reports in other words, or not."""
    found = next((number for number in FULL_DISK if os.strerror(number) in said), None)
    if found is None and shutil.disk_usage(folder).free < _SPACE_BYTES:
        found = errno.ENOSPC
    if found is not None:
        raise OSError(found, os.strerror(found))


def pool_by_mean(module: torch.fx.GraphModule) -> None:
    """Poolings to one value per map as means, which is what they are; of a large map as a mean of means.

    Decomposed, a pooling ends in as_strided: no delegate of ExecuTorch takes it (nine of them cut MobileNetV3-Small's
    graph into ten pieces), and Core AI does not convert it. XNNPACK adds a map's cells up one by one in float32: over
    the 25,600 of stride 4 at 640x640 squeeze-and-excite lost enough to move mask logits by 3e-4.
    """
    for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten.adaptive_avg_pool2d.default):
        image, size = node.args
        if list(size) != [1, 1]:
            continue
        with module.graph.inserting_before(node):
            height, width = image.meta["val"].shape[2:]
            side = math.gcd(height, width, _TILE)
            if height * width > _LONGEST_SUM and side > 1:
                tiled = module.graph.call_function(torch.ops.aten.avg_pool2d.default, (image, [side] * 2, [side] * 2))
                tiled.meta["val"] = torch.ops.aten.avg_pool2d.default(image.meta["val"], [side] * 2, [side] * 2)
                image = tiled
            mean = module.graph.call_function(torch.ops.aten.mean.dim, (image, [2, 3], True))
        mean.meta = dict(node.meta)
        node.replace_all_uses_with(mean)
        module.graph.erase_node(node)
    module.recompile()


def _give_each_user_its_dequantize(module: torch.fx.GraphModule) -> None:
    """One dequantize per user; the values are the same.

    ExecuTorch: a partition owns its inputs' dequantize, and a shared one ties two partitions in a cycle. LiteRT's
    converter loses the shape of one whose users want different layouts, and stops. An output keeps its own, by whose
    name the program knows it.
    """
    dequantize = torch.ops.quantized_decomposed.dequantize_per_tensor.default
    for node in module.graph.find_nodes(op="call_function", target=dequantize):
        for user in sorted(node.users, key=lambda user: user.op != "output")[1:]:
            with module.graph.inserting_after(node):
                twin = module.graph.node_copy(node)
            user.replace_input_with(node, twin)
    module.recompile()

"""The runtimes that a bundle can hold an artifact for."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeseg.config import nearest
from edgeseg.structures import InputError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MergeMode = Literal["graph", "app"]

OUTPUT_NAMES: dict[MergeMode, tuple[str, ...]] = {
    "graph": ("slot_map", "slot_category", "slot_score"),
    "app": ("mask_logits", "class_logits"),
}
"""Outputs of the deployed graph, in order, by where the merge runs."""

Predict = Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]
"""image (1, H, W, 3) uint8 RGB -> outputs by name."""


@dataclass(frozen=True)
class Stages:
    """A loaded artifact that can be called as a whole (it is a Predict) or stage by stage, for timing.

    Attributes:
        upload: image (1, H, W, 3) uint8 -> what `network` takes; copies where the runtime keeps its own input.
        network: Runs.
        readout: What `network` returned -> outputs by name, the caller's own.
        accelerator: Says what the loaded file obtained, not what was asked for.
    """

    upload: Callable[[NDArray[np.uint8]], Any]
    network: Callable[[Any], Any]
    readout: Callable[[Any], dict[str, NDArray[Any]]]
    accelerator: Callable[[], str]

    def __call__(self, image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """All three."""
        return self.readout(self.network(self.upload(image)))


_MODULES = {
    "executorch": "edgeseg.export.executorch",
    "litert": "edgeseg.export.litert",
    "coreml": "edgeseg.export.coreml",
    "onnx": "edgeseg.export.onnx",
}
"""A new runtime is one file that ends in `RUNTIME = ...`, and a line here."""

_ON_REQUEST = {
    "coreml-ios17": "edgeseg.export.coreml:IOS17",
    "coreml-ios16": "edgeseg.export.coreml:IOS16",
    "coreai": "edgeseg.export.coreai",
    "litert-small": "edgeseg.export.litert:SMALL",
    "onnx-small": "edgeseg.export.onnx:SMALL",
    "executorch-coreml": "edgeseg.export.lowering:COREML",
    "executorch-vulkan": "edgeseg.export.lowering:VULKAN",
    "executorch-qnn": "edgeseg.export.lowering:QNN",
}
"""Made only where they are named: a second file for a phone that has one already, or packages not everyone has."""


@dataclass(frozen=True)
class Coverage:
    """What of a file its accelerator library runs.

    Attributes:
        delegate: Who runs the operators, for people.
        num_delegates: Pieces that were handed over; each border costs a copy. None where only the device knows.
        outside: Operators that stayed outside, with counts. None where only the device knows.
        operators: Operators in the file, with counts; None where the file hides what a piece holds.
    """

    delegate: str
    num_delegates: int | None
    outside: Mapping[str, int] | None
    operators: Mapping[str, int] | None


def in_words(coverage: Coverage) -> str:
    """Who runs how much of a file, as a measurement states it."""
    if coverage.num_delegates is None or coverage.outside is None:
        return coverage.delegate
    pieces, outside = coverage.num_delegates, sum(coverage.outside.values())
    return f"{coverage.delegate}: {pieces} piece{'s' * (pieces != 1)}, {outside} operators outside"


class Runtime(Protocol):
    """How one runtime converts, loads and describes.

    Attributes:
        name: Key in the registry.
        suffix: End of an artifact's file name.
        pip_extra: `pip install 'edgeseg[...]'`.
        converter_packages: Modules that converting needs.
        runner_packages: Modules that running needs, the first one present is used.
        default_merge: Where the panoptic merge runs unless told otherwise, by measurement (docs/bundle.md).
        precisions: What it can make of the float32 network; the precisions of quantized checkpoints are recipes' names.
        weight_storage: How quantized modules must emit their weights: int8 buffers, or float ones with q/dq.
        activation_storage: How they must emit activations; the same numbers, but not the same speed.
        has_fast_argmax: The merge in the graph finds slots by its argmax, not by a tree of maxima (graph.SlotMerge).
        input: What the file takes; `pixels` is float32 NCHW or the platform's own image type, still 0..255 RGB.
    """

    name: str
    suffix: str
    pip_extra: str
    converter_packages: tuple[str, ...]
    runner_packages: tuple[str, ...]
    default_merge: MergeMode
    precisions: tuple[str, ...]
    weight_storage: Literal["int8", "float_qdq"]
    activation_storage: Literal["int8", "uint8"]
    has_fast_argmax: bool
    input: Literal["image_uint8_nhwc", "pixels"]

    def refusal(self, precision: str, merge: MergeMode) -> str:
        """Why it holds no artifact like this, in one line; empty where it can.

        Args:
            precision: One of `precisions`, or a quantization recipe's name.
            merge: Where the panoptic merge runs.
        """

    def convert(self, program: ExportedProgram, output_names: tuple[str, ...], path: Path, *, precision: str) -> None:
        """Writes the artifact; needs `converter_packages`.

        Args:
            program: Of the float32 network for one of `precisions`, of the quantized one otherwise.
            output_names: In the order of the program's outputs.
            path: File or folder to write.
            precision: To write it at.
        """

    def load(self, path: Path, *, num_threads: int = 1) -> Predict:
        """Makes the file callable; needs one of `runner_packages`."""

    def describe(self, path: Path) -> Coverage:
        """Reads from the file what its accelerator library runs."""

    def stored(self, path: Path) -> dict[str, int]:
        """Entries of the constants in a file by their type, such as `int2`; empty where the file hides them."""

    def engine(self) -> str:
        """Name and version of what `load` runs files with, and what that proves."""


def runtime_names() -> list[str]:
    """Registered runtimes that are made unless others are named."""
    return list(_MODULES)


def get_runtime(name: str) -> Runtime:
    """Looks a runtime up; its packages may still be missing.

    Raises:
        InputError: No such runtime.
    """
    known = _MODULES | _ON_REQUEST
    if name not in known:
        raise InputError(f"no runtime named {name!r}{nearest(name, list(known))}; known are {', '.join(known)}")
    module, _, instance = known[name].partition(":")
    runtime: Runtime = getattr(importlib.import_module(module), instance or "RUNTIME")
    return runtime


def family(name: str) -> str:
    """The runtime that runs a file of another one that makes the same kind: litert for litert-small."""
    return name.partition("-")[0]


def is_available(runtime: Runtime) -> bool:
    """True where both converting and running have their packages."""
    return all(map(_is_installed, runtime.converter_packages)) and any(map(_is_installed, runtime.runner_packages))


def require_converter(runtime: Runtime) -> None:
    """Raises InputError with the install command where converting lacks a package."""
    missing = [package for package in runtime.converter_packages if not _is_installed(package)]
    if missing:
        raise InputError(f"runtime {runtime.name} needs the package {missing[0]} to convert; {_command(runtime)}")


def require_runner(runtime: Runtime) -> str:
    """The module to run with.

    Raises:
        InputError: None is installed; names the install command.
    """
    for package in runtime.runner_packages:
        if _is_installed(package):
            return package
    wanted = " or ".join(runtime.runner_packages)
    raise InputError(f"runtime {runtime.name} needs the package {wanted} to run; {_command(runtime)}")


def name_outputs(outputs: list[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Outputs in the graph's order -> by name."""
    merge: MergeMode = "graph" if len(outputs) == len(OUTPUT_NAMES["graph"]) else "app"
    return dict(zip(OUTPUT_NAMES[merge], outputs, strict=True))


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _command(runtime: Runtime) -> str:
    return f"pip install 'edgeseg[{runtime.pip_extra}]'"

"""Core AI, Core ML's successor; Apple's own package converts and runs its files away from a Mac, too."""

from __future__ import annotations

import asyncio
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeseg.export.captured import silenced
from edgeseg.export.runtimes import Coverage, MergeMode, Stages, name_outputs, require_runner

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class CoreAI:
    """See Runtime. Beta packages; their files want iOS 27 or macOS 27."""

    name = "coreai"
    suffix = ".aimodel"
    pip_extra = "coreai"
    converter_packages: tuple[str, ...] = ("coreai_torch",)
    runner_packages: tuple[str, ...] = ("coreai",)
    default_merge: MergeMode = "app"  # as for Core ML: the same engine
    precisions: tuple[str, ...] = ("float32",)
    weight_storage: Literal["int8", "float_qdq"] = "int8"
    activation_storage: Literal["int8", "uint8"] = "int8"
    has_fast_argmax = False
    input: Literal["image_uint8_nhwc", "pixels"] = "image_uint8_nhwc"

    def refusal(self, precision: str, merge: MergeMode) -> str:
        """Takes no quantized network yet."""
        from edgeseg.quantize import forms  # brings torch

        return "" if precision in self.precisions else forms.refusal(precision, self.name)

    def convert(self, program: ExportedProgram, output_names: tuple[str, ...], path: Path, *, precision: str) -> None:
        """Writes an .aimodel; outputs keep their order, Core AI names them after torch's last operators."""
        del output_names, precision
        from coreai_torch import TorchConverter, get_decomp_table

        decomposed = program.run_decompositions(get_decomp_table())
        TorchConverter().add_exported_program(decomposed).to_coreai().save_asset(path)

    def load(self, path: Path, *, num_threads: int = 1) -> Stages:
        """Compiles for this machine's CPU; Core AI has no thread setting."""
        require_runner(self)
        with silenced():
            from coreai.authoring.asset import AIModelAsset
            from coreai.runtime import NDArray as CoreArray

            runner = asyncio.Runner()

            async def compiled() -> Any:
                async with AIModelAsset.load(path).executable() as model:
                    return model.load_function("main")

            function = runner.run(compiled())
            names = list(function.desc.output_names)

        def network(inputs: dict[str, Any]) -> Any:
            return runner.run(function(inputs))

        def readout(outputs: Any) -> dict[str, NDArray[Any]]:
            return name_outputs([np.array(outputs[name].numpy()) for name in names])

        return Stages(
            upload=lambda image: {"image": CoreArray(np.ascontiguousarray(image))},
            network=network,
            readout=readout,
            accelerator=lambda: "Core AI on this machine's CPU",
        )

    def describe(self, path: Path) -> Coverage:
        """Operators of the file; which unit runs them is decided on the device."""
        require_runner(self)
        with silenced():
            from coreai.authoring.asset import AIModelAsset

            summary = AIModelAsset.load(path).summary()
        assert summary is not None  # the program stands in every file that `convert` writes
        counted = {name: count for name, count in summary.operation_distribution if name != "constant"}
        return Coverage("decided on the device", None, None, counted)

    def stored(self, path: Path) -> dict[str, int]:
        """Nothing: the package that reads files does not tell."""
        del path
        return {}

    def engine(self) -> str:
        """See Runtime."""
        return f"coreai-core {importlib.metadata.version('coreai-core')} (this machine's CPU)"


RUNTIME = CoreAI()

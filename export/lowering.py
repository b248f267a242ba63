"""ExecuTorch files for delegates that this machine cannot run: lowered and counted, never proven.

They are no part of a bundle, which holds proven files only: `edgeseg export --only executorch-vulkan` is refused with
the reason. `python -m edgeseg.bench.lowered RUN` lowers a run's network and says what each delegate takes of it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from edgeseg.export.executorch import ExecuTorch
from edgeseg.export.runtimes import MergeMode, Stages
from edgeseg.structures import InputError

VERDICT = "lowered, not run here"


class Lowering(ExecuTorch):
    """See Runtime; converts and describes, but holds nothing and runs nothing.

    Args:
        target: Part of the name.
        delegate: For people.
        device: What would run a file.
        wants: What the file takes; Core ML has no bytes as input.
    """

    def __init__(
        self, target: str, delegate: str, device: str, wants: Literal["image_uint8_nhwc", "pixels"] = "image_uint8_nhwc"
    ) -> None:
        self.name = f"executorch-{target}"
        self.suffix = f".{target}.pte"
        self.delegate = delegate
        self.device = device
        self.input = wants

    def refusal(self, precision: str, merge: MergeMode) -> str:
        """A bundle holds proven files only."""
        return (
            f"{VERDICT}: only {self.device} proves a file for {self.delegate}; python -m edgeseg.bench.lowered says "
            "what it takes"
        )

    def partitioner(self) -> Any:
        """What chooses the delegate's operators.

        Raises:
            InputError: It needs something that no package brings.
        """
        return _PARTITIONERS[self.name]()

    def load(self, path: Path, *, num_threads: int = 1) -> Stages:
        """Always refused."""
        raise InputError(f"{path} was {VERDICT}; run it on {self.device}")

    def engine(self) -> str:
        """See Runtime."""
        return VERDICT


def _coreml() -> Any:
    import coremltools as ct
    from executorch.backends.apple.coreml.compiler import CoreMLBackend
    from executorch.backends.apple.coreml.partition import CoreMLPartitioner

    specs = CoreMLBackend.generate_compile_specs(
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT32,  # it has no place for float32 islands
    )
    return CoreMLPartitioner(compile_specs=specs)


def _vulkan() -> Any:
    from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

    return VulkanPartitioner()


def _qnn() -> Any:
    if not os.environ.get("QNN_SDK_ROOT"):
        raise InputError(
            "executorch-qnn needs Qualcomm's AI Engine Direct SDK, which no package index has; get it from "
            "Qualcomm and set QNN_SDK_ROOT"
        )
    from executorch.backends.qualcomm.partition.qnn_partitioner import QnnPartitioner
    from executorch.backends.qualcomm.serialization.qc_schema import QcomChipset
    from executorch.backends.qualcomm.utils.utils import (
        generate_htp_compiler_spec,
        generate_qnn_executorch_compiler_spec,
    )

    options = generate_htp_compiler_spec(use_fp16=True)
    return QnnPartitioner(generate_qnn_executorch_compiler_spec(soc_model=QcomChipset.SM8650, backend_options=options))


_PARTITIONERS = {"executorch-coreml": _coreml, "executorch-vulkan": _vulkan, "executorch-qnn": _qnn}

COREML = Lowering("coreml", "Core ML", "an Apple device", "pixels")
VULKAN = Lowering("vulkan", "Vulkan", "a GPU with Vulkan")
QNN = Lowering("qnn", "QNN", "a Snapdragon")
TARGETS = (COREML, VULKAN, QNN)

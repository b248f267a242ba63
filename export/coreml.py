"""Core ML; away from a Mac its files are read by our own interpreter."""

from __future__ import annotations

import importlib.metadata
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeseg.export.captured import silenced
from edgeseg.export.runtimes import Coverage, MergeMode, Predict, require_runner

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class CoreML:
    """See Runtime. The input is a Core ML image (a camera's pixel buffer), RGB; the graph sees it as 0..255 NCHW."""

    name = "coreml"
    suffix = ".mlpackage"
    pip_extra = "coreml"
    converter_packages: tuple[str, ...] = ("coremltools",)
    runner_packages: tuple[str, ...] = ("coremltools",)
    default_merge: MergeMode = "app"  # Apple's engine has returned wrong maps for in-graph reductions over slots
    weight_storage: Literal["int8", "float_qdq"] = "int8"
    activation_storage: Literal["int8", "uint8"] = "int8"
    input: Literal["image_uint8_nhwc", "pixels"] = "pixels"

    def convert(self, program: ExportedProgram, output_names: tuple[str, ...], path: Path) -> None:
        """Writes a float32 ML program; with float16 the int8 scales and biases would no longer be those of training."""
        import coremltools as ct

        (image,) = program.example_inputs[0]
        model = ct.convert(
            program.run_decompositions({}),
            inputs=[ct.ImageType(name="image", shape=tuple(image.shape), color_layout=ct.colorlayout.RGB)],
            outputs=[ct.TensorType(name=name) for name in output_names],
            minimum_deployment_target=ct.target.iOS18,
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
        )
        model.save(str(path))
        # A debugging aid of the converter, half of a small package's bytes, not listed in its manifest.
        (path / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)

    def load(self, path: Path, *, num_threads: int = 1) -> Predict:
        """On a Mac Core ML itself, which has no thread setting; elsewhere the interpreter, with torch's threads."""
        require_runner(self)
        if sys.platform == "darwin":
            return _load_on_mac(path)
        with silenced():
            from edgeseg.export.mil_interpreter import MilProgram

            program = MilProgram(path)

        def predict(image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
            return program.run(image.transpose(0, 3, 1, 2).astype(np.float32), num_threads=num_threads)

        return predict

    def describe(self, path: Path) -> Coverage:
        """Operators of the file; which unit runs them is decided on the device."""
        require_runner(self)
        with silenced():
            import coremltools as ct

            main = ct.utils.load_spec(str(path)).mlProgram.functions["main"]
        operations = main.block_specializations[main.opset].operations
        counted = Counter(op.type for op in operations if op.type != "const")
        return Coverage("decided on the device", None, None, dict(counted))

    def engine(self) -> str:
        """See Runtime."""
        version = importlib.metadata.version("coremltools")
        if sys.platform == "darwin":
            return f"Core ML of this Mac (coremltools {version})"
        return f"edgeseg's MIL interpreter, coremltools {version} (the file's meaning, not a Neural Engine's rounding)"


def _load_on_mac(path: Path) -> Predict:
    import coremltools as ct
    from PIL import Image

    model = ct.models.MLModel(str(path))

    def predict(image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        outputs: dict[str, NDArray[Any]] = model.predict({"image": Image.fromarray(image[0])})
        return outputs

    return predict


RUNTIME = CoreML()

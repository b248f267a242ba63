"""Core ML; away from a Mac its files are read by our own interpreter."""

from __future__ import annotations

import importlib.metadata
import math
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeseg.export.captured import silenced
from edgeseg.export.mil_islands import island_of
from edgeseg.export.runtimes import Coverage, MergeMode, Predict, require_runner

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_PALETTE_BITS = {"palette8": 8, "palette6": 6, "palette4": 4}
_ISLANDS = "edgeseg.float32"
"""Key of a package's user-defined metadata: names of the parts that stay float32 in a half-precision program."""

Target = Literal["iOS16", "iOS17", "iOS18"]


class CoreML:
    """See Runtime. The input is a Core ML image (a camera's pixel buffer), RGB; the graph sees it as 0..255 NCHW.

    `float16` computes in half but for named islands (mil_islands.py); `paletteN` is the same with each larger weight as
    N-bit indices into a table of its own, chosen by k-means. Ternary weights are stored with 2 bits for iOS 18
    (mil_tables.py), integers of 4 bits and fewer as int4; before iOS 18 both take a byte.

    Args:
        target: Oldest system that the file must run on.
    """

    suffix = ".mlpackage"
    pip_extra = "coreml"
    converter_packages: tuple[str, ...] = ("coremltools",)
    runner_packages: tuple[str, ...] = ("coremltools",)
    default_merge: MergeMode = "app"  # Apple's engine has returned wrong maps for in-graph reductions over slots
    precisions: tuple[str, ...] = ("float32", "float16", *_PALETTE_BITS)
    weight_storage: Literal["int8", "float_qdq"] = "int8"
    activation_storage: Literal["int8", "uint8"] = "int8"
    has_fast_argmax = False
    input: Literal["image_uint8_nhwc", "pixels"] = "pixels"

    def __init__(self, target: Target = "iOS18") -> None:
        self.target = target
        self.name = "coreml" if target == "iOS18" else f"coreml-{target.lower()}"

    def refusal(self, precision: str, merge: MergeMode) -> str:
        """Half precision cannot count pixels; iOS 16 has no integer activations."""
        if precision in self.precisions:
            if precision != "float32" and merge == "graph":
                return "half precision cannot count a slot's pixels (2049 is no half); leave the merge to the app"
            return ""
        from edgeseg.quantize import forms  # brings torch; a device that loads has none

        return forms.refusal(precision, self.name)

    def convert(self, program: ExportedProgram, output_names: tuple[str, ...], path: Path, *, precision: str) -> None:
        """Writes an ML program; a quantized one in float32, for in half its scales and biases would be others."""
        import coremltools as ct

        from edgeseg.export import mil_tables
        from edgeseg.export.mil_compact import compact

        found: set[str] = set()

        def may_be_half(operation: Any) -> bool:
            if island := island_of(operation):
                found.add(island)
            return not island

        is_half = precision in self.precisions and precision != "float32"
        half = ct.transform.FP16ComputePrecision(op_selector=may_be_half)
        passes = ct.PassPipeline()
        if self.target == "iOS18" and precision not in self.precisions:
            mil_tables.register()
            passes.append_pass(mil_tables.PASS)
        (image,) = program.example_inputs[0]
        model = ct.convert(
            program.run_decompositions({}),
            inputs=[ct.ImageType(name="image", shape=tuple(image.shape), color_layout=ct.colorlayout.RGB)],
            outputs=[ct.TensorType(name=name, dtype=np.float32 if is_half else None) for name in output_names],
            minimum_deployment_target=getattr(ct.target, self.target),
            compute_precision=half if is_half else ct.precision.FLOAT32,
            pass_pipeline=passes,
            skip_model_load=True,
        )
        if precision in _PALETTE_BITS:
            model = _palettized(model, _PALETTE_BITS[precision])
        if is_half:
            model.user_defined_metadata[_ISLANDS] = ", ".join(sorted(found))
        model.save(str(path))
        # A debugging aid of the converter, half of a small package's bytes, not listed in its manifest.
        (path / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)
        program_file = path / "Data" / "com.apple.CoreML" / "model.mlmodel"
        spec = ct.utils.load_spec(str(program_file))
        compact(spec)
        ct.utils.save_spec(spec, str(program_file))

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
        """Operators of the file; which unit runs them is decided on the device, of float32 islands never the engine."""
        require_runner(self)
        with silenced():
            import coremltools as ct

            spec = ct.utils.load_spec(str(path))
        main = spec.mlProgram.functions["main"]
        operations = main.block_specializations[main.opset].operations
        counted = Counter(op.type for op in operations if op.type != "const")
        islands = spec.description.metadata.userDefined.get(_ISLANDS)
        delegate = "decided on the device" + (f"; float32 in half precision: {islands}" if islands else "")
        return Coverage(delegate, None, None, dict(counted))

    def stored(self, path: Path) -> dict[str, int]:
        """See Runtime."""
        with silenced():
            import coremltools as ct
            from coremltools.proto.MIL_pb2 import DataType

            spec = ct.utils.load_spec(str(path))
        main = spec.mlProgram.functions["main"]
        counts: Counter[str] = Counter()
        for operation in main.block_specializations[main.opset].operations:
            arguments = [argument for given in operation.inputs.values() for argument in given.arguments]
            values = [argument.value for argument in arguments if argument.WhichOneof("binding") == "value"]
            for value in (*values, *([operation.attributes["val"]] if operation.type == "const" else [])):
                made = value.type.tensorType
                entries = math.prod(side.constant.size for side in made.dimensions)
                counts[DataType.Name(made.dataType).lower()] += entries
        del counts["string"]
        return dict(counts)

    def engine(self) -> str:
        """See Runtime."""
        version = importlib.metadata.version("coremltools")
        if sys.platform == "darwin":
            return f"Core ML of this Mac (coremltools {version})"
        return f"edgeseg's MIL interpreter, coremltools {version} (the file's meaning, not a Neural Engine's rounding)"


def _palettized(model: Any, bits: int) -> Any:
    import coremltools.optimize.coreml as cto

    palette = cto.OpPalettizerConfig(mode="kmeans", nbits=bits)  # weights of up to 2048 entries stay as they are
    return cto.palettize_weights(model, cto.OptimizationConfig(global_config=palette))


def _load_on_mac(path: Path) -> Predict:
    import coremltools as ct
    from PIL import Image

    model = ct.models.MLModel(str(path))

    def predict(image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        outputs: dict[str, NDArray[Any]] = model.predict({"image": Image.fromarray(image[0])})
        return outputs

    return predict


RUNTIME = CoreML()
IOS16 = CoreML("iOS16")
IOS17 = CoreML("iOS17")

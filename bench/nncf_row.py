"""NNCF's quantization of our ONNX file beside our own: python -m edgeseg.bench.nncf_row CHECKPOINT --data FOLDER

For who wants ONNX or OpenVINO files from that tool: it takes the float32 file as it is. Both are calibrated on the same
images, scored on the val split through ONNX Runtime, and compared with torch in float32. Needs edgeseg[nncf].
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeseg.bench.refusals import refusals
from edgeseg.data.loader import Samples, evenly_spaced
from edgeseg.data.transforms import letterbox
from edgeseg.engine.checkpoint import Checkpoint, load_checkpoint
from edgeseg.engine.evaluate import Predictor, evaluate, torch_predictor
from edgeseg.export.captured import silenced
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.plan import FLOAT, Job
from edgeseg.export.program import Conversions, export_program
from edgeseg.export.runtimes import get_runtime
from edgeseg.export.verify import equal_pixels, to_merged
from edgeseg.quantize.deploy import deploy
from edgeseg.quantize.fold import fold
from edgeseg.quantize.images import calibration_batches, open_splits
from edgeseg.quantize.qat import quantize
from edgeseg.quantize.recipes import RECIPES
from edgeseg.structures import Merged

_AGREEMENT_IMAGES = 40
OURS = "int8-ptq"


@dataclass(frozen=True)
class Row:
    """One ONNX file.

    Attributes:
        made_by: Who quantized it.
        pq: On the val split, points.
        pixels_equal: Mean share of the pixels that torch in float32 gives the same segment.
        bytes: Of the file.
    """

    made_by: str
    pq: float
    pixels_equal: float
    bytes: int


def rows(checkpoint: Checkpoint, train: Samples, val: Samples, *, max_images: int = 0) -> Iterator[Row]:
    """float32, ours and NNCF's, in this order.

    Args:
        checkpoint: A float one.
        train: Calibrates.
        val: Scores.
        max_images: Of it; 0 = all.
    """
    size = checkpoint.config.data.image_size
    calibration = calibration_batches(train, size, checkpoint.path)
    model = checkpoint.model().deployable()
    networks: dict[str, nn.Module] = {FLOAT: fold(model, torch.zeros(1, 3, *size))}
    networks[OURS] = deploy(quantize(model, RECIPES[OURS], calibration=calibration))
    reference = torch_predictor(networks[FLOAT], checkpoint.config.merge, checkpoint.categories)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {precision: folder / f"{precision}.onnx" for precision in networks}
        _convert(networks, files, folder, checkpoint)
        files["int8 by NNCF"] = folder / "nncf.onnx"
        quantize_by_nncf(files[FLOAT], files["int8 by NNCF"], calibration)
        for made_by, path in files.items():
            predictor = _predictor(path, checkpoint)
            score = evaluate(predictor, val, size=size, categories=checkpoint.categories, max_images=max_images)
            equal = _agreement(predictor, reference, val, size)
            yield Row(made_by, 100 * score.all.pq, equal, path.stat().st_size)


def quantize_by_nncf(source: Path, out: Path, calibration: Sequence[torch.Tensor]) -> None:
    """nncf.quantize of an ONNX file, activations and weights 8 bits, without bias correction; its telemetry stays off.

    Args:
        source: Our float32 file.
        out: To write.
        calibration: (B, 3, H, W) float32 images, 0..255.
    """
    os.environ["NNCF_CI"] = "1"  # before the import: else it reports use to Google Analytics
    with silenced():
        import nncf
        import onnx

        images = [image.permute(1, 2, 0).byte().numpy()[None] for batch in calibration for image in batch]
        data = nncf.Dataset(images, lambda image: {"image": image})
        # Its bias correction stops at an AssertionError (nncf 3.4.0, fast_bias_correction/onnx_backend.py).
        settings = nncf.AdvancedQuantizationParameters(disable_bias_correction=True)
        model = onnx.load(str(source))
        onnx.save(nncf.quantize(model, data, subset_size=len(images), advanced_parameters=settings), str(out))


def _convert(networks: dict[str, nn.Module], files: dict[str, Path], folder: Path, checkpoint: Checkpoint) -> None:
    runtime, config = get_runtime("onnx"), checkpoint.config
    is_thing = [category.is_thing for category in checkpoint.categories]
    with Conversions(folder, folder, num_workers=1) as conversions:
        for precision, network in networks.items():
            graph = DeployedGraph(network, merge="app", config=config.merge, is_thing=is_thing)
            job = Job(runtime, precision, precision, "app", files[precision].name)
            program = export_program(graph, runtime, config.data.image_size)
            conversions.submit(program, job, files[precision]).result()


def _predictor(path: Path, checkpoint: Checkpoint) -> Predictor:
    predict = get_runtime("onnx").load(path)
    is_thing = [category.is_thing for category in checkpoint.categories]

    def run(image: NDArray[np.uint8]) -> Merged:
        outputs = predict(np.ascontiguousarray(image)[None])
        return to_merged(outputs, config=checkpoint.config.merge, is_thing=is_thing)

    return run


def _agreement(predictor: Predictor, reference: Predictor, val: Samples, size: tuple[int, int]) -> float:
    count = min(_AGREEMENT_IMAGES, len(val))
    images = (letterbox(val[i].image, size)[0] for i in evenly_spaced(count, len(val)))
    return float(np.mean([equal_pixels(predictor(image), reference(image)) for image in images]))


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, help="data set; the one it was trained on by default")
    parser.add_argument("--images", type=int, default=0, help="of the val split; 0 = all")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(arguments.checkpoint)
    train, val = open_splits(checkpoint, arguments.data, None)
    print("| file | PQ | pixels equal to torch float32 | bytes |\n|---|---|---|---|")
    for row in rows(checkpoint, train, val, max_images=arguments.images):
        print(f"| {row.made_by} | {row.pq:.2f} | {row.pixels_equal:.4f} | {row.bytes:,} |", flush=True)


if __name__ == "__main__":
    with refusals():
        _main()

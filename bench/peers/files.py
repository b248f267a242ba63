"""The files that are raced, each with a card of what is in it: ours converted, LR-ASPP and YOLO exported.

Weights are random: a network's time does not depend on them. A file that is there already is taken as it is.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from edgeseg.bench.peers.cards import IS_THING, Card, card_path, write_card
from edgeseg.bench.peers.onnx_cost import onnx_cost
from edgeseg.config import MergeConfig, ModelConfig, config_from_dict, load_config
from edgeseg.export.graph import DeployedGraph
from edgeseg.export.plan import FLOAT, Job
from edgeseg.export.program import Conversions, export_program
from edgeseg.export.runtimes import MergeMode, get_runtime
from edgeseg.models import build_model, count_macs, count_parameters
from edgeseg.quantize import deploy, find_recipe, quantize
from edgeseg.quantize.fold import fold
from edgeseg.structures import CheckError, InputError

DEFAULT = "default"
"""Name of the config that an empty TOML file is."""

REQUIREMENTS = Path(__file__).parent / "requirements.txt"
_NUM_CALIBRATION, _EXPORT_SECONDS = 2, 600.0
_QUIET = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Ours:
    """One of our files.

    Attributes:
        side: Height and width of the input.
        config: `default`, the name of a shipped config, or a TOML file: whose `[model]` is built.
        precision: `float32`, or a quantization recipe (calibrated, not trained).
        runtime: Registry name.
        merge: Where the panoptic merge runs; in the graph it enlarges by `upsample`.
        upsample: 1, 2 or 4.
    """

    side: int
    config: str
    precision: str
    runtime: str
    merge: MergeMode = "app"
    upsample: int = 1

    @property
    def file(self) -> str:
        """Name of the file."""
        merge = f"graph{self.upsample}" if self.merge == "graph" else "app"
        stem = f"{Path(self.config).stem}-{self.side}.{self.precision}.{self.runtime}.{merge}"
        return stem + get_runtime(self.runtime).suffix


def make_ours(wanted: Sequence[Ours], folder: Path, *, on_file: Callable[[str], None] = lambda name: None) -> None:
    """Converts the default network for every file that is not there yet, one after the other.

    Raises:
        InputError: A runtime's package is missing, no such precision, or the runtime holds no such file.
        CheckError: A conversion failed; its log is kept in the folder.
    """
    for ours in wanted:
        if reason := get_runtime(ours.runtime).refusal(ours.precision, ours.merge):
            raise InputError(f"{ours.runtime} holds no {ours.precision} with the merge in the {ours.merge}: {reason}")
    missing = [ours for ours in wanted if not card_path(folder / ours.file).exists()]
    groups = dict.fromkeys((ours.side, ours.config, ours.precision) for ours in missing)
    with tempfile.TemporaryDirectory(dir=folder) as work, Conversions(Path(work), folder, num_workers=1) as conversions:
        for group in groups:
            network, card = _network(*group)
            for ours in (o for o in missing if (o.side, o.config, o.precision) == group):
                on_file(ours.file)
                runtime = get_runtime(ours.runtime)
                merge = config_from_dict(MergeConfig, {"upsample": ours.upsample}, where="merge")
                graph = DeployedGraph(network, merge=ours.merge, config=merge, is_thing=IS_THING)
                job = Job(runtime, ours.precision, ours.precision, ours.merge, ours.file)
                program = export_program(graph, runtime, (ours.side, ours.side))
                conversions.submit(program, job, folder / ours.file).result()
                write_card(folder / ours.file, card)


def make_lraspp(side: int, folder: Path) -> Path:
    """LR-ASPP of torchvision on MobileNetV3-Large with 21 classes, as ONNX through torch's exporter."""
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    path = folder / f"lraspp-{side}.onnx"
    if not card_path(path).exists():
        torch.manual_seed(0)
        network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21).eval()
        torch.onnx.export(
            _Out(network).eval(),
            (torch.zeros(1, 3, side, side),),
            str(path),
            dynamo=True,
            external_data=False,
            input_names=["images"],
            verbose=False,
        )
        write_card(path, Card(count_parameters(network), count_macs(network, (side, side))))
    return path


def make_yolo(name: str, side: int, folder: Path, python: Path) -> Path:
    """A YOLO segmentation network built from its yaml and written by Ultralytics' own program, its defaults untouched.

    Args:
        name: Such as `yolo26n-seg`.
        side: Height and width of the input.
        folder: For the file, and for Ultralytics' settings (synchronisation off).
        python: Of the peers' environment.

    Raises:
        InputError: No Ultralytics there.
        CheckError: It failed; its last words are in the message.
    """
    program = require_peers(python).with_name("yolo")
    path = folder / f"{name}-{side}.onnx"
    if not card_path(path).exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            _run([str(program), "settings", "sync=False"], Path(work))
            what = [f"model={name}.yaml", "format=onnx", f"imgsz={side}", "device=cpu"]
            _run([str(program), "export", *what], Path(work))
            Path(work, f"{name}.onnx").rename(path)
        write_card(path, Card(*onnx_cost(path)))
    return path


def require_peers(python: Path) -> Path:
    """The interpreter of the peers' environment.

    Raises:
        InputError: It is not there, or has no `yolo` beside it; the command that makes it is in the message.
    """
    for needed in (python, python.with_name("yolo")):
        if not needed.exists():
            environment = python.parent.parent
            raise InputError(
                f"{needed} does not exist; make the peers' environment with: python -m venv {environment} && "
                f"{python} -m pip install -r {REQUIREMENTS} -c constraints.txt"
            )
    return python


class _Out(nn.Module):
    """torchvision's segmentation networks return a dictionary."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.network(image)["out"]
        return out


def _network(side: int, config: str, precision: str) -> tuple[nn.Module, Card]:
    torch.manual_seed(0)
    model = build_model(_model_config(config), IS_THING, (side, side)).deployable()
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        if not norm.weight.any():  # training begins at zero there and leaves it, and zero has no integer grid
            nn.init.ones_(norm.weight)
    card = Card(count_parameters(model), count_macs(model, (side, side)))
    image = torch.rand(_NUM_CALIBRATION, 3, side, side) * 255
    if precision == FLOAT:
        return fold(model, image[:1]), card
    recipe = replace(find_recipe(precision), qat_steps=0)
    return deploy(quantize(model, recipe, calibration=[image])), card


def _model_config(config: str) -> ModelConfig:
    return ModelConfig() if config == DEFAULT else load_config(config).model


def _run(command: list[str], work: Path) -> None:
    settings = _QUIET | {"YOLO_CONFIG_DIR": str(work), "MPLCONFIGDIR": str(work)}
    try:
        done = subprocess.run(
            command, cwd=work, env=os.environ | settings, capture_output=True, text=True, timeout=_EXPORT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise CheckError(f"{' '.join(command)} did not end within {_EXPORT_SECONDS:.0f} s") from error
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise CheckError(f"{' '.join(command)} failed (exit {done.returncode}): {''.join(last) or 'no message'}")

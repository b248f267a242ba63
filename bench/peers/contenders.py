"""Who races: for each subject the file it needs, made if it is not there, and the command that starts its process."""

from __future__ import annotations

import sys
from pathlib import Path

from edgeseg.bench.peers.files import Ours, make_lraspp, make_yolo, require_peers
from edgeseg.bench.peers.race import Contender
from edgeseg.bench.peers.turns import SOURCES
from edgeseg.bench.station import write_worker

REFERENCE = "yolo26n-seg"
"""Whose network alone, in ONNX Runtime, everything is compared with."""

PEERS = (REFERENCE, "yolo11n-seg", "lraspp", "mask2former", "eomt")
"""Names of peers; YOLOs are names of Ultralytics' model files."""


def our_contender(ours: Ours, folder: Path, num_segments: int) -> Contender:
    """A file of ours that `make_ours` has made.

    Args:
        ours: The file.
        folder: Where it lies.
        num_segments: Slots that the merge is made to keep.
    """
    words = ["ours", str(folder / ours.file), str(ours.side), str(num_segments), ours.runtime]
    return Contender(f"edgeseg {Path(ours.config).stem}", ours.runtime, ours.precision, _subject(words))


def peer(name: str, side: int, folder: Path, *, python: Path, num_segments: int) -> Contender:
    """A peer; its file is made if it is not there.

    Args:
        name: Of `PEERS`.
        side: Height and width of the input.
        folder: For files.
        python: Of the peers' environment.
        num_segments: Segments that its post-processing is made to keep.

    Raises:
        InputError: There is no peers' environment.
        CheckError: The exporter failed.
    """
    numbers = [str(side), str(num_segments)]
    if name == "lraspp":
        return Contender(name, "onnx", "float32", _subject(["lraspp", str(make_lraspp(side, folder)), *numbers]))
    if name.startswith("yolo"):
        path = make_yolo(name, side, folder, python)
        return Contender(name, "onnx", "float32", _subject(["yolo", str(path), *numbers]))
    sources = write_worker(folder / "turns.zip", SOURCES)
    command = [str(require_peers(python)), "-m", "edgeseg.bench.peers.mask_transformers", name, *numbers]
    return Contender(name, "torch", "float32", command, {"PYTHONPATH": str(sources.resolve())})


def _subject(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "edgeseg.bench.peers.subjects", *words]

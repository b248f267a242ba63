"""The bundle: one folder with everything an app needs, each file under its checksum (docs/bundle.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgeseg.config import MergeConfig, config_from_dict
from edgeseg.export.runtimes import Coverage, MergeMode
from edgeseg.structures import Category, InputError

SCHEMA_VERSION = "1.0"
DESCRIPTION = "bundle.json"
WEIGHTS = "weights.safetensors"
VERIFY = "verify.json"
GOLDEN = "golden"
SUFFIX = ".edgeseg"


@dataclass(frozen=True)
class Verdict:
    """How far an artifact agrees with the torch model of its precision.

    Attributes:
        pixels_equal: Share of pixels, over all images, in the matching segment of the same category; 0..1.
        segments_found: Share of torch's segments that the artifact shows too, with the same category; 0..1.
        num_images: Images compared.
        num_segments: Segments in torch's answers; where it is 0, equal maps prove little.
        mask_logits_max_abs: Largest difference of a mask logit on the images whose logits are kept; None with the merge
            in the graph.
        engine: What ran the file.
        lower_quartile: `pixels_equal` of single images, the value that a quarter of them is below.
    """

    pixels_equal: float
    segments_found: float
    num_images: int
    num_segments: int
    mask_logits_max_abs: float | None
    engine: str
    lower_quartile: float | None = None


@dataclass(frozen=True)
class Artifact:
    """One file (or package folder) for one runtime at one precision.

    Attributes:
        file: Relative to the bundle.
        runtime: Registry name.
        precision: `float32`, `int8`, ...
        merge: Where the panoptic merge runs.
        input: `image_uint8_nhwc`, or `pixels`: the platform's own RGB image.
        bytes: Size; of a package, all its files together.
        sha256: Of the file; of a package, see `checksum`.
        coverage: What the runtime's accelerator library took.
        verify: Agreement with torch when it was exported.
    """

    file: str
    runtime: str
    precision: str
    merge: MergeMode
    input: str
    bytes: int
    sha256: str
    coverage: Coverage
    verify: Verdict


@dataclass(frozen=True)
class Bundle:
    """An opened bundle, all checksums confirmed.

    Attributes:
        path: Its folder.
        name: What it was exported as.
        image_size: (height, width) of the network's input.
        num_slots: N.
        categories: By contiguous index.
        merge: Thresholds; frozen into artifacts with the merge inside.
        config: The experiment, as plain values.
        metrics: As handed over at export.
        tools: Versions of what made it.
        licence: Of the weights.
        artifacts: In the order of bundle.json.
    """

    path: Path
    name: str
    image_size: tuple[int, int]
    num_slots: int
    categories: tuple[Category, ...]
    merge: MergeConfig
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    tools: Mapping[str, str]
    licence: str
    artifacts: tuple[Artifact, ...]

    def find(self, runtime: str | None = None, precision: str | None = None) -> Artifact:
        """The artifact asked for; without a precision int8 goes first, without a runtime the first one listed.

        Raises:
            InputError: There is none; names what there is.
        """
        fitting = [
            artifact
            for artifact in self.artifacts
            if runtime in (None, artifact.runtime) and precision in (None, artifact.precision)
        ]
        if not fitting:
            held = ", ".join(f"{artifact.runtime} {artifact.precision}" for artifact in self.artifacts)
            wanted = " ".join(word for word in (runtime, precision) if word)
            raise InputError(f"{self.path} holds no artifact for {wanted}; it holds {held}")
        return min(fitting, key=lambda artifact: artifact.precision != "int8")


def open_bundle(path: Path) -> Bundle:
    """Reads a bundle and compares every file with its checksum.

    Raises:
        InputError: Not a bundle, of another schema, or a file missing or changed; names the file.
    """
    table = read_description(path)
    for file, sha256 in _checksums(table, path).items():
        target = path / file
        if not target.exists():
            raise InputError(f"{target} is missing, {DESCRIPTION} lists it; export the bundle again")
        if checksum(target) != sha256:
            raise InputError(f"{target} was changed after the export (sha256 differs); export the bundle again")
    return _from_table(table, path)


def read_description(path: Path) -> dict[str, Any]:
    """The plain bundle.json, schema checked, files not."""
    file = path / DESCRIPTION
    if not file.is_file():
        raise InputError(f"{path} is not a bundle: it has no {DESCRIPTION}; make one with edgeseg export")
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is not JSON: {error}; export the bundle again") from error
    version = table.get("schema_version") if isinstance(table, dict) else None
    if not isinstance(version, str) or version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise InputError(f"{file} has schema_version {version!r}, this edgeseg reads {SCHEMA_VERSION}; update edgeseg")
    assert isinstance(table, dict)
    return table


def to_table(bundle: Bundle, *, files: Mapping[str, str]) -> dict[str, Any]:
    """What bundle.json holds.

    Args:
        bundle: To be written; its path is left out.
        files: sha256 by relative path of everything but the artifacts.
    """
    height, width = bundle.image_size
    map_height, map_width = (side // 4 * bundle.merge.upsample for side in bundle.image_size)
    slots, columns = bundle.num_slots, len(bundle.categories) + 1
    return {
        "schema_version": SCHEMA_VERSION,
        "name": bundle.name,
        "input": {
            "name": "image",
            "size": [height, width],
            "layout": "NHWC",
            "dtype": "uint8",
            "channels": "RGB",
            "fit": "letterbox",
        },
        "normalisation": "inside the graph",
        "outputs": {
            "graph": [
                {"name": "slot_map", "dtype": "uint8", "shape": [1, map_height, map_width], "void": 255},
                {"name": "slot_category", "dtype": "int32", "shape": [1, slots], "empty": -1},
                {"name": "slot_score", "dtype": "float32", "shape": [1, slots]},
            ],
            "app": [
                {"name": "mask_logits", "dtype": "float32", "shape": [1, slots, height // 4, width // 4]},
                {"name": "class_logits", "dtype": "float32", "shape": [1, slots, columns]},
            ],
        },
        "num_slots": slots,
        "categories": [{"index": index} | asdict(category) for index, category in enumerate(bundle.categories)],
        "merge": asdict(bundle.merge),
        "config": dict(bundle.config),
        "metrics": dict(bundle.metrics),
        "tools": dict(bundle.tools),
        "licence": bundle.licence,
        "artifacts": [asdict(artifact) for artifact in bundle.artifacts],
        "files": dict(files),
    }


def checksum(path: Path) -> str:
    """sha256 of a file; of a folder, of its sorted lines `sha256  relative/path`, as sha256sum prints them."""
    if path.is_file():
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    inside = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{checksum(file)}  {file.relative_to(path).as_posix()}\n" for file in inside]
    return hashlib.sha256("".join(sorted(lines, key=lambda line: line[66:])).encode()).hexdigest()


def size_bytes(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _checksums(table: dict[str, Any], path: Path) -> dict[str, str]:
    try:
        files: dict[str, str] = dict(table["files"])
        files |= {artifact["file"]: artifact["sha256"] for artifact in table["artifacts"]}
    except (KeyError, TypeError) as error:
        raise InputError(f"{path / DESCRIPTION} lists no checksums ({error}); export the bundle again") from error
    for file in files:
        if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
            raise InputError(f"{path / DESCRIPTION} lists {file}, which is outside the bundle; do not trust it")
    return files


def _from_table(table: dict[str, Any], path: Path) -> Bundle:
    try:
        height, width = table["input"]["size"]
        return Bundle(
            path=path,
            name=table["name"],
            image_size=(height, width),
            num_slots=table["num_slots"],
            categories=tuple(_category(row) for row in table["categories"]),
            merge=config_from_dict(MergeConfig, table["merge"], where=f"{path / DESCRIPTION}: merge"),
            config=table["config"],
            metrics=table["metrics"],
            tools=table["tools"],
            licence=table["licence"],
            artifacts=tuple(_artifact(row) for row in table["artifacts"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path / DESCRIPTION} is not as docs/bundle.md says: {error!r}; export it again") from error


def _category(row: dict[str, Any]) -> Category:
    red, green, blue = row["color"]
    return Category(id=row["id"], name=row["name"], is_thing=row["is_thing"], color=(red, green, blue))


def _artifact(row: dict[str, Any]) -> Artifact:
    return Artifact(**row | {"coverage": Coverage(**row["coverage"]), "verify": Verdict(**row["verify"])})

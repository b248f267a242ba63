"""The bundle: one folder with everything an app needs, each file under its checksum (docs/bundle.md)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgeseg.config import MergeConfig
from edgeseg.export.inside import why_outside
from edgeseg.export.runtimes import Coverage, MergeMode
from edgeseg.structures import Category, InputError

SCHEMA_VERSION = "1.1"
DESCRIPTION = "bundle.json"
WEIGHTS = "weights.safetensors"
VERIFY = "verify.json"
GOLDEN = "golden"
SUFFIX = ".edgeseg"
SCHEMA = Path(__file__).parent / "bundle.schema.json"
"""JSON Schema (draft 2020-12) of bundle.json, for readers in other languages; it goes with the wheel."""

Share = Annotated[float, Meta(ge=0, le=1)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


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
        lower_quartile: Share of equal and tied pixels of single images, the value that a quarter of them is below.
        pixels_tied: Share of pixels that differ where torch's own logits of the two slots are nearly equal; 0..1.
        scores_median_abs: Median difference of a score, over the segments that both show; None where there is none.
        mask_logits_ratio: Root mean square of the artifact's mask logits over that of torch's; None with the merge in
            the graph.
    """

    pixels_equal: Share
    segments_found: Share
    num_images: int
    num_segments: int
    mask_logits_max_abs: float | None
    engine: str
    lower_quartile: float | None = None
    pixels_tied: float = 0.0
    scores_median_abs: float | None = None
    mask_logits_ratio: float | None = None


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
        stored: Entries of the constants in the file by type: how its weights are stored. Empty where the file hides it.
    """

    file: str
    runtime: str
    precision: str
    merge: MergeMode
    input: str
    bytes: int
    sha256: Sha256
    coverage: Coverage
    verify: Verdict
    stored: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class GoldenFiles:
    """An image with torch's answers.

    Attributes:
        image: PNG of the network's size, relative to the bundle.
        answers: By precision, relative to the bundle.
    """

    image: str
    answers: Mapping[str, str]


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

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
        goldens: Images that artifacts are judged on.
        provenance: When, from which commit, checkpoints and data it was made.
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
    goldens: tuple[GoldenFiles, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def find(
        self, runtime: str | None = None, precision: str | None = None, merge: MergeMode | None = None
    ) -> Artifact:
        """The artifact asked for; without a precision int8 goes first, without a runtime the first one listed.

        Raises:
            InputError: There is none; names what there is.
        """
        fitting = [
            artifact
            for artifact in self.artifacts
            if runtime in (None, artifact.runtime)
            and precision in (None, artifact.precision)
            and merge in (None, artifact.merge)
        ]
        if not fitting:
            held = ", ".join(f"{one.runtime} {one.precision}" + f" {one.merge}" * bool(merge) for one in self.artifacts)
            wanted = " ".join(word for word in (runtime, precision, merge and f"with merge {merge}") if word)
            raise InputError(f"{self.path} holds no artifact for {wanted}; it holds {held}")
        return min(fitting, key=lambda artifact: artifact.precision != "int8")


def open_bundle(path: Path) -> Bundle:
    """Reads a bundle and compares every file with its checksum.

    Raises:
        InputError: Not a bundle, of another schema, or a file missing, truncated, changed, or outside; names the file.
    """
    table = read_description(path)
    bundle = parse_bundle(table, path)
    wrong = [f"{path / file} {problem}" for file, problem in file_problems(table, path).items() if problem]
    if wrong:
        more = f" (and {len(wrong) - 1} more, see edgeseg inspect {path})" if len(wrong) > 1 else ""
        raise InputError(f"{wrong[0]}{more}; export the bundle again")
    return bundle


def read_description(path: Path) -> dict[str, Any]:
    """The plain bundle.json, schema version checked, nothing else.

    Raises:
        InputError: No bundle, no JSON, or of a schema that this edgeseg does not read; says which one does.
    """
    file = path / DESCRIPTION
    if not file.is_file():
        problem = f"is not a bundle: it has no {DESCRIPTION}" if path.exists() else "does not exist"
        raise InputError(f"{path} {problem}; make one with edgeseg export")
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is not JSON: {error}; export the bundle again") from error
    major = SCHEMA_VERSION.split(".")[0]
    version = table.get("schema_version") if isinstance(table, dict) else None
    if not isinstance(version, str) or not re.fullmatch(rf"{major}\.\d+", version):
        raise InputError(f"{file} has schema_version {version!r}, this edgeseg reads {major}.x; {_who_reads(table)}")
    assert isinstance(table, dict)
    return table


def parse_bundle(table: dict[str, Any], path: Path) -> Bundle:
    """What a description says, its files not looked at; keys that this edgeseg does not know are left alone.

    Raises:
        InputError: A key is missing or of another kind than docs/bundle.md says; names it.
    """
    is_first = table["schema_version"] == "1.0"
    try:
        read = msgspec.convert(table, _Table)
        for place, wanted in (("$", set() if is_first else _SINCE_1_1), ("$.merge", _THRESHOLDS)):
            if missing := sorted(wanted - (table if place == "$" else table["merge"]).keys()):
                raise ValueError(f"Object missing required field `{missing[0]}` - at `{place}`")
        if [category.index for category in read.categories] != list(range(len(read.categories))):
            raise ValueError("Categories not in the order of their index - at `$.categories`")
    except ValueError as error:
        raise InputError(f"{path / DESCRIPTION} is not as docs/bundle.md says: {error}; export it again") from error
    return Bundle(
        path=path,
        name=read.name,
        image_size=read.input.size,
        num_slots=read.num_slots,
        categories=tuple(Category(row.id, row.name, row.is_thing, row.color) for row in read.categories),
        merge=read.merge,
        config=read.config,
        metrics=read.metrics,
        tools=read.tools,
        licence=read.licence,
        artifacts=read.artifacts,
        goldens=_goldens_by_name(table) if is_first else read.golden,
        provenance=read.provenance,
    )


def file_problems(table: dict[str, Any], path: Path) -> dict[str, str]:
    """What is wrong with each file that a description lists, against its size and checksum; empty where nothing is.

    Raises:
        InputError: A path leads out of the bundle; no file is read then.
    """
    artifacts = {row["file"]: row for row in table["artifacts"]}
    checksums = table["files"] | {file: row["sha256"] for file, row in artifacts.items()}
    listed = [
        *checksums,
        *(file for row in table.get("golden", ()) for file in (row["image"], *row["answers"].values())),
    ]
    for file in listed:
        if reason := why_outside(path, file):
            raise InputError(
                f"{path / DESCRIPTION} lists {file!r}, which is outside the bundle ({reason}); do not trust it"
            )
    problems = {}
    for file in dict.fromkeys(listed):
        target = path / file
        size = artifacts[file]["bytes"] if file in artifacts else None
        if not target.exists():
            problems[file] = f"is missing, {DESCRIPTION} lists it"
        elif file not in checksums:
            problems[file] = f"has no checksum in {DESCRIPTION}"
        elif size is not None and (found := size_bytes(target)) < size:
            problems[file] = f"is truncated: {found} of {size} bytes"
        else:
            problems[file] = (
                "" if checksum(target) == checksums[file] else "was changed after the export (sha256 differs)"
            )
    return problems


def to_table(bundle: Bundle, *, files: Mapping[str, str]) -> dict[str, Any]:
    """What bundle.json holds.

    Args:
        bundle: To be written; its path is left out.
        files: sha256 by relative path of everything but the artifacts.
    """
    height, width = bundle.image_size
    map_height, map_width = map_size(bundle)
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
        "provenance": dict(bundle.provenance),
        "artifacts": [asdict(artifact) for artifact in bundle.artifacts],
        "golden": [asdict(golden) for golden in bundle.goldens],
        "files": dict(files),
    }


def map_size(bundle: Bundle) -> tuple[int, int]:
    """(height, width) of its slot maps."""
    height, width = (side // 4 * bundle.merge.upsample for side in bundle.image_size)
    return height, width


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


@dataclass(frozen=True)
class _Input:
    size: tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]]
    layout: Literal["NHWC"]
    dtype: Literal["uint8"]
    channels: Literal["RGB"]
    fit: Literal["letterbox"]


_Byte = Annotated[int, Meta(ge=0, le=255)]


@dataclass(frozen=True)
class _Category:
    index: int
    id: int
    name: str
    is_thing: bool
    color: tuple[_Byte, _Byte, _Byte]


_SINCE_1_1 = {"golden", "provenance"}
_THRESHOLDS = {"thing_threshold", "stuff_threshold", "min_area", "upsample"}
"""Of the merge, in every 1.x; a later key of MergeConfig that a bundle does not hold has its default."""


@dataclass(frozen=True)
class _Table:
    """Keys of bundle.json that this edgeseg reads."""

    name: str
    input: _Input
    num_slots: Annotated[int, Meta(ge=1, le=254)]
    categories: Annotated[tuple[_Category, ...], Meta(min_length=1)]
    merge: MergeConfig
    config: dict[str, Any]
    metrics: dict[str, Any]
    tools: dict[str, str]
    licence: str
    artifacts: Annotated[tuple[Artifact, ...], Meta(min_length=1)]
    files: dict[str, Sha256]
    golden: tuple[GoldenFiles, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)


def _who_reads(table: object) -> str:
    """The install command of an edgeseg that reads a table of another schema: the one that wrote it, if it says so."""
    tools = table.get("tools") if isinstance(table, dict) else None
    writer = tools.get("edgeseg") if isinstance(tools, dict) else None
    if isinstance(writer, str) and re.fullmatch(r"\d[\w.+-]*", writer):
        return f"edgeseg {writer} wrote it and reads it: pip install 'edgeseg=={writer}'"
    return "it does not say which edgeseg wrote it; update edgeseg"


def _goldens_by_name(table: dict[str, Any]) -> tuple[GoldenFiles, ...]:
    """Schema 1.0 did not list golden files: golden/NNN.png went with golden/NNN.PRECISION.npz."""
    precisions = dict.fromkeys(row["precision"] for row in table["artifacts"])
    images = sorted(file for file in table["files"] if re.fullmatch(rf"{GOLDEN}/\d{{3}}\.png", file))
    found = []
    for image in images:
        answers = {precision: image.replace(".png", f".{precision}.npz") for precision in precisions}
        found.append(GoldenFiles(image, {p: file for p, file in answers.items() if file in table["files"]}))
    return tuple(found)

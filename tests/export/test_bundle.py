from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from edgeseg.config import MergeConfig
from edgeseg.export.bundle import (
    SCHEMA,
    Artifact,
    Bundle,
    GoldenFiles,
    Verdict,
    checksum,
    open_bundle,
    size_bytes,
    to_table,
)
from edgeseg.export.runtimes import Coverage
from edgeseg.structures import Category, InputError

SPEC = Path(__file__).parents[2] / "apps" / "spec"

GOLDEN_FILES = ("golden/000.png", "golden/000.float32.npz", "golden/000.int8.npz")
VERDICT = Verdict(1.0, 1.0, num_images=2, num_segments=5, mask_logits_max_abs=None, engine="none")


def artifact(folder: Path, file: str, runtime: str, precision: str) -> Artifact:
    return Artifact(
        file=file,
        runtime=runtime,
        precision=precision,
        merge="graph",
        input="image_uint8_nhwc",
        bytes=size_bytes(folder / file),
        sha256=checksum(folder / file),
        coverage=Coverage("XNNPACK", 1, {"CAST": 1}, None),
        verify=VERDICT,
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle on disk whose artifacts are a file and a package folder with made-up bytes."""
    folder = tmp_path / "street.edgeseg"
    package = folder / "street.float32.mlpackage"
    (package / "Data").mkdir(parents=True)
    (package / "Data" / "model.mlmodel").write_bytes(b"model")
    (package / "Manifest.json").write_bytes(b"{}")
    (folder / "street.float32.onnx").write_bytes(b"float")
    (folder / "street.int8.onnx").write_bytes(b"int8")
    (folder / "verify.json").write_bytes(b"{}")
    (folder / "golden").mkdir()
    for file in GOLDEN_FILES:
        (folder / file).write_bytes(b"golden")
    made = Bundle(
        path=folder,
        name="street",
        image_size=(64, 96),
        num_slots=8,
        categories=(Category(7, "road", False, (1, 2, 3)), Category(9, "car", True, (4, 5, 6))),
        merge=MergeConfig(thing_threshold=0.4, upsample=4),
        config={"data": {"image_size": [64, 96]}},
        metrics={"float32": {"pq": 0.5}},
        tools={"torch": "2.14.0"},
        licence="CC0-1.0",
        artifacts=(
            artifact(folder, "street.float32.mlpackage", "coreml", "float32"),
            artifact(folder, "street.float32.onnx", "onnx", "float32"),
            artifact(folder, "street.int8.onnx", "onnx", "int8"),
        ),
        goldens=(GoldenFiles(GOLDEN_FILES[0], {"float32": GOLDEN_FILES[1], "int8": GOLDEN_FILES[2]}),),
        provenance={
            "time_utc": "2026-02-03T04:05:06+00:00",
            "commit": "0123abcd",
            "checkpoints": {"float32": {"file": "best.safetensors", "sha256": "0" * 64, "step": 9}},
            "data": {"name": "street", "format": "coco", "images": {"val": 40}},
        },
    )
    table = to_table(made, files={file: checksum(folder / file) for file in ("verify.json", *GOLDEN_FILES)})
    (folder / "bundle.json").write_text(json.dumps(table))
    return made


def faults(table: object) -> list[ValidationError]:
    """What the committed schema finds wrong."""
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    return list(Draft202012Validator(schema).iter_errors(table))


def edit(bundle: Bundle, **changes: Any) -> None:
    file = bundle.path / "bundle.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_bundle_reads_back_as_it_was_written(bundle: Bundle) -> None:
    assert open_bundle(bundle.path) == bundle


def test_description_states_the_shape_of_the_slot_map(bundle: Bundle) -> None:
    """64 x 96 at stride 4, enlarged by 4."""
    table = json.loads((bundle.path / "bundle.json").read_text())
    assert table["outputs"]["graph"][0]["shape"] == [1, 64, 96]
    assert table["outputs"]["app"][0]["shape"] == [1, 8, 16, 24]
    assert table["outputs"]["app"][1]["shape"] == [1, 8, 3]
    assert table["schema_version"] == "1.1"


@pytest.mark.parametrize("file", ["street.int8.onnx", "verify.json", "street.float32.mlpackage/Data/model.mlmodel"])
def test_changed_byte_is_refused_by_name(bundle: Bundle, file: str) -> None:
    content = bytearray((bundle.path / file).read_bytes())
    content[0] ^= 1
    (bundle.path / file).write_bytes(content)
    with pytest.raises(InputError, match=f"{file.split('/')[0]} was changed"):
        open_bundle(bundle.path)


def test_file_added_to_a_package_is_refused(bundle: Bundle) -> None:
    (bundle.path / "street.float32.mlpackage" / "extra").write_bytes(b"")
    with pytest.raises(InputError, match="mlpackage was changed"):
        open_bundle(bundle.path)


def test_missing_file_is_refused_by_name(bundle: Bundle) -> None:
    (bundle.path / "street.float32.onnx").unlink()
    with pytest.raises(InputError, match=r"street\.float32\.onnx is missing"):
        open_bundle(bundle.path)


def test_truncated_artifact_is_named_with_both_sizes(bundle: Bundle) -> None:
    (bundle.path / "street.float32.onnx").write_bytes(b"flo")
    with pytest.raises(InputError, match=r"street\.float32\.onnx is truncated: 3 of 5 bytes; export"):
        open_bundle(bundle.path)


def test_more_wrong_files_are_counted_in_the_same_line(bundle: Bundle) -> None:
    (bundle.path / "street.float32.onnx").unlink()
    (bundle.path / "golden/000.png").write_bytes(b"Golden")
    with pytest.raises(InputError, match=r"000\.png was changed .*and 1 more, see edgeseg inspect"):
        open_bundle(bundle.path)


def test_golden_file_without_a_checksum_is_refused(bundle: Bundle) -> None:
    edit(bundle, files={"verify.json": checksum(bundle.path / "verify.json")})
    with pytest.raises(InputError, match=r"golden/000\.png has no checksum"):
        open_bundle(bundle.path)


OUTSIDE = [
    "../secret",
    "/etc/passwd",
    "golden/../../secret",
    "..",
    ".",
    "",
    "./a",
    "a//b",
    "a/",
    "a\\..\\b",
    "C:a",
    "a\0",
]


@pytest.mark.parametrize("file", OUTSIDE)
@pytest.mark.parametrize("place", ["artifact", "file", "golden image", "golden answer"])
def test_file_outside_the_bundle_is_refused_before_any_file_is_read(bundle: Bundle, file: str, place: str) -> None:
    table = json.loads((bundle.path / "bundle.json").read_text())
    if place == "artifact":
        table["artifacts"][1]["file"] = file
    elif place == "file":
        table["files"][file] = "0" * 64
    elif place == "golden image":
        table["golden"][0]["image"] = file
    else:
        table["golden"][0]["answers"]["int8"] = file
    edit(bundle, **table)
    with pytest.raises(InputError, match="outside the bundle"):
        open_bundle(bundle.path)
    assert faults(table), "the schema allows it"


@pytest.mark.parametrize("link", ["street.float32.onnx", "street.float32.mlpackage/Manifest.json", "golden"])
def test_a_link_out_of_the_bundle_is_refused_though_its_checksum_fits(bundle: Bundle, link: str) -> None:
    """The same bytes, elsewhere: they could be changed after the check."""
    inside, outside = bundle.path / link, bundle.path.parent / "outside"
    inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(InputError, match=r"outside the bundle \(a link\)"):
        open_bundle(bundle.path)


@pytest.mark.parametrize("version", ["2.0", "0.9", "1", "1.x", "11.0", None, 1])
def test_other_schema_is_refused(bundle: Bundle, version: object) -> None:
    edit(bundle, schema_version=version)
    with pytest.raises(InputError, match=r"schema_version .* reads 1\.x; it does not say which edgeseg wrote it"):
        open_bundle(bundle.path)


def test_newer_major_schema_names_the_edgeseg_that_reads_it(bundle: Bundle) -> None:
    edit(bundle, schema_version="2.0", tools={"edgeseg": "3.1.4"})
    with pytest.raises(InputError, match=r"reads 1\.x; edgeseg 3\.1\.4 wrote it and reads it: pip install 'edgeseg==3"):
        open_bundle(bundle.path)


def test_no_command_is_made_of_what_is_no_version(bundle: Bundle) -> None:
    edit(bundle, schema_version="2.0", tools={"edgeseg": "1'; rm -rf ~ #"})
    with pytest.raises(InputError, match=r"update edgeseg$"):
        open_bundle(bundle.path)


def test_later_minor_schema_is_read_whatever_it_adds(bundle: Bundle) -> None:
    """At the top and inside every table that this version reads."""
    table = json.loads((bundle.path / "bundle.json").read_text())
    places = [table, table["input"], table["categories"][0], table["merge"], table["artifacts"][0], table["golden"][0]]
    places += [table["artifacts"][0]["coverage"], table["artifacts"][0]["verify"], table["provenance"]]
    for place in places:
        place["added_later"] = {"a": [1]}
    edit(bundle, **table | {"schema_version": "1.7"})
    assert faults(json.loads((bundle.path / "bundle.json").read_text())) == []
    read = open_bundle(bundle.path)
    assert replace(read, provenance=bundle.provenance) == bundle


def test_schema_1_0_is_read_its_golden_files_found_by_the_rule_of_their_names(bundle: Bundle) -> None:
    table = json.loads((bundle.path / "bundle.json").read_text())
    older = {key: value for key, value in table.items() if key not in ("golden", "provenance")} | {
        "schema_version": "1.0"
    }
    (bundle.path / "bundle.json").write_text(json.dumps(older))
    assert faults(older) == []
    assert open_bundle(bundle.path) == replace(bundle, provenance={})


FAULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no name": lambda t: t.pop("name"),
    "no categories": lambda t: t.update(categories=[]),
    "category without a name": lambda t: t["categories"][0].pop("name"),
    "color of two": lambda t: t["categories"][0].update(color=[1, 2]),
    "color too bright": lambda t: t["categories"][0].update(color=[1, 2, 256]),
    "is_thing as a number": lambda t: t["categories"][0].update(is_thing=1),
    "size in words": lambda t: t["input"].update(size=["64", 96]),
    "size of nothing": lambda t: t["input"].update(size=[0, 96]),
    "other layout": lambda t: t["input"].update(layout="NCHW"),
    "other channels": lambda t: t["input"].update(channels="BGR"),
    "255 slots": lambda t: t.update(num_slots=255),
    "upsample 3": lambda t: t["merge"].update(upsample=3),
    "no threshold": lambda t: t["merge"].pop("stuff_threshold"),
    "no artifacts": lambda t: t.update(artifacts=[]),
    "artifact without checksum": lambda t: t["artifacts"][0].pop("sha256"),
    "checksum too short": lambda t: t["artifacts"][0].update(sha256="0" * 63),
    "bytes in words": lambda t: t["artifacts"][0].update(bytes="4"),
    "merge elsewhere": lambda t: t["artifacts"][0].update(merge="cloud"),
    "coverage in words": lambda t: t["artifacts"][0].update(coverage="all"),
    "share above one": lambda t: t["artifacts"][0]["verify"].update(pixels_equal=1.5),
    "golden without answers": lambda t: t["golden"][0].pop("answers"),
    "files as a list": lambda t: t.update(files=[]),
    "checksum of a file too short": lambda t: t["files"].update({"verify.json": "0"}),
    "licence of none": lambda t: t.update(licence=None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_one_line_here_and_seen_by_the_schema(bundle: Bundle, fault: str) -> None:
    table = json.loads((bundle.path / "bundle.json").read_text())
    assert faults(table) == []
    FAULTS[fault](table)
    (bundle.path / "bundle.json").write_text(json.dumps(table))
    assert len(faults(table)) == 1
    with pytest.raises(InputError, match=r"not as docs/bundle\.md says: [^\n]*; export it again"):
        open_bundle(bundle.path)


def test_categories_out_of_order_are_refused_though_a_schema_cannot_say_it(bundle: Bundle) -> None:
    table = json.loads((bundle.path / "bundle.json").read_text())
    edit(bundle, categories=table["categories"][::-1])
    with pytest.raises(InputError, match="not in the order of their index"):
        open_bundle(bundle.path)


@pytest.mark.parametrize("key", ["golden", "provenance"])
def test_schema_1_1_wants_what_1_0_did_not_have(bundle: Bundle, key: str) -> None:
    table = json.loads((bundle.path / "bundle.json").read_text())
    del table[key]
    assert [error.message for error in faults(table)] == [f"'{key}' is a required property"]
    (bundle.path / "bundle.json").write_text(json.dumps(table))
    with pytest.raises(InputError, match=f"required field `{key}`"):
        open_bundle(bundle.path)


@pytest.mark.parametrize("example", [SPEC / "tiny.edgeseg/bundle.json", *SPEC.glob("descriptions.json")])
def test_committed_descriptions_keep_to_the_schema(example: Path) -> None:
    """The bundle that the apps test with, and the description that every language's reader accepts."""
    table = json.loads(example.read_text())
    good = (
        [json.loads(case["text"]) for case in table["cases"] if case["error"] is None] if "cases" in table else [table]
    )
    assert good
    assert [faults(each) for each in good] == [[]] * len(good)


def test_the_bundles_of_the_bench_tests_keep_to_the_schema(tmp_path: Path) -> None:
    from tests.bench.tiny import write_bundle

    assert faults(json.loads((write_bundle(tmp_path) / "bundle.json").read_text())) == []


def test_reading_and_inspecting_a_bundle_need_no_torch(bundle: Bundle) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from edgeseg.cli import main; from edgeseg.export.bundle import open_bundle;"
        "open_bundle(Path(sys.argv[1])); assert main(['inspect', sys.argv[1]]) == 0;"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code, str(bundle.path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "street: 64 x 96" in done.stdout


def test_folder_without_description_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a bundle"):
        open_bundle(tmp_path)


def test_description_that_is_not_json_is_refused(bundle: Bundle) -> None:
    (bundle.path / "bundle.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        open_bundle(bundle.path)


def test_int8_goes_first_unless_a_precision_is_named(bundle: Bundle) -> None:
    assert bundle.find().file == "street.int8.onnx"
    assert bundle.find("onnx", "float32").file == "street.float32.onnx"
    assert bundle.find("coreml").file == "street.float32.mlpackage"


def test_artifact_that_is_not_there_is_refused_with_what_is(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="litert; it holds coreml float32, onnx float32, onnx int8"):
        bundle.find("litert")


def test_checksum_of_a_folder_is_that_of_its_sha256sum_listing(tmp_path: Path) -> None:
    """The same as `find . -type f | sort | xargs sha256sum | sha256sum`, with paths relative to the folder."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"one")
    (tmp_path / "b.txt").write_bytes(b"two")
    lines = [(path, hashlib.sha256(content).hexdigest()) for path, content in (("b.txt", b"two"), ("b/c", b"one"))]
    listing = "".join(f"{digest}  {path}\n" for path, digest in lines)
    assert checksum(tmp_path) == hashlib.sha256(listing.encode()).hexdigest()
    assert size_bytes(tmp_path) == 6

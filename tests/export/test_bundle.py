from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from edgeseg.config import MergeConfig
from edgeseg.export.bundle import Artifact, Bundle, Verdict, checksum, open_bundle, size_bytes, to_table
from edgeseg.export.runtimes import Coverage
from edgeseg.structures import Category, InputError

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
    )
    table = to_table(made, files={"verify.json": checksum(folder / "verify.json")})
    (folder / "bundle.json").write_text(json.dumps(table))
    return made


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
    assert table["schema_version"] == "1.0"


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


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd"])
def test_file_outside_the_bundle_is_refused(bundle: Bundle, file: str) -> None:
    edit(bundle, files={file: "0" * 64})
    with pytest.raises(InputError, match="outside the bundle"):
        open_bundle(bundle.path)


@pytest.mark.parametrize("version", ["2.0", None, 1])
def test_other_schema_is_refused(bundle: Bundle, version: object) -> None:
    edit(bundle, schema_version=version)
    with pytest.raises(InputError, match="schema_version"):
        open_bundle(bundle.path)


def test_later_minor_schema_is_read(bundle: Bundle) -> None:
    edit(bundle, schema_version="1.7")
    assert open_bundle(bundle.path) == bundle


def test_missing_entry_is_one_line(bundle: Bundle) -> None:
    edit(bundle, categories=[{"id": 1}])
    with pytest.raises(InputError, match=r"not as docs/bundle\.md says"):
        open_bundle(bundle.path)


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

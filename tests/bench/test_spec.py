from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.bench.measurement import read_measurements
from edgeseg.bench.spec import write_spec
from edgeseg.bench.spec_merge import merge_cases
from edgeseg.bench.spec_picture import CATEGORIES, letterbox, overlay, scene, slot_colors
from edgeseg.bench.spec_records import example_measurement, measurement_schema
from edgeseg.data.transforms import letterbox as opencv_letterbox
from edgeseg.export.bundle import open_bundle, read_description
from edgeseg.export.ladder import verify_bundle
from edgeseg.merge import upsample_bilinear
from edgeseg.structures import InputError

SPEC = Path(__file__).parents[2] / "apps" / "spec"
BY_HAND = {"README.md", "tiny.edgeseg"}


def cases(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((SPEC / name).read_text(encoding="utf-8"))["cases"]
    return found


def test_the_committed_specification_is_what_the_command_writes(tmp_path: Path) -> None:
    written = {path.relative_to(tmp_path): path.read_bytes() for path in write_spec(tmp_path)}
    kept = {path.relative_to(SPEC): path.read_bytes() for path in SPEC.rglob("*") if path.is_file()}
    kept = {path: content for path, content in kept.items() if path.parts[0] not in BY_HAND}
    assert sorted(kept) == sorted(written)
    assert [path for path in kept if kept[path] != written[path]] == []


def test_the_readme_names_every_file() -> None:
    readme = (SPEC / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in SPEC.glob("*.json") if f"`{path.name}`" not in readme] == []


@settings(max_examples=60, deadline=None)
@given(
    photo=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    network=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    seed=st.integers(0, 2**16),
)
def test_the_apps_letterbox_is_opencvs_to_one_level(
    photo: tuple[int, int], network: tuple[int, int], seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (*photo, 3), dtype=np.uint8)
    size = (network[0] * 4, network[1] * 4)
    difference = letterbox(image, size).astype(int) - opencv_letterbox(image, size)[0]
    assert np.abs(difference).max() <= 1


def test_a_letterboxed_pixel_is_the_rounded_mean_of_what_it_covers() -> None:
    """3 x 2 into 2 x 1: the middle row counts half in each. 65 / 3 and 146 / 3."""
    image = np.repeat(np.array([[10, 20], [30, 40], [50, 61]], dtype=np.uint8)[..., None], 3, axis=2)
    small = letterbox(image, (2, 4))[..., 0]
    assert small[:, 0].tolist() == [22, 49]
    assert small[:, 1:].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_no_merge_case_hangs_on_the_last_bit() -> None:
    """A pixel's two best logits tie exactly or differ by more than rounding; so do scores and thresholds."""
    for case in merge_cases():
        exponential = np.exp(case.class_logits.astype(np.float64) - case.class_logits.max(axis=1, keepdims=True))
        probability = (exponential / exponential.sum(axis=1, keepdims=True))[:, :-1]
        kinds = [case.merge.thing_threshold if thing else case.merge.stuff_threshold for thing in case.is_thing]
        away = np.abs(probability.max(axis=1) - np.array(kinds)[probability.argmax(axis=1)])
        assert all(distance > 1e-4 or distance < 1e-6 for distance in away), case.name
        kept = np.flatnonzero(probability.max(axis=1) >= np.array(kinds)[probability.argmax(axis=1)] - 1e-6)
        if case.name == "random_floats":
            first, second = np.sort(upsample_bilinear(case.mask_logits[kept], case.merge.upsample), axis=0)[[-1, -2]]
            assert (first - second).min() > 1e-5
        else:
            assert (case.mask_logits * 16 == np.round(case.mask_logits * 16)).all()
            assert np.abs(case.mask_logits).max() <= 8


def test_outlines_are_where_a_neighbour_is_of_another_segment() -> None:
    """Pixel by pixel, with the categories of the slots: all slots of a stuff category are one segment."""
    merged = scene(3, network=(32, 48), upsample=2, num_slots=12)
    picture = overlay(merged, merged.slot_map, CATEGORIES, opacity=0.5, outlines=True)
    colors = slot_colors(merged, CATEGORIES)
    height, width = merged.slot_map.shape

    def segment(y: int, x: int) -> tuple[str, int]:
        slot = int(merged.slot_map[y, x])
        if slot == 255:
            return ("void", 0)
        index = int(merged.slot_category[slot])
        return ("thing", slot) if CATEGORIES[index].is_thing else ("stuff", index)

    for y in range(height):
        for x in range(width):
            around = [(y + dy, x + dx) for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))]
            inside = [place for place in around if 0 <= place[0] < height and 0 <= place[1] < width]
            is_border = any(segment(*place) != segment(y, x) for place in inside)
            slot = int(merged.slot_map[y, x])
            color = (0, 0, 0) if slot == 255 else colors[slot]
            tint = [60] * 3 if slot == 255 else [int(0.35 * c + 0.65 * 255 + 0.5) for c in color]
            assert picture[y, x].tolist() == ([*tint, 255] if is_border else [*color, 128])


def test_descriptions_that_are_no_bundle_are_refused_by_python_too(tmp_path: Path) -> None:
    for case in cases("descriptions.json"):
        (tmp_path / "bundle.json").write_text(case["text"], encoding="utf-8")
        if case["error"] in ("not_json", "other_schema"):
            with pytest.raises(InputError):
                read_description(tmp_path)
        else:
            read_description(tmp_path)
        if case["error"] is None:
            with pytest.raises(InputError, match="missing"):  # it reads, but its files are not there
                open_bundle(tmp_path)


def test_the_example_measurement_is_read_and_is_as_the_schema_says(tmp_path: Path) -> None:
    line = json.loads((SPEC / "measurement.json").read_text())["line"]
    (tmp_path / "measurements.jsonl").write_text(json.dumps(line))
    assert read_measurements(tmp_path / "measurements.jsonl") == [example_measurement()]
    schema: dict[str, Any] = measurement_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(line, schema)
    assert sorted(schema["required"]) == sorted(line)
    for wrong in (line | {"p50": 1}, line | {"samples_ms": ["1"]}, line | {"schema": 3}, {"schema": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_the_tiny_bundle_opens_and_holds_both_merges() -> None:
    bundle = open_bundle(SPEC / "tiny.edgeseg")
    assert {artifact.merge for artifact in bundle.artifacts} == {"graph", "app"}
    assert {artifact.precision for artifact in bundle.artifacts} == {"float32", "int8"}
    assert bundle.config["data"]["root"] is None
    assert bundle.artifacts[0].verify.num_segments > 4


@pytest.mark.slow
def test_the_tiny_bundle_still_gives_its_golden_answers() -> None:
    result = verify_bundle(SPEC / "tiny.edgeseg")
    assert result.failed is None
    assert len(result.artifacts) == len(open_bundle(SPEC / "tiny.edgeseg").artifacts)

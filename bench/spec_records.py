"""Record cases of apps/spec: bundle descriptions good and bad, percentiles, the measurement and its schema."""

from __future__ import annotations

import copy
import dataclasses
import json
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.bench.measurement import FIRST_KEYS, READ_SCHEMAS, Device, Measurement, measurement_to_dict
from edgeseg.bench.spec_picture import CATEGORIES, shades
from edgeseg.config import MergeConfig
from edgeseg.export.bundle import Artifact, Bundle, Verdict, to_table
from edgeseg.export.runtimes import Coverage
from edgeseg.structures import Category

_SHADES = 64


def palette_table() -> dict[str, object]:
    """Shades of some colours, grey, black and white among them; one category up to the last slot."""
    colors = [category.color for category in CATEGORIES] + [(0, 0, 0), (255, 255, 255), (127, 127, 127), (1, 2, 3)]
    rows = []
    for number, color in enumerate(colors):
        category = Category(1, "thing", True, color)
        rows.append({"color": color, "shades": shades(category, 254 if number == 0 else _SHADES)})
    return {"rows": rows}


def latency_cases() -> list[dict[str, object]]:
    """Samples and their percentiles by linear interpolation (bench/measurement.py)."""
    rng = np.random.default_rng(5)
    samples = {
        "one": [12.5],
        "two": [10.0, 20.0],
        "unsorted": [9.0, 1.0, 5.0, 3.0, 7.0],
        "equal": [4.0] * 7,
        "hundred": [float(value) for value in (rng.gamma(4.0, 5.0, 100)).round(3)],
    }
    rows: list[dict[str, object]] = []
    for name, values in samples.items():
        latency = dataclasses.replace(example_measurement(), samples_ms=tuple(values)).latency
        assert latency is not None
        rows.append({"name": name, "samples_ms": values} | dataclasses.asdict(latency))
    return rows


def example_measurement() -> Measurement:
    """A measurement as an app would make it."""
    return Measurement(
        bundle="tiny.edgeseg",
        artifact="tiny-64x64.int8.onnx",
        sha256="0" * 64,
        runtime="onnx",
        runtime_version="onnxruntime-web 1.30.0 (wasm)",
        precision="int8",
        merge="graph",
        threads=2,
        samples_ms=(8.0, 4.0, 6.0, 5.0, 7.0),
        round_sizes=(3, 2),
        warmup_runs=20,
        is_settled=True,
        load_ms=(31.5, 30.25),
        peak_mib=0.0,
        rss_delta_mib=0.0,
        device=Device(name="a phone", cores=8, os="Android 16", machine="aarch64", memory_mib=8192),
        emulated=False,
        time_utc="2026-01-31T12:00:00+00:00",
        commit="",
        schema=1,
    )


def measurement_table() -> dict[str, object]:
    """The example as one line of measurements.jsonl holds it."""
    return {"line": measurement_to_dict(example_measurement())}


def measurement_schema() -> dict[str, object]:
    """JSON Schema of a line, read off the dataclasses; what schema 2 added is optional."""
    schema = _schema(Measurement)
    schema["properties"]["schema"]["enum"] = list(READ_SCHEMAS)
    schema["required"] = list(FIRST_KEYS)
    schema["properties"]["latency"] = {
        "oneOf": [
            {"type": "null"},
            _object({k: {"type": "number"} for k in ("p50_ms", "p90_ms", "p99_ms", "min_ms", "mean_ms")}),
        ]
    }
    schema["required"].append("latency")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A line of measurements.jsonl"} | schema


def description_cases() -> list[dict[str, object]]:
    """bundle.json texts, and what an app must say: `error` is null, or a kind listed in README.md."""
    good = _description()
    cases: list[dict[str, object]] = []

    def case(name: str, error: str | None, change: Callable[[dict[str, Any]], object]) -> None:
        table = copy.deepcopy(good)
        change(table)
        cases.append({"name": name, "error": error, "text": json.dumps(table)})

    case("as_written", None, lambda t: None)
    case("later_minor", None, lambda t: t.update(schema_version="1.7", added_later={"a": [1]}))
    case("next_major", "other_schema", lambda t: t.update(schema_version="2.0"))
    case("schema_is_a_number", "other_schema", lambda t: t.update(schema_version=1))
    case("no_schema", "other_schema", lambda t: t.pop("schema_version"))
    case("no_artifacts", "misshapen", lambda t: t.update(artifacts=[]))
    case("no_categories", "misshapen", lambda t: t.pop("categories"))
    case("color_of_two", "misshapen", lambda t: t["categories"][0].update(color=[1, 2]))
    case("categories_out_of_order", "misshapen", lambda t: t["categories"].reverse())
    case("upsample_3", "misshapen", lambda t: t["merge"].update(upsample=3))
    case("size_of_words", "misshapen", lambda t: t["input"].update(size=["64", "64"]))
    case("255_slots", "misshapen", lambda t: t.update(num_slots=255))
    case("other_layout", "misshapen", lambda t: t["input"].update(layout="NCHW"))
    case("artifact_outside", "outside", lambda t: t["artifacts"][0].update(file="../secret.onnx"))
    case("artifact_absolute", "outside", lambda t: t["artifacts"][0].update(file="/etc/passwd"))
    whole = json.dumps(good)
    cases.append({"name": "truncated", "error": "not_json", "text": whole[: len(whole) // 2]})
    cases.append({"name": "empty", "error": "not_json", "text": ""})
    cases.append({"name": "a_list", "error": "other_schema", "text": "[]"})
    return cases


def _description() -> dict[str, Any]:
    artifact = Artifact(
        file="tiny-64x64.int8.onnx",
        runtime="onnx",
        precision="int8",
        merge="graph",
        input="image_uint8_nhwc",
        bytes=4,
        sha256="0" * 64,
        coverage=Coverage("CPUExecutionProvider", 1, {}, {"Conv": 3}),
        verify=Verdict(1.0, 1.0, 1, 3, None, "onnxruntime"),
    )
    bundle = Bundle(
        path=Path("tiny.edgeseg"),
        name="tiny",
        image_size=(64, 96),
        num_slots=16,
        categories=CATEGORIES,
        merge=MergeConfig(),
        config={},
        metrics={},
        tools={"edgeseg": "0.1.0"},
        licence="CC0-1.0",
        artifacts=(artifact, dataclasses.replace(artifact, file="tiny-64x64.int8.tflite", runtime="litert")),
        provenance={"time_utc": "2026-01-31T12:00:00+00:00", "commit": ""},
    )
    table: dict[str, Any] = json.loads(json.dumps(to_table(bundle, files={"verify.json": "0" * 64})))
    return table


def _schema(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    table = _object({field.name: _type(hints[field.name]) for field in dataclasses.fields(cls)})
    table["required"] = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
    return table


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _type(hint: Any) -> dict[str, Any]:
    simple = {str: "string", int: "integer", float: "number", bool: "boolean"}
    if hint in simple:
        return {"type": simple[hint]}
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return {"type": "array", "items": _type(args[0])}
    if origin is types.UnionType:
        return {"oneOf": [_type(arg) for arg in args]}
    if hint is type(None):
        return {"type": "null"}
    if origin in (dict, typing.get_origin(typing.Mapping[str, str])):
        return {"type": "object", "additionalProperties": _type(args[1])}
    return _schema(hint)

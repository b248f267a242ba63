"""The rules of the house, held by reading its imports and by building its wheel."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER_OF = {"quantize": "quantize", "export": "export", "bench": "bench"}
COMMAND_LINE_ROOMS = (
    "app",
    "args",
    "bench",
    "bundle",
    "coverage",
    "data",
    "eval",
    "models",
    "pack",
    "quantize",
    "train",
)
COMMAND_LINE = ("edgeseg/cli.py", *(f"edgeseg/cli_{name}.py" for name in COMMAND_LINE_ROOMS))
COMMAND_LINE_KNOWS = {*(f"cli_{name}" for name in COMMAND_LINE_ROOMS), "config", "full_disk", "structures"}
ORDER = ["core", "quantize", "export", "bench"]
INNER = {
    "structures": 0,
    "config": 1,
    "full_disk": 1,
    "data": 2,
    "display": 2,
    "losses": 2,
    "enlarged_argmax": 1,
    "merge": 2,
    "metrics": 2,
    "models": 2,
    "readable": 2,
    "readable_bench": 1,
    "readable_bundle": 1,
    "readable_coverage": 1,
    "readable_models": 1,
    "readable_train": 1,
    "readable_verify": 1,
    "tasks": 3,
    "visualize": 2,
}
SDKS: dict[str, set[str]] = {
    "executorch": {"bench/profile_executorch.py", "export/executorch.py", "export/lowering.py"},
    "litert_torch": {"export/litert.py"},
    "coreai": {"export/coreai.py"},
    "coreai_torch": {"export/coreai.py"},
    "ai_edge_litert": {"export/litert.py", "export/litert_gpu.py", "export/litert_int4.py"},
    "ai_edge_quantizer": {"export/litert.py"},
    "tflite_runtime": {"export/litert.py"},
    "coremltools": {
        "bench/profile_coreml.py",
        "export/coreml.py",
        "export/lowering.py",
        "export/mil_interpreter.py",
        "export/mil_tables.py",
    },
    "onnx": {
        "bench/nncf_row.py",
        "bench/peers/onnx_cost.py",
        "bench/profile_onnx.py",
        "bench/ternary_speed.py",
        "export/onnx.py",
        "export/onnx_low_bit.py",
        "export/onnx_web.py",
    },
    "onnxruntime": {"bench/profile_onnx.py", "bench/ternary_speed.py", "export/onnx.py"},
    "onnxscript": {"export/onnx.py"},
    "nncf": {"bench/nncf_row.py"},
    "timm": {"edgeseg/models/timm_adapter.py"},
    "transformers": {"bench/peers/mask_transformers.py"},
    "ultralytics": set(),  # AGPL: run as a program, never imported
}


def sources() -> list[Path]:
    files = [*(ROOT / "edgeseg").rglob("*.py")]
    files = [path for path in files if not {"quantize", "export", "bench"} & set(path.relative_to(ROOT).parts[1:2])]
    for folder in FOLDER_OF:
        files += (ROOT / folder).rglob("*.py")
    return sorted(files)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether at the top level) of every import, type-checking ones left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    inside = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module, id(node) not in inside


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FOLDER_OF else "core"


def test_outer_rooms_are_imported_in_one_direction() -> None:
    for path in sources():
        relative = path.relative_to(ROOT)
        if relative.as_posix() in COMMAND_LINE:
            continue
        own = relative.parts[0] if relative.parts[0] in FOLDER_OF else "core"
        for module, _ in imports(path):
            if module.split(".")[0] == "edgeseg":
                assert ORDER.index(layer(module)) <= ORDER.index(own), f"{relative} imports {module}"


def test_the_command_line_names_outer_rooms_and_torch_inside_functions_only() -> None:
    for module, is_top in (found for file in COMMAND_LINE for found in imports(ROOT / file)):
        if is_top:
            assert layer(module) == "core", module
            parts = module.split(".")
            assert parts[0] in {*sys.stdlib_module_names, "tyro", "edgeseg"}, module
            assert parts[0] != "edgeseg" or parts[1] in COMMAND_LINE_KNOWS, module


def test_inner_rooms_know_structures_and_config_and_the_engine_knows_all() -> None:
    for path in (ROOT / "edgeseg").rglob("*.py"):
        relative = path.relative_to(ROOT / "edgeseg")
        room = relative.parts[0].removesuffix(".py")
        if room not in INNER:
            continue
        for module, _ in imports(path):
            parts = module.split(".")
            if parts[0] != "edgeseg" or len(parts) == 1 or parts[1] == room:
                continue
            other = INNER.get(parts[1], 9)
            # Reading a prediction for the metric is reading data.
            allowed = other < INNER[room] or (room, parts[1]) == ("metrics", "data")
            assert allowed, f"edgeseg/{relative} imports {module}"


@pytest.mark.parametrize("sdk", SDKS)
def test_a_runtimes_package_is_imported_in_its_own_file_inside_functions(sdk: str) -> None:
    for path in sources():
        relative = path.relative_to(ROOT).as_posix()
        for module, is_top in imports(path):
            if module.split(".")[0] == sdk:
                assert relative in SDKS[sdk], f"{relative} imports {module}"
                assert not is_top, f"{relative} imports {module} at the top"


def test_help_needs_no_torch() -> None:
    code = "import sys, edgeseg.cli as c; c.main(['--help']); assert 'torch' not in sys.modules, 'torch was imported'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "quickstart" in done.stdout


@pytest.mark.slow
def test_the_wheel_and_the_sdist_hold_edgeseg_and_nothing_else_at_the_top(tmp_path: Path) -> None:
    """A bare `export` or `bench` in site-packages would shadow users' own modules."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    wheel = next(tmp_path.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"edgeseg"}
    for wanted in (
        "edgeseg/cli.py",
        "edgeseg/export/api.py",
        "edgeseg/export/bundle.schema.json",
        "edgeseg/bench/report.html",
        "edgeseg/check_page.html",
        "edgeseg/configs/street.toml",
        "edgeseg/data/sets/categories/coco.csv",
    ):
        assert wanted in names
    assert len(names) == len(set(names))

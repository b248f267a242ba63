"""The chain through the command line: train, quantize, export, verify, evaluate, predict and time one bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.cli import main
from edgeseg.config import config_to_dict
from edgeseg.data.street import make_street
from tests.engine.conftest import tiny

RUNTIMES = ("onnx", "executorch")


@pytest.mark.slow
def test_a_folder_of_photos_becomes_a_bundle_that_predicts_as_torch_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*argv: object) -> dict[str, object]:
        code = main([*(str(word) for word in argv), "--json", "--quiet"])
        out, err = capsys.readouterr()
        assert code == 0, err
        result: dict[str, object] = json.loads(out)
        return result

    make_street(tmp_path / "street", train=24, val=4, size=(64, 64), seed=2)
    toml = [
        "[data]",
        "image_size = [64, 64]",
        "batch_size = 4",
        "num_workers = 0",
        "[train]",
        "steps = 60",
        "lr = 3e-3",
    ]
    toml += ["eval_every = 0", "[merge]", "thing_threshold = 0.05", "stuff_threshold = 0.05", "[model]"]
    toml += [f"{key} = {json.dumps(value)}" for key, value in config_to_dict(tiny().model).items()]
    (tmp_path / "tiny.toml").write_text("\n".join(toml))
    folder, bundle = tmp_path / "run", tmp_path / "tiny.edgeseg"

    run("train", tmp_path / "tiny.toml", "--data.root", tmp_path / "street", "--out", folder)
    quantized = run("quantize", folder, "--recipe", "int8-ptq", "--force")
    assert quantized["integer_weight_share"] > 0.3  # type: ignore[operator]
    float_score = run("eval", folder)
    evaluated = run("eval", folder, "--precision", "int8-ptq")
    assert evaluated.items() >= quantized["metrics"].items()  # type: ignore[attr-defined]

    run("export", folder / "best.safetensors", "--out", bundle, "--only", *RUNTIMES)
    verified = run("verify", bundle)
    assert [row["verdict"]["pixels_equal"] >= 0.999 for row in verified["artifacts"]] == [True, True]  # type: ignore[attr-defined]
    for runtime in RUNTIMES:
        score = run("eval", bundle, "--runtime", runtime)
        assert abs(score["all"]["pq"] - float_score["all"]["pq"]) < 0.01  # type: ignore[index]
    timed = run("bench", bundle, "--threads", "1", "--seconds", "0.2")
    assert all(row["p50_ms"] > 0 for row in timed["artifacts"])  # type: ignore[attr-defined]

    photo = tmp_path / "photo.jpg"
    Image.fromarray(np.full((90, 120, 3), 128, dtype=np.uint8)).save(photo)
    run("predict", bundle, photo, "--out", tmp_path / "seen")
    assert (tmp_path / "seen/overlays/photo.png").is_file()

    artifact = next(bundle.glob("*.onnx"))
    content = bytearray(artifact.read_bytes())
    content[len(content) // 2] ^= 1
    artifact.write_bytes(content)
    assert main(["verify", str(bundle)]) == 1
    assert artifact.name in capsys.readouterr().err

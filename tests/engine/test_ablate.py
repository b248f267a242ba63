"""Ablations: which cells there are, that none is trained twice, and what the table says."""

from __future__ import annotations

import json
import signal
import statistics
from pathlib import Path

import pytest
import torch

from edgeseg.cli import main
from edgeseg.config import LossConfig
from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.engine.ablate import estimate_seconds, finished, markdown, run_ablation, run_cell
from edgeseg.engine.ablation_file import Cell, read_ablation
from edgeseg.engine.checkpoint import load_checkpoint
from edgeseg.engine.train import Trainer, make_fabric
from edgeseg.losses.kmax import KMaxLoss
from edgeseg.structures import Batch, InputError, Prediction, Slots

ABLATIONS = Path(__file__).parent.parent.parent / "docs" / "ablations"

CONFIG = """
[data]
image_size = [64, 64]
batch_size = 4
num_workers = 0
[model]
num_queries = 16
query_dim = 32
ffn_dim = 32
num_heads = 2
decoder_dims = [8, 8, 8, 8]
[train]
steps = 4
eval_every = 0
norm_batches = 2
"""

FILE = """
config = "{config}"
seeds = [0, 1]
[change]
train.lr = 2e-3
[axes.relaxation]
none = {{ loss.remask = false }}
ReMask = {{ loss.remask = true }}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(CONFIG)
    (tmp_path / "file.toml").write_text(FILE.format(config=tmp_path / "tiny.toml"))
    return tmp_path / "file.toml"


@pytest.fixture
def cells(file: Path, street: Path) -> list[Cell]:
    return read_ablation(file, data=street).cells()


def test_axes_are_crossed_with_each_other_and_with_seeds(file: Path) -> None:
    file.write_text(
        file.read_text() + '[axes.eta]\n"0.1" = { loss.reclass_eta = 0.1 }\n"0.2" = { loss.reclass_eta = 0.2 }\n'
    )
    found = [(c.seed, c.name, c.config.loss.remask, c.config.loss.reclass_eta) for c in read_ablation(file).cells()]
    one_seed = [("none, eta 0.1", False, 0.1), ("none, eta 0.2", False, 0.2)]
    one_seed += [("ReMask, eta 0.1", True, 0.1), ("ReMask, eta 0.2", True, 0.2)]
    assert found == [(seed, *rest) for seed in (0, 1) for rest in one_seed]
    assert all(c.config.train.seed == c.seed and c.config.train.lr == 2e-3 for c in read_ablation(file).cells())


def test_combinations_that_are_the_same_network_are_one_cell() -> None:
    """Without ReClass its strength means nothing, and a ReClass of strength 0 is none: 8 of 16 are left."""
    for name in ("remax", "remax-nuclei"):
        cells = [cell for cell in read_ablation(ABLATIONS / f"{name}.toml").cells() if cell.seed == 0]
        assert [(cell.name, cell.same_as) for cell in cells] == [
            ("none", ("ReClass, eta 0",)),
            ("ReMask", ("both, eta 0",)),
            *((f"{kind}, eta {eta}", ()) for kind in ("ReClass", "both") for eta in ("0.05", "0.1", "0.2")),
        ]
        assert len(read_ablation(ABLATIONS / f"{name}.toml").cells()) == 24


@pytest.mark.parametrize("path", sorted(ABLATIONS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_committed_file_says_how_it_is_run_and_crosses_its_axes_with_seeds(path: Path) -> None:
    ablation = read_ablation(path)
    assert f"edgeseg ablate docs/ablations/{path.name} --data" in path.read_text()
    names = {cell.name for cell in ablation.cells()}
    assert len(names) > 1
    assert len(ablation.cells()) == len(names) * len({cell.seed for cell in ablation.cells()})


def test_a_reclass_of_strength_0_is_none_bit_by_bit() -> None:
    """What the rules in the committed files claim."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, 5, 4), (1, 5, 8, 8), (1, 6, 8, 8), (1, 4, 8, 8))
    classes, masks, embedding, semantic = (torch.randn(*shape, generator=generator) for shape in shapes)
    prediction = Prediction(Slots(classes, masks), embedding, semantic)
    rows = torch.zeros(1, 32, 32, dtype=torch.int16)
    rows[:, 16:] = 1
    batch = Batch(torch.zeros(1, 3, 32, 32), rows, [torch.tensor([2, 0])], [1])
    totals = [
        KMaxLoss(config, [True] * 3)([prediction], batch, [torch.Generator().manual_seed(1)])["total"]
        for config in (LossConfig(reclass=True, reclass_eta=0), LossConfig(reclass=False, reclass_eta=0.2))
    ]
    assert torch.equal(totals[0], totals[1])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[axes.x]\na = { loss.remaks = true }", r"axes\.x\.a.*'remaks' \(did you mean 'remask'"),
        ("[axes.x]\na = { loss.remask = 1 }", r"remask = 1 is a int; bool wanted"),
        ("[axes.x]\na = { train.seed = 3 }", r"train\.seed comes from 'seeds'"),
        ("seed = [1]", r"unknown key 'seed' \(did you mean 'seeds'"),
        ("seeds = [1, 1]\n[axes.x]\na = {}", r"names one twice"),
        ("seeds = 1", r"a list of whole numbers"),
        ("[axes]", r"axes is missing or empty"),
        ("[axes.x]\na = {}\n[[same]]\nwhere = {}", r"holds 'where' and 'as'"),
        (
            "[axes.x]\na = { loss.remask = true }\n[[same]]\nwhere = { loss.remask = true }"
            "\nas = { loss.remask = false, loss.reclass_eta = 0.7 }"
            "\n[[same]]\nwhere = { loss.reclass_eta = 0.5 }\nas = { loss.remask = true, loss.reclass_eta = 0.1 }\n"
            "[[same]]\nwhere = { loss.reclass_eta = 0.7 }\nas = { loss.reclass_eta = 0.5 }",
            r"undo each other",
        ),
    ],
)
def test_a_mistake_in_the_file_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_text(f'config = "street"\n{line}\n')
    with pytest.raises(InputError, match=message):
        read_ablation(path).cells()


def test_every_cell_is_trained_once_and_an_interrupted_one_goes_on(
    cells: list[Cell], samples: PanopticFolder, street: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    cell = cells[0]
    val = PanopticFolder.open(street, "val")
    begun = Trainer(cell.config, samples.categories, out / cell.folder, make_fabric(cell.config))
    step = begun.step

    def step_then_stop(batch: Batch) -> dict[str, float]:
        begun.stop_signal = signal.SIGTERM if begun.clock.step == 1 else None
        return step(batch)

    begun.step = step_then_stop  # type: ignore[method-assign]
    begun.fit(samples, val, quiet=True)
    assert load_checkpoint(out / cell.folder, prefer="last").step == 2

    assert run_ablation(cells, out, quiet=True)
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [(row["name"], row["seed"]) for row in rows] == [("none", 0), ("ReMask", 0), ("none", 1), ("ReMask", 1)]
    steps = [json.loads(line).get("step") for line in (out / cell.folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 4]  # the last line is the evaluation
    assert not list(out.glob("*/last.safetensors"))
    whole = run_cell(cell, tmp_path / "whole", quiet=True)
    assert whole is not None
    assert {group: rows[0][group] for group in ("all", "things", "stuff")} == {
        group: whole[group] for group in ("all", "things", "stuff")
    }

    logs = {path: path.read_text() for path in out.glob("*/metrics.jsonl")}
    assert run_ablation(cells, out, quiet=True)
    assert {path: path.read_text() for path in logs} == logs  # nothing was trained again


def test_a_diverged_cell_is_a_result(file: Path, street: Path, tmp_path: Path) -> None:
    file.write_text(file.read_text().replace("2e-3", "1e30"))
    cells = read_ablation(file, data=street).cells()[:1]
    assert run_ablation(cells, tmp_path / "out", quiet=True)
    row = finished(cells[0], tmp_path / "out")
    assert row is not None
    assert "not finite" in row["error"]
    assert "| none | failed |" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.slow
def test_two_at_a_time_give_the_same_results(cells: list[Cell], tmp_path: Path) -> None:
    keys = ("name", "seed", "all", "things", "stuff")
    found = []
    for jobs in (1, 2):
        assert run_ablation(cells[:2], tmp_path / str(jobs), jobs=jobs, quiet=True)
        lines = (tmp_path / str(jobs) / "results.jsonl").read_text().splitlines()
        found.append([{key: json.loads(line)[key] for key in keys} for line in lines])
    assert found[0] == found[1]


def test_the_table_has_means_spreads_and_paired_gains() -> None:
    pq = {"none": [0.50, 0.52, 0.54], "both": [0.51, 0.56, 0.55]}
    rows = [
        {"name": name, "seed": seed, "all": value, "things": value - 0.1, "stuff": value + 0.1}
        for seed in range(3)
        for name, value in ((name, pq[name][seed]) for name in pq)
    ]
    gains = [1.0, 4.0, 1.0]
    assert markdown(rows).splitlines() == [
        "|  | seed 0 | seed 1 | seed 2 | PQ mean ± sd | things | stuff | gain over none ± sd |",
        "|---|---|---|---|---|---|---|---|",
        "| none | 50.0 | 52.0 | 54.0 | 52.0 ± 2.0 | 42.0 | 62.0 |  |",
        f"| both | 51.0 | 56.0 | 55.0 | 54.0 ± {statistics.stdev([51, 56, 55]):.1f} | 44.0 | 64.0 "
        f"| +{statistics.mean(gains):.1f} ± {statistics.stdev(gains):.1f} |",
    ]


def test_an_estimate_comes_from_a_few_steps_and_then_from_finished_cells(cells: list[Cell], tmp_path: Path) -> None:
    seconds, known_from = estimate_seconds(cells, tmp_path)
    assert seconds > 0
    assert known_from == "4 steps and 4 images now"
    folder = tmp_path / cells[0].folder
    folder.mkdir()
    (folder / "result.json").write_text('{"seconds": 12.5}')
    assert estimate_seconds(cells, tmp_path) == (12.5, "1 finished")


def test_the_list_shows_the_cells_and_trains_nothing(
    file: Path, street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["ablate", str(file), "--data", str(street), "--out", str(out), "--list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["seed"], row["state"]) for row in document["cells"]][:2] == [
        ("none", 0, "to do"),
        ("ReMask", 0, "to do"),
    ]
    assert document["seconds_left"] == pytest.approx(4 * document["seconds_per_cell"])
    assert not out.exists()

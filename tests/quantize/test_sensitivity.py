"""Layers one at a time, and recipes that spare the sensitive ones."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from edgeseg.cli_quantize import to_bytes
from edgeseg.quantize import Recipe, find_recipe
from edgeseg.quantize.sensitivity import Sensitivity, analyse, fit_budget, fit_quality, to_toml
from edgeseg.quantize.sensitivity_chart import draw
from edgeseg.structures import InputError
from tests.quantize.tiny import TinySlots, images, warmed

TERNARY = Recipe(name="test", ternary="twn", linears=True)
CALIBRATION = [images(8, seed=1)]
ROWS = [  # 160 weights: 32 bytes ternary; 8 bits for all would take 160
    Sensitivity("a", 80, 1.6, 10.0, 0.8, None),
    Sensitivity("b", 20, 1.6, 12.0, 0.4, None),
    Sensitivity("c", 60, 1.6, 30.0, 0.1, None),
]


def test_a_layer_that_is_on_the_grid_already_loses_nothing_and_the_others_do() -> None:
    model = warmed(TinySlots())
    with torch.no_grad():
        model.classify.weight.copy_(model.classify.weight.sign() * 0.25)  # exact in bfloat16
    rows = {row.layer: row for row in analyse(model, TERNARY, CALIBRATION)}
    assert set(rows) == {"stem.0", "gate.1", "down.0", "lateral", "embed", "queries", "classify"}
    assert rows["classify"].divergence == pytest.approx(0, abs=1e-6)
    assert rows["classify"].sqnr_db == math.inf
    assert rows["lateral"].divergence > 1e-5
    assert (rows["stem.0"].bits, rows["lateral"].bits) == (8.0, 1.6)
    assert rows["lateral"].weights == 256


def test_the_most_sensitive_stands_first_and_scores_are_in_points() -> None:
    model = warmed(TinySlots())
    wanted = model(CALIBRATION[0]).mask_logits

    def score(network: nn.Module) -> float:
        return 1.0 - float((network(CALIBRATION[0]).mask_logits - wanted).abs().mean())

    rows = analyse(model, TERNARY, CALIBRATION, score=score)
    assert [row.divergence for row in rows] == sorted((row.divergence for row in rows), reverse=True)
    lateral = next(row for row in rows if row.layer == "lateral")
    assert lateral.pq_drop is not None
    assert lateral.pq_drop > 0


def test_a_budget_goes_where_a_byte_saves_most() -> None:
    """Divergence per weight: b 0.02, a 0.01, c 0.0017; sparing costs 16, 64 and 48 bytes."""
    assert fit_budget(TERNARY, ROWS, 32).int8_modules == ()
    assert fit_budget(TERNARY, ROWS, 32 + 16).int8_modules == ("b",)
    assert fit_budget(TERNARY, ROWS, 32 + 16 + 63).int8_modules == ("b", "c")  # a does not fit, c does
    assert fit_budget(TERNARY, ROWS, 160).int8_modules == ("b", "a", "c")
    with pytest.raises(InputError, match="take 32 bytes, --budget allows 31"):
        fit_budget(TERNARY, ROWS, 31)


def test_a_quality_is_reached_with_the_fewest_layers_in_8_bits() -> None:
    model = warmed(TinySlots())
    wanted = model(CALIBRATION[0]).mask_logits
    rows = analyse(model, TERNARY, CALIBRATION)

    def score(network: nn.Module) -> float:
        return 1.0 - float((network(CALIBRATION[0]).mask_logits - wanted).abs().mean())

    def lost(spared: int) -> float:
        names = tuple(row.layer for row in rows if row.bits < 8)[:spared]
        return fit_quality(model, replace(TERNARY, int8_modules=names), [], CALIBRATION, score=score, max_pq_drop=100)[
            1
        ]

    recipe, drop = fit_quality(model, TERNARY, rows, CALIBRATION, score=score, max_pq_drop=(lost(0) + lost(6)) / 2)
    count = len(recipe.int8_modules)
    assert 0 < count < 6
    assert drop == pytest.approx(lost(count))
    assert lost(count - 1) > (lost(0) + lost(6)) / 2 >= drop
    with pytest.raises(InputError, match="8 bits for all weights lose"):
        fit_quality(model, TERNARY, rows, CALIBRATION, score=score, max_pq_drop=-1)


def test_a_recipe_reads_back_from_its_file(tmp_path: Path) -> None:
    recipe = Recipe(name="mixed", ternary="absmean", linears=True, int8_modules=("a.0", "b"), qat_lr=1e-3, qat_steps=7)
    path = tmp_path / "mixed.toml"
    path.write_text(to_toml(recipe))
    assert find_recipe(str(path)) == recipe


@pytest.mark.parametrize("text, wanted", [("500KB", 500_000), ("0.5 MB", 500_000), ("77", 77), ("2kb", 2000)])
def test_sizes_are_read_in_powers_of_ten(text: str, wanted: int) -> None:
    assert to_bytes(text) == wanted


def test_a_size_of_another_form_is_refused() -> None:
    with pytest.raises(InputError, match="500KB"):
        to_bytes("half")


def test_a_chart_has_a_row_per_layer_and_bars_as_long_as_their_values() -> None:
    """PQ lost 2.0, 0.5 and a gain: the second bar is a quarter of the first, the third has no length; names escaped."""
    rows = [
        Sensitivity("a<b", 80, 1.6, 10.0, 0.8, 2.0),
        Sensitivity("b", 20, 8.0, math.inf, 0.4, 0.5),
        Sensitivity("c", 60, 1.6, 20.0, 0.1, -0.3),
    ]
    root = ElementTree.fromstring(draw(rows, "title"))
    name = "{http://www.w3.org/2000/svg}"
    texts = [text.text or "" for text in root.iter(f"{name}text")]
    assert {"title", "a<b (80)", "b (20)", "c (60)", "exact", "+2.00", "-0.30", "PQ lost, points"} <= set(texts)
    bars = [float(bar.get("width", 0)) for bar in root.iter(f"{name}rect") if bar.get("height") == "11"]
    assert bars[:3] == [125.0, 250.0, 250.0]  # 10 dB, exact, 20 dB
    assert bars[3:] == [250.0, 62.5, 0.0]

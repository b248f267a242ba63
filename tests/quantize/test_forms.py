"""What runtimes hold of recipes, and that the rest is refused before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgeseg.export.runtimes import get_runtime, runtime_names
from edgeseg.quantize import RECIPES, Recipe
from edgeseg.quantize.forms import ALWAYS_MADE, Form, Refusal, form_of, known_runtimes, refusal, refuse_unheld, table
from edgeseg.quantize.run import quantize_checkpoint
from edgeseg.structures import InputError

DOCS = Path(__file__).parents[2] / "docs/quantization.md"


def test_the_runtimes_are_those_that_export_makes() -> None:
    assert list(ALWAYS_MADE) == runtime_names()
    for name in known_runtimes():
        assert get_runtime(name).name == name


@pytest.mark.parametrize("runtime", known_runtimes())
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_export_refuses_what_quantize_refuses(recipe: Recipe, runtime: str) -> None:
    """One source of truth: the runtime's own word is the table's."""
    form = form_of(recipe, runtime)
    said = get_runtime(runtime).refusal(recipe.name, "app")
    assert said == (str(form) if isinstance(form, Refusal) else "")


def test_the_recipe_that_is_offered_instead_is_held() -> None:
    refused = [
        (form_of(recipe, runtime), runtime)
        for recipe in (*RECIPES.values(), replace(RECIPES["int4"], activation_bits=0))
        for runtime in ALWAYS_MADE
        if isinstance(form_of(recipe, runtime), Refusal)
    ]
    assert len(refused) == 6  # w8, ternary-w and the last, in ExecuTorch and LiteRT
    for form, runtime in refused:
        assert isinstance(form, Refusal)
        assert isinstance(form_of(RECIPES[form.instead], runtime), Form)


def test_a_recipe_is_refused_before_anything_is_read() -> None:
    """The checkpoint does not exist either: the recipe is complained of first, with reason, nearest and way out."""
    with pytest.raises(InputError) as caught:
        quantize_checkpoint(Path("nowhere"), "w8", None, None, None)
    assert str(caught.value) == (
        "recipe 'w8' can't be held: executorch: it has no kernel that dequantizes a weight; take int8-full; litert: "
        "its converter would keep the weights float and round them at every call; take int8-full, or say --runtimes "
        "coreml,onnx"
    )
    with pytest.raises(InputError, match="checkpoint nowhere does not exist"):
        quantize_checkpoint(Path("nowhere"), "w8", None, None, None, runtimes=("onnx", "coreml"))


def test_activations_of_fewer_bits_than_engines_saturate_at_are_refused() -> None:
    with pytest.raises(InputError, match="onnx: its integers saturate at 8 bits, not at 4"):
        refuse_unheld(Recipe(name="mine", activation_bits=4), ["onnx"])


def test_an_unknown_runtime_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'coreml-ios71'.*did you mean 'coreml-ios17'"):
        refuse_unheld(RECIPES["int8"], ["coreml-ios71"])


def test_a_recipe_of_ones_own_counts_as_one_with_integer_activations() -> None:
    assert refusal("mine", "executorch") == ""
    assert "iOS 17" in refusal("mine", "coreml-ios16")


def test_the_table_in_the_docs_is_the_one_that_the_command_prints() -> None:
    assert table() in DOCS.read_text(encoding="utf-8")

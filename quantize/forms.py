"""In which form each runtime's file holds a recipe, and which recipes it does not hold.

python -m edgeseg.quantize.forms      prints the table of docs/quantization.md
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgeseg.config import nearest
from edgeseg.quantize.recipes import RECIPES, Recipe
from edgeseg.structures import InputError


@dataclass(frozen=True)
class Form:
    """How a file keeps the weights of a recipe.

    Attributes:
        bits: Of a weight in the file.
        packed_bits: Of a weight after `edgeseg pack`, which is undone byte for byte; None where it packs none.
        kernels: What computes with them.
    """

    bits: float
    packed_bits: float | None
    kernels: str


@dataclass(frozen=True)
class Refusal:
    """Why a file can't be made.

    Attributes:
        reason: One line.
        instead: The nearest that works.
    """

    reason: str
    instead: str

    def __str__(self) -> str:
        return f"{self.reason}; take {self.instead}"


@dataclass(frozen=True)
class _Runtime:
    """What a runtime's files can hold.

    Attributes:
        eight: Weights of 5 to 8 bits, activations of 8.
        fewer: Weights of 2 to 4 bits.
        ternary: Weights of -1, 0 and 1.
        refuses_all: Why it takes no recipe; empty where it does.
        refuses_weights_only: Why it takes none with float activations; empty where its float32 kernels compute them.
    """

    eight: Form | Refusal
    fewer: Form
    ternary: Form
    refuses_all: str = ""
    refuses_weights_only: str = ""


_INT8 = Form(8, None, "int8")
_PACKED = Form(8, 1.6, "int8")
_FOUR, _TWO = Form(4, None, "int8"), Form(2, None, "int8")

_RUNTIMES: dict[str, _Runtime] = {
    "executorch": _Runtime(_INT8, _INT8, _PACKED, refuses_weights_only="it has no kernel that dequantizes a weight"),
    "litert": _Runtime(
        _INT8,
        _INT8,
        _PACKED,
        refuses_weights_only="its converter would keep the weights float and round them at every call",
    ),
    "onnx": _Runtime(_INT8, _INT8, _PACKED),
    "coreml": _Runtime(_INT8, _FOUR, _TWO),
    "coreml-ios17": _Runtime(_INT8, _INT8, _INT8),
    "coreml-ios16": _Runtime(_INT8, _INT8, _INT8, refuses_all="quantize and dequantize came with iOS 17"),
    "coreai": _Runtime(_INT8, _INT8, _INT8, refuses_all="coreai-torch 0.4.3 converts no quantize_per_tensor"),
    "litert-small": _Runtime(
        Refusal("it makes weights of 4 bits and fewer smaller, and has none here", "litert"),
        _FOUR,
        _FOUR,
        refuses_weights_only="its converter would keep the weights float and round them at every call",
    ),
    "onnx-small": _Runtime(
        Refusal("it makes weights of 4 bits and fewer smaller, and has none here", "onnx"), _FOUR, _TWO
    ),
}
"""By the name of a runtime in export/; tests hold the two lists equal."""

ALWAYS_MADE = ("executorch", "litert", "coreml", "onnx")
"""Made unless others are named."""

_INSTEAD = {"coreml-ios16": "coreml-ios17 or coreml", "coreai": "another runtime"}


def known_runtimes() -> list[str]:
    """Names of the runtimes that the table speaks of."""
    return list(_RUNTIMES)


def form_of(recipe: Recipe, runtime: str) -> Form | Refusal:
    """How a runtime's file holds what a recipe makes.

    Raises:
        InputError: No such runtime.
    """
    if runtime not in _RUNTIMES:
        raise InputError(
            f"no runtime named {runtime!r} holds quantized networks{nearest(runtime, list(_RUNTIMES))}; "
            f"known are {', '.join(_RUNTIMES)}"
        )
    holds = _RUNTIMES[runtime]
    if holds.refuses_all:
        return Refusal(holds.refuses_all, _INSTEAD[runtime])
    if 0 < recipe.activation_bits < 8:
        return Refusal(
            f"its integers saturate at 8 bits, not at {recipe.activation_bits}: it would compute another network",
            "activation_bits = 8",
        )
    form = holds.ternary if recipe.ternary else holds.eight if recipe.weight_bits > 4 else holds.fewer
    if recipe.activation_bits or isinstance(form, Refusal):
        return form
    if holds.refuses_weights_only:
        return Refusal(holds.refuses_weights_only, _nearest_with_integer_activations(recipe))
    return replace(form, kernels="float32")


def refuse_unheld(recipe: Recipe, runtimes: Sequence[str]) -> None:
    """Stops before work whose result a runtime can't hold.

    Args:
        recipe: What a network is to become.
        runtimes: That it is meant for.

    Raises:
        InputError: A runtime refuses it, or does not exist; with the reason and the nearest that works.
    """
    refused = {name: form for name in runtimes if isinstance(form := form_of(recipe, name), Refusal)}
    if refused:
        reasons = "; ".join(f"{name}: {refusal}" for name, refusal in refused.items())
        others = [name for name in runtimes if name not in refused]
        hint = f", or say --runtimes {','.join(others)}" if others else ""
        raise InputError(f"recipe {recipe.name!r} can't be held: {reasons}{hint}")


def refusal(precision: str, runtime: str) -> str:
    """Why a runtime holds no network of a quantized precision, in one line; empty where it can.

    A name that is not in RECIPES is a user's own, which `edgeseg quantize` held against the runtimes: it is taken for
    one with ternary weights and integer activations.
    """
    form = form_of(RECIPES.get(precision, RECIPES["ternary"]), runtime)
    return str(form) if isinstance(form, Refusal) else ""


def table() -> str:
    """Every named recipe x runtime in Markdown: bits of a weight, kernels, or that it is refused; then the reasons."""
    head = ["recipe", "weights", "activations", "steps", *_RUNTIMES]
    lines = [_row(head), "|---" * len(head) + "|"]
    for recipe in RECIPES.values():
        cells = [_cell(form_of(recipe, runtime)) for runtime in _RUNTIMES]
        lines.append(_row([f"`{recipe.name}`", *_in_words(recipe), *cells]))
    lines.append("")
    for name, runtime in _RUNTIMES.items():
        if runtime.refuses_all:
            lines.append(f"- {name} refuses every recipe: {runtime.refuses_all}; take {_INSTEAD[name]}.")
        if isinstance(runtime.eight, Refusal):
            lines.append(f"- {name} refuses weights of 8 bits: {runtime.eight}.")
        if runtime.refuses_weights_only:
            lines.append(f"- {name} refuses float activations: {runtime.refuses_weights_only}.")
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _in_words(recipe: Recipe) -> list[str]:
    """Weights, activations, steps."""
    layers = "convolutions, linears" if recipe.linears else "convolutions"
    bits = "-1, 0, 1" if recipe.ternary else f"{recipe.weight_bits} bits"
    activations = f"{recipe.activation_bits} bits" if recipe.activation_bits else "float"
    return [f"{layers}: {bits}", activations, f"{recipe.qat_steps:,}"]


def _cell(form: Form | Refusal) -> str:
    if isinstance(form, Refusal):
        return "refused"
    packed = "" if form.packed_bits is None else f", packed {form.packed_bits:g}"
    return f"{form.bits:g} bits{packed}; {form.kernels}"


def _nearest_with_integer_activations(recipe: Recipe) -> str:
    if recipe.ternary:
        return "ternary"
    return "int8-full" if recipe.weight_bits == 8 else "int4"


if __name__ == "__main__":
    print(table())

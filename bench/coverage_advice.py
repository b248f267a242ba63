"""What to change, in plain words, for operators that are in a file and cost more than a stated share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edgeseg.bench.operator_profile import HAND_OVER, OperatorRun
from edgeseg.export.runtimes import family

OUTSIDE_SHARE = 0.05
"""Of the time: below it an operator outside the delegate, or the delegate's borders, are not worth a line."""

SHARE = 0.10
"""Of the time: the same for copies between channel orders and for quantizing."""

MERGE_SHARE = 0.20
"""Of the time: the same for the panoptic merge on an enlarged map."""

PLAIN_BACKBONE = "mobilenet_v3_small_minimalistic"
_PLAIN = f"the backbone {PLAIN_BACKBONE} has neither squeeze-and-excite nor hard-swish"
_LAYOUT = ("Transpose", "TRANSPOSE", "Reorder")
_QUANTIZING = ("Convert (", "QuantizeLinear", "DequantizeLinear", "QUANTIZE", "DEQUANTIZE")
_RESIZING = ("Resize", "RESIZE", "Upsample")
_OF_THE_MERGE = {"argmax", "topk", "gather", "where", "eq", "ge", "gt", "ARG_MAX", "TOPK_V2", "GATHER", "SELECT_V2"}
_CASTS = "casts of the image and the map, for which XNNPACK has no kernel"
_REMEDIES = {
    ("litert", "FULLY_CONNECTED"): "products of two activations, which XNNPACK takes with its flag "
    "DYNAMIC_FULLY_CONNECTED only (xnnpack_flags = 11 in LiteRT's CPU options)",
    ("litert", "HARD_SWISH"): f"XNNPACK has no int8 kernel for it; {_PLAIN}",
    ("executorch", "as_strided_copy"): f"the pooling of squeeze-and-excite; {_PLAIN}",
    ("executorch", "_to_copy"): _CASTS,
    ("executorch", "_to_dim_order_copy"): _CASTS,  # in files from before November 2026, and where axes are reordered
}


@dataclass(frozen=True)
class Facts:
    """What advice is drawn from.

    Attributes:
        runtime: Registered name.
        merge: `graph` or `app`.
        upsample: By what the merge enlarges mask logits.
        map_size: (height, width) of the slot map.
        num_slots: N.
        runs: In the order of execution.
    """

    runtime: str
    merge: str
    upsample: int
    map_size: tuple[int, int]
    num_slots: int
    runs: Sequence[OperatorRun]

    def ms(self, belongs: Callable[[OperatorRun], bool]) -> float:
        """Time of some of the operators."""
        return sum(run.ms or 0.0 for run in self.runs if belongs(run))

    def share(self, ms: float) -> float:
        """Part of the operators' time."""
        total = self.ms(lambda run: True)
        return ms / total if total else 0.0


def advise(facts: Facts) -> tuple[str, ...]:
    """Lines of advice, what costs most first within each kind; none where nothing costs more than its share."""
    rules = (_merge_on_an_enlarged_map, _outside, _borders, _channel_orders, _quantizing, _neural_engine)
    return tuple(line for rule in rules for line in rule(facts))


def _merge_on_an_enlarged_map(facts: Facts) -> Iterator[str]:
    """What runs from the last resize on is the merge, if it enlarges."""
    resizes = [place for place, run in enumerate(facts.runs) if run.operator.startswith(_RESIZING)]
    if facts.merge != "graph" or facts.upsample == 1 or not resizes:
        return
    ms = sum(run.ms or 0.0 for run in facts.runs[resizes[-1] :])
    if facts.share(ms) >= MERGE_SHARE:
        height, width = facts.map_size
        yield (
            f"from the last resize on, which is the panoptic merge, {_cost(facts, ms)}: it works on {facts.num_slots} "
            f"slots of {height} x {width}; merge.upsample = {facts.upsample // 2} has a quarter of the pixels, and "
            "edgeseg export --merge app leaves it to the app"
        )


def _outside(facts: Facts) -> Iterator[str]:
    kinds = dict.fromkeys(run.operator for run in facts.runs if run.is_delegated is False and run.ms is not None)
    cost = {kind: facts.ms(lambda run, kind=kind: _is_outside(run, kind)) for kind in kinds}  # type: ignore[misc]
    for kind, ms in sorted(cost.items(), key=lambda item: -item[1]):
        if facts.share(ms) < OUTSIDE_SHARE:
            continue
        count = sum(_is_outside(run, kind) for run in facts.runs)
        remedy = _REMEDIES.get((facts.runtime, kind), "")
        if not remedy and facts.merge == "graph" and kind in _OF_THE_MERGE:
            remedy = "of the panoptic merge, which edgeseg export --merge app leaves to the app"
        times = f"{count} times" if count > 1 else "once"
        yield f"{kind} runs outside the delegate {times} and {_cost(facts, ms)}" + (f": {remedy}" if remedy else "")


def _is_outside(run: OperatorRun, kind: str) -> bool:
    return run.operator == kind and run.is_delegated is False


def _borders(facts: Facts) -> Iterator[str]:
    pieces = sum(run.operator == HAND_OVER for run in facts.runs)
    ms = facts.ms(lambda run: run.operator == HAND_OVER)
    if pieces > 1 and facts.share(ms) >= OUTSIDE_SHARE:
        between = ", ".join(dict.fromkeys(run.operator for run in facts.runs if run.is_delegated is False))
        yield f"the graph is cut into {pieces} delegate calls, whose borders {_plural(_cost(facts, ms))}: by {between}"


def _channel_orders(facts: Facts) -> Iterator[str]:
    def is_copy(run: OperatorRun) -> bool:
        return run.operator.startswith(_LAYOUT)

    ms, count = facts.ms(is_copy), sum(map(is_copy, facts.runs))
    if facts.share(ms) >= SHARE:
        largest = max(filter(is_copy, facts.runs), key=lambda run: run.ms or 0.0)
        yield (
            f"{count} copies between channel orders {_plural(_cost(facts, ms))}, the longest {largest.ms:.2f} ms: they "
            "stand where an operator wants the channels last and its neighbour wants them first"
        )


def _quantizing(facts: Facts) -> Iterator[str]:
    def is_border(run: OperatorRun) -> bool:
        return run.operator.startswith(_QUANTIZING)

    ms, count = facts.ms(is_border), sum(map(is_border, facts.runs))
    if facts.share(ms) >= SHARE:
        yield (
            f"quantizing and dequantizing ({count} times) {_cost(facts, ms)}: float operators stand between integer "
            f"ones; {_PLAIN}"
        )


def _neural_engine(facts: Facts) -> Iterator[str]:
    if family(facts.runtime) != "coreml":
        return
    floats = sum(run.operator.endswith("(float32)") for run in facts.runs)
    if floats:
        which = "all" if floats == len(facts.runs) else f"{floats} of"
        yield (
            f"{which} {len(facts.runs)} operators work on float32, which Apple runs on GPU and CPU only; the Neural "
            "Engine takes float16 (edgeseg export --only coreml --precision float16)"
        )
    others = [run for run in facts.runs if not run.operator.endswith("(float32)")]
    for is_taken, claim in ((False, "cannot run on the Neural Engine"), (None, "has no public word on where it runs")):
        for kind in dict.fromkeys(run.operator for run in others if run.is_delegated is is_taken):
            yield f"{kind} {claim}"


def _cost(facts: Facts, ms: float) -> str:
    return f"takes {100 * facts.share(ms):.0f} % of the time ({ms:.2f} ms)"


def _plural(cost: str) -> str:
    return cost.replace("takes", "take", 1)

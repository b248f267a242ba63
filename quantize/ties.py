"""Steps of grids that keep sums of two maps away from ties.

Engines round a sum of two integer maps by factors of their own: XNNPACK's have 21 bits, ONNX Runtime's are float32. Of
the 65,536 pairs of integers a few lie so near half-way between two results that the factors decide, and such a pair may
occur in every image. A step that is a little larger or smaller has no such pair.
"""

from __future__ import annotations

import torch
from torch import fx

from edgeseg.quantize.activations import ActivationQuantizer
from edgeseg.quantize.modules import Grid, QuantConstant, grids_of
from edgeseg.quantize.operators import SUMS, after_clamps

_CANDIDATES = 101
_CHANGE = 1e-4  # of the step, from one candidate to the next: half a percent at most


@torch.no_grad()
def avoid_ties(prepared: fx.GraphModule) -> None:
    """Moves the step of every grid that a sum of two maps goes to, in graph order, by half a percent at most.

    Args:
        prepared: Calibrated; its grids' steps are changed.
    """
    grids = grids_of(prepared)
    for node in prepared.graph.nodes:
        end, limits = after_clamps(node, prepared)
        quantizer = grids.get(end)
        sources = [grids[source] for source in node.all_input_nodes if source in grids]
        if node.target in SUMS and len(sources) == 2 and isinstance(quantizer, ActivationQuantizer):
            _settle(quantizer, sources, has_relu=limits[0] == 0.0)


def distance_from_ties(quantizer: ActivationQuantizer, sources: list[Grid], *, has_relu: bool) -> float:
    """Least distance, in steps, of the sum of any two integers from half-way between two results; 0.5 at most."""
    left, right = (_integers(source).double() * source.scale.double() for source in sources)
    total = (left[:, None] + right[None, :]) / quantizer.scale.double()
    least = 0 if has_relu else quantizer.low - int(quantizer.zero_point)
    total = total[(total > least - 1) & (total < quantizer.high - int(quantizer.zero_point) + 1)]
    if not len(total):
        return 0.5
    return float(((total - total.floor()) - 0.5).abs().min())


def _settle(quantizer: ActivationQuantizer, sources: list[Grid], *, has_relu: bool) -> None:
    begin = quantizer.scale.clone()
    found = {}
    for index in range(_CANDIDATES):
        change = (index + 1) // 2 * (-1) ** index * _CHANGE  # 0, -1, 1, -2, 2, ...
        quantizer.scale.copy_(begin * (1 + change))
        found[float(quantizer.scale)] = distance_from_ties(quantizer, sources, has_relu=has_relu)
    quantizer.scale.fill_(max(found, key=found.__getitem__))


def _integers(source: Grid) -> torch.Tensor:
    """(n,) int64 distances from the zero point that may occur."""
    if isinstance(source, QuantConstant):
        codes: torch.Tensor = torch.unique(source.value_int8)  # type: ignore[no-untyped-call]
    else:
        codes = torch.arange(source.low, source.high + 1, device=source.scale.device)
    return codes.long() - source.zero_point.long()

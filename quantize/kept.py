"""Which of the weights that fine-tuning passes through are kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from edgeseg.quantize.divergence import disagreement, distillation_loss
from edgeseg.structures import Slots

NUM_HELD_OUT = 4  # batches of calibration images for each check

State = dict[str, torch.Tensor]


class Average:
    """A running average of a network's parameters.

    Args:
        network: Its parameters are averaged; its buffers are not.
        decay: Share of the average that a step leaves; 0 = the parameters themselves.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.parameters = dict(network.named_parameters())
        self.state: State = {}
        if decay:
            self.state = {name: value.detach().clone() for name, value in self.parameters.items()}
        self._blend = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update(self) -> None:
        """Takes one step of the parameters in."""
        if self.state:
            self._blend(list(self.state.values()), [value.detach() for value in self.parameters.values()], 0)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the averaged parameters inside the block."""
        own = {name: value.detach().clone() for name, value in self.parameters.items()} if self.state else {}
        self._put(self.state)
        try:
            yield
        finally:
            self._put(own)

    def apply(self) -> None:
        """Gives the network the averaged parameters for good."""
        self._put(self.state)

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continues an average."""
        for name, value in state.items():
            self.state[name].copy_(value)

    @torch.no_grad()
    def _put(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, value in values.items():
            self.parameters[name].copy_(value)


class Best:
    """The weights whose pictures differ least from the teacher's on held-out images.

    Args:
        network: On its grids.
        teacher: The float model.
        held_out: Batches of (B, 3, H, W) float32 images, 0..255.
    """

    def __init__(self, network: nn.Module, teacher: nn.Module, held_out: Sequence[torch.Tensor]) -> None:
        self.network = network
        device = next(network.parameters()).device
        self.batches = [batch.to(device) for batch in held_out[:NUM_HELD_OUT]]
        with torch.no_grad():
            self.targets: list[Slots] = [teacher(batch) for batch in self.batches]
        self.step, self.lowest = 0, (math.inf, math.inf)
        self.state: State = {}

    @torch.no_grad()
    def look(self, step: int) -> None:
        """Compares the network as it is with the best so far; among equals the one closer to the teacher's logits."""
        answers = [(self.network(batch), target) for batch, target in zip(self.batches, self.targets, strict=True)]
        differing = sum(disagreement(answer, target) for answer, target in answers)
        value = (differing, sum(float(distillation_loss(answer, target)) for answer, target in answers))
        if value < self.lowest:
            self.step, self.lowest = step, value
            self.state = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}

    def restore(self) -> None:
        """Gives the network the best weights."""
        self.network.load_state_dict(self.state)

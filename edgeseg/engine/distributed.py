"""Batch norm and sums over all processes, also on the CPU."""

from __future__ import annotations

import functools
import operator
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce


class _SyncedNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose statistics are those of the global batch; torch's SyncBatchNorm exists for GPUs only."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        pass

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(input)
        dims = [d for d in range(input.dim()) if d != 1]
        count = torch.tensor([input.numel() / input.shape[1]], dtype=input.dtype, device=input.device)
        local = torch.cat([input.sum(dims), (input * input).sum(dims), count])
        sums: torch.Tensor = all_reduce(local)  # type: ignore[no-untyped-call]
        total, squares, number = sums[: self.num_features], sums[self.num_features : -1], sums[-1]
        mean = total / number
        variance = squares / number - mean * mean
        with torch.no_grad():
            momentum = self.momentum or 0.1
            self.running_mean.lerp_(mean, momentum)  # type: ignore[union-attr]
            self.running_var.lerp_(variance * number / (number - 1), momentum)  # type: ignore[union-attr]
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        shape = [1, -1] + [1] * (input.dim() - 2)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        result: torch.Tensor = input * scale.view(shape) + (self.bias - mean * scale).view(shape)
        return result


def synchronise_norms(model: nn.Module) -> nn.Module:
    """Replaces batch norms by ones over all processes, keeping weights and names; nothing with a single process."""
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return model
    if next(model.parameters()).is_cuda:
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    _replace_norms(model)
    return model


def _replace_norms(model: nn.Module) -> None:
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            synced = _SyncedNorm(child.num_features, child.eps, child.momentum)
            synced.load_state_dict(child.state_dict())
            setattr(model, name, synced.train(child.training))
        else:
            _replace_norms(child)


Sums = TypeVar("Sums")


def sum_over_processes(part: Sums) -> Sums:
    """The sum of every process's part, in all of them; the part itself where there is one process."""
    if not dist.is_initialized():
        return part
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, part)
    total: Sums = functools.reduce(operator.add, parts)
    return total

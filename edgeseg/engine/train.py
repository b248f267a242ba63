"""The training loop."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel

from edgeseg.config import Config, DataConfig, config_to_dict
from edgeseg.data.loader import CachedSamples, Samples, train_loader
from edgeseg.display import TrainingDisplay, say
from edgeseg.engine.checkpoint import load_checkpoint, load_weights, pack_optimizer, save_checkpoint, unpack_optimizer
from edgeseg.engine.distill import Teacher, load_teacher
from edgeseg.engine.distributed import sum_over_processes, synchronise_norms
from edgeseg.engine.evaluate import evaluate_metrics, torch_predictor
from edgeseg.engine.memory import keep_freed_memory
from edgeseg.engine.norms import batch_norms, settle_norms
from edgeseg.engine.schedule import Clock, learning_rate_factor
from edgeseg.engine.start import start_from
from edgeseg.losses.registry import build_loss
from edgeseg.models import SlotsModel, build_model
from edgeseg.structures import Batch, Category, CheckError, InputError


class Task(nn.Module):
    """Model, loss and teacher as the one module that is trained (and wrapped for many processes)."""

    def __init__(self, model: SlotsModel, loss: nn.Module, teacher: Teacher | None = None) -> None:
        super().__init__()
        self.model, self.loss, self.teacher = model, loss, teacher

    def forward(self, fields: dict[str, Any], generators: Sequence[torch.Generator]) -> dict[str, torch.Tensor]:
        """Weighted loss terms and their "total".

        Args:
            fields: Of a `Batch`: Fabric looks into what it hands over, and takes no frozen dataclass.
            generators: One for each image.
        """
        batch = Batch(**fields)
        image = batch.image.float().contiguous(memory_format=torch.channels_last)
        answer = self.model.forward_training(image)
        terms: dict[str, torch.Tensor] = self.loss(answer, batch, generators)
        if self.teacher is not None:
            learnt: dict[str, torch.Tensor] = self.teacher(answer, image, batch)
            terms = {**terms, **learnt, "total": torch.stack([terms["total"], *learnt.values()]).sum()}
        return terms


class Trainer:
    """One training run: weights, optimiser, clock and what is written to the run's folder.

    Args:
        config: The experiment.
        categories: In order of their contiguous index.
        out: The run's folder: last.safetensors, best.safetensors, metrics.jsonl, config.json.
        fabric: Device, precision and processes.
        resume: Continue from `out`/last.safetensors, which must be of the same experiment; what the run started from
            is not needed again.

    Raises:
        InputError: What to start from, to learn from or to resume cannot be read, or is of another experiment.
    """

    def __init__(
        self, config: Config, categories: Sequence[Category], out: Path, fabric: Fabric, *, resume: bool = False
    ) -> None:
        self.config, self.categories, self.out, self.fabric = config, categories, out, fabric
        torch.manual_seed(config.train.seed)
        model = build_model(config.model, [c.is_thing for c in categories], config.data.image_size)
        self.start = ""
        if config.train.pretrained is not None and not resume:
            self.start = start_from(model, config.train.pretrained, config, categories)
        # Faster than contiguous on a CPU, in float32 and bfloat16 (bench/train_speed.py).
        model = model.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model: SlotsModel = synchronise_norms(model)  # type: ignore[assignment]
        self.average = AveragedModel(self.model, multi_avg_fn=_ema(config.train.ema_decay), use_buffers=True)
        teacher = None
        if config.train.teacher is not None:
            teacher = load_teacher(config.train.teacher, categories, config.data.image_size, config.loss)
        task = Task(self.model, build_loss(config.model.head, config.loss, [c.is_thing for c in categories]), teacher)
        self.task, self.optimizer = fabric.setup(task, _optimizer(self.model, config))
        self.clock = Clock(config.train)
        self.metrics: dict[str, Any] = {}
        self.norms_are_frozen = False
        self.beyond_slots = 0
        self.best_pq, self.best_images = -1.0, config.train.eval_images
        self.stop_signal: int | None = None
        if resume:
            self._resume()

    def _resume(self) -> None:
        checkpoint = load_checkpoint(self.out, prefer="last")
        if "training" not in checkpoint.extra:
            raise InputError(f"{checkpoint.path} has no optimiser state to resume from; last.safetensors is needed")
        ours, theirs = config_to_dict(self.config), config_to_dict(checkpoint.config)
        if changed := [f"{part}.{key}" for part in ours for key in ours[part] if ours[part][key] != theirs[part][key]]:
            raise InputError(
                f"{checkpoint.path} was trained with another {', '.join(changed)}; resume with the same or choose --out"
            )
        load_weights(self.model, checkpoint.tensors["model"], checkpoint.path)
        self.average.module.load_state_dict(checkpoint.tensors["weights"])
        unpack_optimizer(self.optimizer.optimizer, checkpoint.tensors["optimizer"])
        state = checkpoint.extra["training"]
        self.average.n_averaged.fill_(state["n_averaged"])  # type: ignore[operator]
        self.clock.step, self.clock.seconds, self.best_pq = checkpoint.step, state["seconds"], state["best_pq"]
        self.norms_are_frozen = state.get("norms_are_frozen", False)  # files from before it have none
        self.metrics = checkpoint.metrics
        if self.fabric.is_global_zero and (log := self.out / "metrics.jsonl").exists():
            os.truncate(log, log.read_bytes().rfind(b"\n") + 1)  # a full disk or a kill leaves half a line

    def fit(self, train: Samples, val: Samples, *, quiet: bool = False) -> dict[str, Any]:
        """Trains to the end of the schedule, or until a signal asks to stop.

        Args:
            train: Images to learn from.
            val: Images to evaluate on.
            quiet: Show no progress.

        Returns:
            The last evaluation ({} if the run was interrupted before the first).

        Raises:
            CheckError: The loss is not finite; step and image ids are named.
        """
        keep_freed_memory()
        if self.fabric.is_global_zero:
            self.out.mkdir(parents=True, exist_ok=True)
            (self.out / "config.json").write_text(json.dumps(config_to_dict(self.config), indent=2) + "\n")
        show = quiet or not self.fabric.is_global_zero
        if self.start:
            say(self.start, quiet=show)
        with self._catching_signals(), TrainingDisplay(self.out.name, quiet=show) as display:
            self.clock.start()
            samples = CachedSamples(train)
            for batch in self._batches_left(samples):
                if not self.norms_are_frozen and 1.0 - self.clock.fraction <= self.config.train.frozen_norms_fraction:
                    self._freeze_norms(samples)
                terms = self.step(batch)
                self.clock.tick()
                beyond = sum(map(self.model.head.beyond_slots, batch.categories))
                self.beyond_slots += beyond
                spent = {"seconds": round(self.clock.seconds, 2), "segments_beyond_slots": beyond}
                self._log({"step": self.clock.step, **spent, "lr": self.lr, **terms})
                parts = {name: value for name, value in terms.items() if name != "total"}
                left, pq = self.clock.seconds_left, self.metrics.get("all", {}).get("pq")
                display.update(self.clock.step, self.clock.total_steps, parts, pq=pq, seconds_left=left, lr=self.lr)
                done = self.clock.fraction >= 1.0
                if self._stopping():
                    break
                every = self.config.train.eval_every
                if not done and every and self.clock.step % every == 0:
                    self._settle_before_evaluation(samples)
                    self.evaluate(val, self.config.train.eval_images)
                elif not done and self.clock.step % self.config.train.save_every == 0:
                    self.save("last")
                self.clock.start()
                if done:
                    break
        if self.beyond_slots:
            head = f"head {self.config.model.head} has {self.model.head.num_slots}"
            say(f"{self.beyond_slots} segments of the training images had no slot of their own ({head})", quiet=show)
        if self.stop_signal is None:
            self._settle_before_evaluation(samples)
            self.evaluate(val, 0)
        else:
            self.save("last")
            if self.fabric.is_global_zero:
                name = signal.Signals(self.stop_signal).name
                say(f"stopped at step {self.clock.step} by {name}; --resume continues from {self.out}")
        return self.metrics

    @property
    def lr(self) -> float:
        """Learning rate of the head in force."""
        return float(self.optimizer.param_groups[-1]["lr"])

    def step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; returns the loss terms averaged over processes."""
        factor = learning_rate_factor(self.clock.fraction, self.config.train)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.model.train()
        if self.norms_are_frozen:
            for norm in batch_norms(self.model):
                norm.eval()
        terms = self.task(vars(self._to_device(batch)), self._generators(len(batch.image_ids)))
        values = {name: float(value) for name, value in self.fabric.all_reduce(_detached(terms)).items()}  # type: ignore[union-attr]
        if not math.isfinite(values["total"]):
            bad = ", ".join(f"{name} = {value}" for name, value in values.items() if not math.isfinite(value))
            raise CheckError(
                f"loss not finite at step {self.clock.step + 1} ({bad}); images {batch.image_ids}; try a lower train.lr"
            )
        self.fabric.backward(terms["total"])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.config.train.ema_decay > 0:
            self.average.update_parameters(self.model)
        return values

    def evaluate(self, val: Samples, max_images: int) -> None:
        """Scores the averaged weights, each process a share, keeps them as `best` if they are, and saves `last`."""
        predictor = torch_predictor(self.to_evaluate.eval(), self.config.merge, self.categories, self.fabric.device)
        began = time.monotonic()
        part = evaluate_metrics(
            predictor,
            val,
            (),
            size=self.config.data.image_size,
            categories=self.categories,
            max_images=max_images,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
        )
        result = sum_over_processes(part).quality.compute()
        self.metrics = result.to_dict()
        self._log({"step": self.clock.step, "eval_seconds": round(time.monotonic() - began, 2), "eval": self.metrics})
        if result.all.pq >= self.best_pq or max_images != self.best_images:  # other images, another scale
            self.best_pq, self.best_images = result.all.pq, max_images
            self.save("best")
        self.save("last")
        self.fabric.barrier()

    @property
    def to_evaluate(self) -> SlotsModel:
        """The averaged network, or the trained one where averaging is off."""
        return self.average.module if self.config.train.ema_decay > 0 else self.model  # type: ignore[return-value]

    def save(self, name: str) -> None:
        """Writes `last` with everything a resumed run needs, or `best` with the weights alone; first process only."""
        if not self.fabric.is_global_zero:
            return
        tensors = {"weights": self.to_evaluate.state_dict()}
        extra: dict[str, Any] = {}
        if name == "last":
            tensors |= {"model": self.model.state_dict(), "optimizer": pack_optimizer(self.optimizer.optimizer)}
            averaged = int(self.average.n_averaged)  # type: ignore[arg-type]
            extra["training"] = {
                "seconds": self.clock.seconds,
                "best_pq": self.best_pq,
                "n_averaged": averaged,
                "norms_are_frozen": self.norms_are_frozen,
            }
        save_checkpoint(
            self.out / f"{name}.safetensors",
            tensors,
            config=self.config,
            categories=self.categories,
            step=self.clock.step,
            metrics=self.metrics,
            extra=extra,
        )

    def _freeze_norms(self, train: Samples) -> None:
        """From here on the norms keep the statistics of the weights of now, and the average begins anew.

        Weights that were trained beside statistics of each batch do not fit these: averaged in, they held a run back
        whose frozen part was shorter than the average is long (docs/training.md).
        """
        self._settle_norms(self.model, train)
        self.average.n_averaged.zero_()  # type: ignore[operator]
        self.norms_are_frozen = True
        self.clock.start()

    def _settle_before_evaluation(self, train: Samples) -> None:
        """Averaged weights have statistics of their own, unless they were trained with frozen ones."""
        if not self.norms_are_frozen:
            self._settle_norms(self.to_evaluate, train)

    def _settle_norms(self, model: SlotsModel, train: Samples) -> None:
        """Norm statistics of the weights of now, from the batches that the training had last."""
        if (count := self.config.train.norm_batches) == 0:
            return
        first = max(0, self.clock.step - count)
        batches = self._batches(train, replace(self.config.data, num_workers=0), first, count)
        settle_norms(model, (self._to_device(batch).image.float() for batch in batches))

    def _batches_left(self, train: Samples) -> Iterator[Batch]:
        if self.clock.fraction >= 1.0:
            return iter(())
        unlimited = 1 << 40
        count = self.config.train.steps - self.clock.step if self.config.train.minutes is None else unlimited
        return self._batches(train, self.config.data, self.clock.step, count)

    def _batches(self, train: Samples, data: DataConfig, first: int, count: int) -> Iterator[Batch]:
        return train_loader(
            train,
            self.categories,
            data,
            seed=self.config.train.seed,
            start_step=first,
            num_steps=count,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
        )

    def _generators(self, count: int) -> list[torch.Generator]:
        first = self.clock.step * self.config.data.batch_size + self.fabric.global_rank * count
        base = self.config.train.seed << 40
        return [torch.Generator().manual_seed(base + first + i) for i in range(count)]

    def _to_device(self, batch: Batch) -> Batch:
        device = self.fabric.device
        if device.type == "cpu":
            return batch
        return replace(
            batch,
            image=batch.image.to(device),
            label_map=batch.label_map.to(device),
            categories=[c.to(device) for c in batch.categories],
        )

    def _log(self, record: dict[str, Any]) -> None:
        if self.fabric.is_global_zero:
            with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")

    def _stopping(self) -> bool:
        """Whether any process got a signal; all must leave the loop at the same step."""
        if self.fabric.world_size == 1:
            return self.stop_signal is not None
        signals = self.fabric.all_reduce(torch.tensor(float(self.stop_signal or 0)), reduce_op="max")
        self.stop_signal = int(signals) or None  # type: ignore[arg-type]
        return self.stop_signal is not None

    @contextmanager
    def _catching_signals(self) -> Iterator[None]:
        def note(number: int, _: object) -> None:
            self.stop_signal = number

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def make_fabric(config: Config, *, devices: int = 1) -> Fabric:
    """Starts Lightning Fabric on one device, or on what torchrun set up."""
    distributed = torch.distributed.is_torchelastic_launched()
    fabric = Fabric(
        accelerator="auto",
        devices="auto" if distributed and torch.cuda.is_available() else _local_processes() if distributed else devices,
        num_nodes=_nodes() if distributed else 1,
        strategy="ddp" if distributed else "auto",
        precision=config.train.precision,
    )
    fabric.launch()
    return fabric


def _local_processes() -> int:
    return int(os.environ["LOCAL_WORLD_SIZE"])


def _nodes() -> int:
    return int(os.environ["WORLD_SIZE"]) // int(os.environ["LOCAL_WORLD_SIZE"])


def _optimizer(model: SlotsModel, config: Config) -> torch.optim.AdamW:
    """AdamW with no decay on norms, biases and queries, and its own rate for the backbone."""
    train = config.train
    groups = []
    for module, lr in ((model.backbone, train.lr * train.backbone_lr_scale), (model.head, train.lr)):
        named = list(module.named_parameters())
        matrices = [p for name, p in named if p.dim() > 1 and "queries" not in name]
        vectors = [p for name, p in named if p.dim() <= 1 or "queries" in name]
        groups += [
            {"params": matrices, "lr": lr, "initial_lr": lr, "weight_decay": train.weight_decay},
            {"params": vectors, "lr": lr, "initial_lr": lr, "weight_decay": 0.0},
        ]
    return torch.optim.AdamW(groups, fused=True)  # 2.5 times faster than foreach on a CPU


def _ema(decay: float) -> Any:
    """Averaging whose decay grows from 0.1 to `decay`, so that a short run is not held back by its first weights."""

    @torch.no_grad()
    def update(averages: list[torch.Tensor], values: list[torch.Tensor], count: torch.Tensor | int) -> None:
        weight = 1.0 - min(decay, (1.0 + float(count)) / (10.0 + float(count)))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, weight)
        else:
            torch._foreach_copy_(averages, values)

    return update


def _detached(terms: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in terms.items()}

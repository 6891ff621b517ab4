r"""The one training loop: take an objective to its minimum, and survive a kill.

All that a step draws at random comes from the seed, the step and the rank, and the
learning rate is a function of the step. So a checkpoint needs the weights, their moving
average, Adam's moments and the number of the step, and a run that was killed ends in the
very weights of one that was not.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from causal_diffusers.errors import CheckpointError
from causal_diffusers.seeding import draw_seed, spawn
from causal_diffusers.training.data import Rows
from causal_diffusers.training.objective import Defaults, Objective

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["TrainingConfig", "train_stage"]

_WARM_UP, _LOG_LINES = 20, 100


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How to train; None leaves a choice to the objective.

    Arguments:
        steps: Optimiser steps of each stage.
        batch_size: Rows a step, on each process.
        learning_rate: The peak of the learning rate, which warms up and decays to zero
            along a cosine.
        weight_decay: AdamW's weight decay.
        ema_decay: Decay of the moving average of the weights that is kept in the end.
        gradient_accumulation_steps: Batches a step.
        mixed_precision: `"no"`, `"bf16"` or, on a GPU, `"fp16"`.
        checkpoint_every: Steps between two checkpoints.
        draws: Points of the Sobol set of Gaussian confounders.
        seed: Where all randomness of training comes from.

    Example:
        >>> TrainingConfig(steps=100).with_defaults(Defaults(9, None, 1e-2)).steps
        100
    """

    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    ema_decay: float | None = None
    gradient_accumulation_steps: int = 1
    mixed_precision: str = "no"
    checkpoint_every: int = 500
    draws: int = 256
    seed: int = 0

    def with_defaults(self, defaults: Defaults) -> TrainingConfig:
        """Fill in what was left to the objective."""
        chosen = dataclasses.asdict(defaults)
        return dataclasses.replace(
            self, **{k: v for k, v in chosen.items() if getattr(self, k) is None}
        )


def train_stage(
    objective: Objective,
    rows: Rows,
    config: TrainingConfig,
    accelerator: Accelerator,
    *,
    label: str,
    folder: Path | None = None,
) -> None:
    """Minimise an objective, from its latest checkpoint if there is one.

    Arguments:
        objective: What to minimise; its components end in their trained state.
        rows: The data.
        config: How to train.
        accelerator: Devices, precision and processes.
        label: What to call the stage in the progress bar, the log and errors.
        folder: Where the checkpoint and the log go; None keeps neither.

    Raises:
        FloatingPointError: If a loss is not finite; the row is named.
        CheckpointError: If the checkpoint belongs to other data or another config.
    """
    _Stage(objective, rows, config.with_defaults(objective.defaults), accelerator, label, folder).run()


class _Stage:
    """The state of one run of the loop."""

    def __init__(
        self,
        objective: Objective,
        rows: Rows,
        config: TrainingConfig,
        accelerator: Accelerator,
        label: str,
        folder: Path | None,
    ) -> None:
        self.objective, self.rows, self.config = objective, rows, config
        self.accelerator, self.label, self.folder = accelerator, label, folder
        self.state = objective.trainable_state()
        self.average = {name: p.detach().clone() for name, p in self.state.items()}
        rate, decay = config.learning_rate, config.weight_decay
        adam = torch.optim.AdamW(self.state.values(), lr=rate, weight_decay=decay)
        self.model, self.adam = accelerator.prepare(objective, adam)
        self.average = {n: a.to(accelerator.device) for n, a in self.average.items()}
        self.counts = rows.counts(objective.columns) if config.batch_size is None else None
        self.step = 0

    def run(self) -> None:
        self._restore()
        self.objective.train()
        bar = tqdm(
            total=self.config.steps,
            initial=self.step,
            desc=self.label,
            disable=not self.accelerator.is_main_process,
        )
        started = time.perf_counter()
        while self.step < self.config.steps:
            loss = self._advance()
            bar.update()
            if self._is_due(max(1, self.config.steps // _LOG_LINES)):
                bar.set_postfix(loss=f"{loss:.4f}")
                self._log(loss, time.perf_counter() - started)
            if self._is_due(self.config.checkpoint_every):
                self._checkpoint()
        bar.close()
        self._finish()

    def _advance(self) -> float:
        """Take one optimiser step and give the loss before it."""
        self._set_learning_rate()
        total = 0.0
        for batch, weights, seed in self._batches():
            with self.accelerator.accumulate(self.model):
                losses = self.model(batch, seed)
                self._check_finite(losses, batch, seed)
                loss = (weights * losses).sum() / weights.sum()
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
                self.adam.step()
                self.adam.zero_grad()
            total += loss.item() / self.config.gradient_accumulation_steps
        self.step += 1
        self._average_weights()
        return total

    def _batches(self) -> Iterator[tuple[dict[str, Tensor], Tensor, int]]:
        """Give the batches of this step, each with weights and a seed of its own."""
        device, rank = self.accelerator.device, self.accelerator.process_index
        for part in range(self.config.gradient_accumulation_steps):
            generator = spawn(self.config.seed, self.label, self.step, rank, part)
            if self.counts is not None:
                batch, weights = self.counts
            else:
                size = (self.config.batch_size,)
                self._index = torch.randint(len(self.rows), size, generator=generator)
                batch = self.rows.batch(self._index, self.objective.columns)
                weights = torch.ones(size)
            batch = {name: value.to(device) for name, value in batch.items()}
            yield batch, weights.to(device), draw_seed(generator) % 2**31

    def _set_learning_rate(self) -> None:
        progress = self.step / self.config.steps
        factor = 0.5 * (1 + math.cos(math.pi * progress)) * min(1, (self.step + 1) / _WARM_UP)
        for group in self.adam.param_groups:
            group["lr"] = self.config.learning_rate * factor

    def _average_weights(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self.state.items():
                self.average[name].lerp_(parameter, 1 - decay)

    def _check_finite(self, losses: Tensor, batch: dict[str, Tensor], seed: int) -> None:
        if torch.isfinite(losses).all():
            return
        position = int((~torch.isfinite(losses)).nonzero()[0])
        row = position if self.counts is not None else int(self._index[position])
        where = "distinct row" if self.counts is not None else "row"
        raise FloatingPointError(
            f"The loss of {self.label} is {losses[position].item()} in {where} {row} at step "
            f"{self.step}. Lower `learning_rate`, or train with mixed_precision='no'."
        )

    def _is_due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.config.steps

    def _log(self, loss: float, seconds: float) -> None:
        if self.folder is None or not self.accelerator.is_main_process:
            return
        rate = self.adam.param_groups[0]["lr"]
        line = {"stage": self.label, "step": self.step, "loss": loss, "learning_rate": rate}
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps({**line, "seconds": round(seconds, 3)}) + "\n")

    def _fingerprint(self) -> str:
        """Say what a checkpoint must have been made from to be continued."""
        config = dataclasses.asdict(self.config)
        data = self.rows.fingerprint(self.objective.columns)
        shapes = {name: list(p.shape) for name, p in self.state.items()}
        return json.dumps([self.label, config, data, shapes], sort_keys=True)

    def _checkpoint(self) -> None:
        """Replace the checkpoint, in one move so that a kill leaves the old or the new."""
        if self.folder is None or not self.accelerator.is_main_process:
            return
        tensors = {f"weights.{n}": p.detach() for n, p in self.state.items()}
        tensors |= {f"average.{n}": a for n, a in self.average.items()}
        for index, moments in self.adam.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{key}": value for key, value in moments.items()}
        tensors = {name: t.cpu().contiguous() for name, t in tensors.items()}
        about = {"step": str(self.step), "made_from": self._fingerprint()}
        scaler = self.accelerator.scaler
        about["scaler"] = json.dumps(scaler.state_dict() if scaler is not None else {})
        partial = self._path().with_suffix(".partial")
        save_file(tensors, partial, metadata=about)
        partial.replace(self._path())

    def _restore(self) -> None:
        """Continue from the checkpoint, if there is one."""
        if self.folder is None or not self._path().is_file():
            return
        with safe_open(self._path(), framework="pt") as file:
            about = file.metadata()
        if about["made_from"] != self._fingerprint():
            raise CheckpointError(
                f"{self._path()}: the checkpoint of {self.label} was made from other data or "
                "with another `TrainingConfig`. Restore them, or choose another `output_dir`.",
                path=self._path(),
            )
        tensors = load_file(self._path(), device=str(self.accelerator.device))
        with torch.no_grad():
            for name, parameter in self.state.items():
                parameter.copy_(tensors[f"weights.{name}"])
                self.average[name].copy_(tensors[f"average.{name}"])
        self._restore_adam(tensors)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(json.loads(about["scaler"]))
        self.step = int(about["step"])

    def _restore_adam(self, tensors: dict[str, Tensor]) -> None:
        moments: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            if name.startswith("adam."):
                _, index, key = name.split(".")
                moments.setdefault(int(index), {})[key] = tensor
        self.adam.load_state_dict({**self.adam.state_dict(), "state": moments})

    def _path(self) -> Path:
        return Path(self.folder or ".") / "checkpoint.safetensors"

    def _finish(self) -> None:
        """Keep the moving average, in eval mode."""
        if self.config.ema_decay:
            with torch.no_grad():
                for name, parameter in self.state.items():
                    parameter.copy_(self.average[name])
        self.objective.eval()
        self.accelerator.wait_for_everyone()
        self.accelerator.free_memory()

r"""The one training loop: take an objective to its minimum, and survive a kill.

All that a step draws at random comes from the seed, the step and the rank, and the
learning rate is a function of the step. So a checkpoint needs the weights, their moving
average, Adam's moments and the number of the step, and a run that was killed ends in the
very weights of one that was not. In a game the opponent's weights and moments are there
too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import Tensor
from tqdm.auto import tqdm

from causal_diffusers.seeding import draw_seed, spawn
from causal_diffusers.training.batches import drawn_from
from causal_diffusers.training.checkpoint import StageFiles, damaged
from causal_diffusers.training.config import TrainingConfig
from causal_diffusers.training.data import Rows
from causal_diffusers.training.objective import Objective
from causal_diffusers.training.origin import made_from
from causal_diffusers.training.player import Player
from causal_diffusers.variables import Categorical

__all__ = ["check_precision", "main_process_first", "train_stage"]

_WARM_UP, _LOG_LINES, _LARGEST_GRADIENT = 20, 100, 1.0


def train_stage(
    objective: Objective,
    rows: Rows,
    config: TrainingConfig,
    *,
    label: str,
    folder: Path | None = None,
) -> None:
    """Minimise an objective, from its latest checkpoint if there is one.

    Arguments:
        objective: What to minimise; its components end in their trained state.
        rows: The data.
        config: How to train.
        label: What to call the stage in the progress bar, the log and errors.
        folder: Where the checkpoint, the trained weights and the log go, the same for all
            processes. None keeps nothing.

    Raises:
        FloatingPointError: If a loss is not finite; variable and row are named.
        CheckpointError: If the folder holds the training of other data, of another
            config or of other components.
        ValueError: If fp16 is asked for without a GPU, or nothing can be trained.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> from causal_diffusers.training import LikelihoodObjective
        >>> f = CategoricalMechanism().bind(Categorical([0, 1]), {}, {})
        >>> rows = Rows({"X": [0] * 9 + [1]}, {"X": Categorical([0, 1])})
        >>> config = TrainingConfig(steps=50)
        >>> train_stage(LikelihoodObjective({"X": f}, {}, {}), rows, config, label="{X}")
        >>> bool(f.probabilities({}, {}, num_samples=1)[0, 0] > 0.8)
        True
    """
    check_precision(config)
    files = None if folder is None else StageFiles(folder, made_from(objective, rows, config))
    if files is not None and files.finished.exists():
        files.finished.restore(objective.eval().trainable_state())
        files.checkpoint.remove()
        return
    with _accelerator(config) as accelerator, _others_frozen(objective):
        _Loop(objective, objective.derive(rows), config, accelerator, label, files).run()


def check_precision(config: TrainingConfig) -> None:
    """Refuse a precision that this machine would silently not have.

    Arguments:
        config: How to train.

    Raises:
        ValueError: If fp16 is asked for without a GPU.

    Example:
        >>> check_precision(TrainingConfig(mixed_precision="bf16"))
    """
    if config.mixed_precision == "fp16" and not torch.cuda.is_available():
        raise ValueError(
            '`TrainingConfig.mixed_precision` is "fp16", which needs a GPU: got none. Use '
            '"bf16" or "no".'
        )


@contextlib.contextmanager
def main_process_first() -> Iterator[None]:
    """Let the main process go through a block before the others do.

    Yields:
        Nothing, first in the main process.

    Example:
        >>> with main_process_first():
        ...     "written once"
        'written once'
    """
    with _accelerator(TrainingConfig()) as accelerator, accelerator.main_process_first():
        yield


@dataclasses.dataclass(frozen=True)
class _Batch:
    """Rows for one pass: their values, weights and numbers (None if they are counts)."""

    values: dict[str, Tensor]
    weights: Tensor
    seed: int
    numbers: Tensor | None


class _Loop:
    """The state of one run of the loop."""

    def __init__(
        self,
        objective: Objective,
        rows: Rows,
        config: TrainingConfig,
        accelerator: Accelerator,
        label: str,
        files: StageFiles | None,
    ) -> None:
        self.objective, self.rows, self.config = objective, rows, config
        self.accelerator, self.label, self.files = accelerator, label, files
        self.descent = config.descent(objective.defaults)
        objective.prepare(rows, config.seed, accelerator.device)
        self.state = _trainable(objective, label)
        rate, decay = self.descent.learning_rate, self.descent.weight_decay
        adam = torch.optim.AdamW(
            self.state.values(), lr=rate, betas=objective.betas, weight_decay=decay
        )
        self.model, self.adam = accelerator.prepare(objective, adam)
        self.opponent = objective.opponent
        self.players = [Player(self.state, self.adam)]
        if self.opponent is not None:
            self.players.append(Player.of(self.opponent, rate))
        averaged = self.state if self.descent.ema_decay else {}
        self.average = {n: p.detach().clone() for n, p in averaged.items()}
        size, device = self.descent.batch_size, accelerator.device
        self.draw, self.drawn = drawn_from(rows, objective, size, device)
        self.step = 0

    def run(self) -> None:
        self._restore()
        self.objective.train()
        self.model.zero_grad()  # what others left would be added to the first step
        try:
            self._descend()
        finally:
            self.model.zero_grad()
            self.objective.eval()
        self._finish()

    def _descend(self) -> None:
        """Take the steps that are left."""
        is_main, steps = self.accelerator.is_main_process, self.descent.steps
        logged = self.files.log.trim(self.step) if self.files and is_main else 0.0
        started = time.perf_counter() - logged
        name = f"{self.label}, {self.drawn}"
        with tqdm(total=steps, initial=self.step, desc=name, disable=not is_main) as bar:
            while self.step < steps:
                loss = self._advance()
                bar.update()
                if self._is_due(max(1, steps // _LOG_LINES)):
                    bar.set_postfix(loss=f"{loss:.4f}")
                    self._log(loss, time.perf_counter() - started)
                if self._is_due(self.config.checkpoint_every):
                    self._checkpoint()

    def _advance(self) -> float:
        """Take one optimiser step and give the loss before it."""
        self._set_learning_rate()
        self._let_opponent_move()
        total = 0.0
        for batch in self._batches():
            with self.accelerator.accumulate(self.model):
                losses = self.model(batch.values, batch.seed)
                self._check_finite(losses, batch)
                loss = (batch.weights * losses).sum() / batch.weights.sum()
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    self._clip_gradient()
                self.adam.step()
                self.adam.zero_grad()
            total += loss.item() / self.config.gradient_accumulation_steps
        self.step += 1
        self._average_weights()
        return total

    def _let_opponent_move(self) -> None:
        """Take the steps of the opponent, if there is one, each on a batch of its own."""
        if self.opponent is None:
            return
        where = self.label, self.step, self.accelerator.process_index
        for move in range(self.opponent.moves):
            generator = spawn(self.config.seed, *where, "opponent", move)
            self.players[-1].answer(self.opponent, self.draw, generator, self.accelerator)

    def _batches(self) -> Iterator[_Batch]:
        """Give the batches of this step, each with a seed of its own."""
        rank = self.accelerator.process_index
        for part in range(self.config.gradient_accumulation_steps):
            generator = spawn(self.config.seed, self.label, self.step, rank, part)
            values, weights, numbers = self.draw(generator)
            yield _Batch(values, weights, draw_seed(generator) % 2**31, numbers)

    def _set_learning_rate(self) -> None:
        progress = self.step / self.descent.steps
        factor = 0.5 * (1 + math.cos(math.pi * progress)) * min(1, (self.step + 1) / _WARM_UP)
        for player in self.players:
            player.set_learning_rate(self.descent.learning_rate * factor)

    def _clip_gradient(self) -> None:
        """Shorten a long gradient; refuse one that would spoil the weights."""
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), _LARGEST_GRADIENT)
        skips = self.accelerator.scaler is not None  # fp16 skips such steps, and goes on
        if not skips and norm is not None and not torch.isfinite(norm):
            raise FloatingPointError(
                f"The gradient of {self.label} is not finite at step {self.step}, though its "
                "loss is. Lower `learning_rate`, or train with mixed_precision='no'."
            )

    def _average_weights(self) -> None:
        decay = min(self.descent.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, mean in self.average.items():
                mean.lerp_(self.state[name], 1 - decay)

    def _check_finite(self, losses: Tensor, batch: _Batch) -> None:
        if torch.isfinite(losses).all():
            return
        position = int((~torch.isfinite(losses)).nonzero()[0])
        row = {name: value[position : position + 1] for name, value in batch.values.items()}
        names = ", ".join(f'"{name}"' for name in self.objective.culprits(row, batch.seed))
        raise FloatingPointError(
            f"The loss of {names} is {losses[position].item()} at step {self.step}, in "
            f"{self._place(row, position, batch)}. Lower `learning_rate`, or train with "
            "mixed_precision='no'."
        )

    def _place(self, row: dict[str, Tensor], position: int, batch: _Batch) -> str:
        """Say which row it is, or which rows if they are counts."""
        if batch.numbers is not None:
            return f"row {self.rows.number_of(int(batch.numbers[position]))} of the data"
        values = {name: self.rows.variables[name] for name in row}
        labels = {n: v.decode(row[n])[0] for n, v in values.items() if isinstance(v, Categorical)}
        which = ", ".join(f"{name}={label!r}" for name, label in labels.items())
        return f"the {int(batch.weights[position])} rows with {which}"

    def _is_due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.descent.steps

    def _log(self, loss: float, seconds: float) -> None:
        if self.files is not None and self.accelerator.is_main_process:
            rate, seconds = self.adam.param_groups[0]["lr"], round(seconds, 3)
            line = {"stage": self.label, "step": self.step, "loss": loss}
            self.files.log.append(**line, learning_rate=rate, seconds=seconds)

    def _weights(self) -> dict[str, Tensor]:
        tensors = {n: p for player in self.players for n, p in player.weights().items()}
        return tensors | {f"average.{name}": mean for name, mean in self.average.items()}

    def _moments(self) -> dict[str, Tensor]:
        return {n: m for player in self.players for n, m in player.moments().items()}

    def _checkpoint(self) -> None:
        if self.files is not None and self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            scale = json.dumps({} if scaler is None else scaler.state_dict())
            content = {**self._weights(), **self._moments()}
            self.files.checkpoint.write(content, step=str(self.step), scaler=scale)

    def _restore(self) -> None:
        """Continue from the checkpoint, if there is one."""
        if self.files is None or not self.files.checkpoint.exists():
            return
        moments = self._moments()
        about = self.files.checkpoint.restore({**self._weights(), **moments})
        try:
            self.step, scale = int(about["step"]), json.loads(about["scaler"])
        except (KeyError, ValueError) as error:
            raise damaged(self.files.checkpoint.path, error) from None
        for player in self.players:
            player.adopt(moments)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(scale)

    def _finish(self) -> None:
        """Keep the moving average, and say on disk that the stage is finished."""
        with torch.no_grad():
            for name, mean in self.average.items():
                self.state[name].copy_(mean)
        self.accelerator.wait_for_everyone()  # nobody still reads the checkpoint
        if self.files is not None and self.accelerator.is_main_process:
            self.files.finished.write(self.objective.trainable_state())
            self.files.checkpoint.remove()
        self.accelerator.wait_for_everyone()


def _trainable(objective: Objective, label: str) -> dict[str, Tensor]:
    """Give the parameters that move; those that the user froze do not."""
    state = {name: p for name, p in objective.trainable_state().items() if p.requires_grad}
    if not state:
        raise ValueError(
            f"{label} has nothing to train: no parameter has `requires_grad`. Undo "
            "`requires_grad_(False)` on its mechanisms."
        )
    return state


@contextlib.contextmanager
def _others_frozen(objective: Objective) -> Iterator[None]:
    """Freeze what another lesson trains: several processes wait for each gradient they expect."""
    moved = {id(p) for p in objective.trainable_state().values()}
    others = [p for p in objective.parameters() if p.requires_grad and id(p) not in moved]
    try:
        for parameter in others:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


@contextlib.contextmanager
def _accelerator(config: TrainingConfig) -> Iterator[Accelerator]:
    """Give an accelerator of the config's own precision, and leave no trace of it.

    accelerate keeps one precision for the whole process; a notebook has many trainers. It
    takes processes that torchrun started on CPUs for strangers, unless told about the CPU.
    """
    on_cpus = "LOCAL_RANK" in os.environ and not torch.accelerator.is_available()
    shared = AcceleratorState._shared_state, GradientState._shared_state
    before = [dict(state) for state in shared]
    for state in shared:
        state.clear()
    try:
        yield Accelerator(
            cpu=on_cpus,
            mixed_precision=config.mixed_precision,
            gradient_accumulation_steps=config.gradient_accumulation_steps,
        )
    finally:
        for state, content in zip(shared, before, strict=True):
            state.clear()
            state.update(content)

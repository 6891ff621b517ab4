r"""Train a pipeline module by module, following its plan.

The districts of the graph are trained one after the other in the order of the H-graph.
A finished district is written to disk and skipped when training starts again; one that
was interrupted continues from its checkpoint. What is already trained never moves.

References:
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 4, Algorithm 1.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file

from causal_diffusers.mechanisms import Component, DiffusionMechanism, LikelihoodMechanism
from causal_diffusers.training.data import Rows
from causal_diffusers.training.denoising import DenoisingObjective
from causal_diffusers.training.likelihood import LikelihoodObjective
from causal_diffusers.training.objective import Objective
from causal_diffusers.training.stage import TrainingConfig, train_stage

if TYPE_CHECKING:
    from accelerate import Accelerator

    from causal_diffusers.pipeline import CausalPipeline

__all__ = ["ModularTrainer"]


class ModularTrainer:
    """Train the mechanisms of a pipeline on data.

    Arguments:
        pipe: The pipeline; its components are trained in place.
        dataset: A mapping of columns, a pandas frame or a `datasets.Dataset`, with a
            column for each variable of the graph.
        output_dir: Where checkpoints, finished districts and the log go. Training
            continues from what it finds there. None keeps nothing.
        config: How to train every district.
        overrides: How to train the district of a variable instead, by variable.

    Raises:
        KeyError: If a variable has no column, or an override names no variable.
        ValueError: If a column holds a value that its variable cannot take, NaN
            included; variable and row are named. If fp16 is asked for without a GPU.
    """

    def __init__(
        self,
        pipe: CausalPipeline,
        dataset: Any,
        output_dir: str | os.PathLike[str] | None = None,
        config: TrainingConfig = TrainingConfig(),  # noqa: B008 (frozen)
        overrides: Mapping[str, TrainingConfig] | None = None,
    ) -> None:
        self.pipe, self.config, self.overrides = pipe, config, dict(overrides or {})
        unknown = self.overrides.keys() - set(pipe.graph.variables)
        if unknown:
            raise KeyError(
                f"`overrides` names {sorted(unknown)}, and the variables are "
                f"{list(pipe.graph.variables)}."
            )
        self.rows = Rows(dataset, pipe.variables)
        self.folder = None if output_dir is None else Path(output_dir)

    def train(self) -> None:
        """Train every district that is not finished yet.

        Raises:
            FloatingPointError: If a loss is not finite; district and row are named.
            CheckpointError: If `output_dir` holds the training of other data or of
                another config.
        """
        accelerator = _accelerator(self.config)
        home = self.pipe.device
        components = {n: c for n, c in self.pipe.components.items() if isinstance(c, Component)}
        self._remember_start(components)
        for planned in self.pipe.plan():
            for variables, _ in planned.districts:
                self._train_district(variables, accelerator)
        for component in components.values():
            component.to(home)

    def objective(self, variables: tuple[str, ...]) -> Objective:
        """Build the objective of one district.

        Arguments:
            variables: The variables of the district.

        Returns:
            The objective, over the pipeline's own components.
        """
        mechanisms = {name: self.pipe.components[name] for name in variables}
        only = mechanisms[variables[0]]
        if isinstance(only, DiffusionMechanism):
            return DenoisingObjective(variables[0], only)
        confounders = {n: u for m in mechanisms.values() for n, u in m.confounders.items()}
        priors = {n: self.pipe.components[n] for n, u in confounders.items() if u.states}
        return LikelihoodObjective(mechanisms, confounders, priors, self._config(variables).draws)

    def _train_district(self, variables: tuple[str, ...], accelerator: Accelerator) -> None:
        label = "{" + ", ".join(variables) + "}"
        folder = None if self.folder is None else self.folder / "+".join(variables)
        objective = self.objective(variables)
        if folder is not None and (folder / "finished.safetensors").is_file():
            _load(objective.components, folder / "finished.safetensors")
            return
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        train_stage(
            objective, self.rows, self._config(variables), accelerator, label=label, folder=folder
        )
        if folder is not None and accelerator.is_main_process:
            _save(objective.components, folder / "finished.safetensors")
            (folder / "checkpoint.safetensors").unlink(missing_ok=True)

    def _config(self, variables: tuple[str, ...]) -> TrainingConfig:
        chosen = [self.overrides[name] for name in variables if name in self.overrides]
        return chosen[0] if chosen else self.config

    def _remember_start(self, components: Mapping[str, Component]) -> None:
        """Write the weights that training starts from, or restore them after a kill."""
        if self.folder is None:
            return
        start = self.folder / "start.safetensors"
        if start.is_file():
            _load(components, start)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            _save(components, start)


def _accelerator(config: TrainingConfig) -> Accelerator:
    import torch
    from accelerate import Accelerator

    if config.mixed_precision == "fp16" and not torch.cuda.is_available():
        raise ValueError(
            "`mixed_precision='fp16'` needs a GPU, and there is none. Use 'bf16' or 'no'."
        )
    return Accelerator(
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
    )


def _save(components: Mapping[str, Component], path: Path) -> None:
    """Write the trainable tensors of components, in one move."""
    tensors = {
        f"{owner}.{name}": parameter.detach().cpu().contiguous()
        for owner, component in components.items()
        for name, parameter in component.trainable_state().items()
    }
    partial = path.with_suffix(".partial")
    save_file(tensors, partial)
    partial.replace(path)


def _load(components: Mapping[str, Component], path: Path) -> None:
    """Read the trainable tensors of components."""
    tensors = load_file(path)
    for owner, component in components.items():
        own = {n.removeprefix(f"{owner}."): t for n, t in tensors.items() if n.startswith(f"{owner}.")}
        component.load_trainable(own, where=path)

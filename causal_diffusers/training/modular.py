r"""Train a pipeline module by module, following its plan.

The districts of the graph are trained one after the other in the order of the H-graph.
A finished district is written to disk and skipped when training starts again; one that
was interrupted continues from its checkpoint. What is already trained never moves.

References:
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 4, Algorithm 1.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from causal_diffusers.mechanisms import Component, DiffusionMechanism
from causal_diffusers.training.checkpoint import Checkpoint, StageFiles
from causal_diffusers.training.config import TrainingConfig
from causal_diffusers.training.data import Columns, Rows
from causal_diffusers.training.denoising import DenoisingObjective
from causal_diffusers.training.likelihood import LikelihoodObjective
from causal_diffusers.training.objective import Objective
from causal_diffusers.training.origin import describe, made_from

if TYPE_CHECKING:
    from causal_diffusers.pipeline import CausalPipeline

__all__ = ["ModularTrainer"]

District = tuple[str, ...]


class ModularTrainer:
    """Train the mechanisms of a pipeline on data.

    Arguments:
        pipe: The pipeline; its components are trained in place.
        dataset: A mapping of columns, a pandas frame or a `datasets.Dataset`, with a
            column for each variable of the graph.
        output_dir: Where checkpoints, finished districts and the log go, a folder that all
            processes see. Training continues from what it finds there. None keeps nothing.
        config: How to train every district.
        overrides: How to train the district of a variable instead, by variable.

    Raises:
        KeyError: If a variable has no column, or an override names no variable.
        TypeError: If a config is not a `TrainingConfig`.
        ValueError: If a column holds a value that its variable cannot take, NaN
            included (variable and row are named); if a component of the pipeline is
            missing or not in float32; if two overrides disagree about one district; if
            fp16 is asked for without a GPU.

    Example:
        >>> from causal_diffusers import Categorical, CausalPipeline
        >>> pipe = CausalPipeline.from_graph("X -> Y", dict.fromkeys("XY", Categorical([0, 1])))
        >>> rows = {"X": [0, 0, 1, 1], "Y": [0, 0, 1, 1]}
        >>> ModularTrainer(pipe, rows, config=TrainingConfig(steps=50)).train()
        >>> pipe(2, do={"X": 1}, generator=torch.Generator().manual_seed(0)).values["Y"]
        [1, 1]
    """

    def __init__(
        self,
        pipe: CausalPipeline,
        dataset: Columns,
        output_dir: str | os.PathLike[str] | None = None,
        config: TrainingConfig = TrainingConfig(),  # noqa: B008 (frozen)
        overrides: Mapping[str, TrainingConfig] | None = None,
    ) -> None:
        self.pipe, self.config = pipe, _checked("config", config)
        self.overrides = _checked_overrides(overrides)
        self.components = {name: _trainable(name, c) for name, c in pipe.components.items()}
        self._check_overrides()
        self.rows = Rows(dataset, pipe.variables)
        self.folder = None if output_dir is None else Path(output_dir)

    def train(self) -> None:
        """Train every district that is not finished yet.

        Raises:
            FloatingPointError: If a loss is not finite; variable and row are named.
            CheckpointError: If `output_dir` holds the training of other data, of another
                config or of another pipeline, or a damaged file.
        """
        from causal_diffusers.training.stage import train_stage

        districts = self._districts()
        objectives = {district: self.objective(district) for district in districts}
        for district, objective in objectives.items():
            self._check_files(district, objective)
        self._remember_start()
        with _back_home(self.components):
            for district, objective in objectives.items():
                config, folder = self._config(district), self._folder(district)
                label = "{" + ", ".join(district) + "}"
                train_stage(objective, self.rows, config, label=label, folder=folder)

    def objective(self, variables: District) -> Objective:
        """Build the objective of one district.

        Arguments:
            variables: The variables of the district.

        Returns:
            The objective, over the pipeline's own components.

        Raises:
            TypeError: If a confounded variable has a mechanism without a likelihood.

        Example:
            >>> from causal_diffusers import Categorical, CausalPipeline
            >>> two = Categorical([0, 1])
            >>> pipe = CausalPipeline.from_graph("X <-> Y", dict.fromkeys("XY", two))
            >>> trainer = ModularTrainer(pipe, {"X": [0, 1], "Y": [0, 1]})
            >>> trainer.objective(("X", "Y")).columns
            ('X', 'Y')
        """
        mechanisms = {name: self.pipe.mechanisms[name] for name in variables}
        only = mechanisms[variables[0]]
        if isinstance(only, DiffusionMechanism) and len(variables) == 1:
            return DenoisingObjective(variables[0], only)
        confounders = {n: u for m in mechanisms.values() for n, u in m.confounders.items()}
        priors = {n: self.pipe.scm.priors[n] for n, u in confounders.items() if u.states}
        return LikelihoodObjective(mechanisms, confounders, priors, self._config(variables).draws)

    def _districts(self) -> list[District]:
        """List the districts in the order in which they are trained."""
        return [variables for planned in self.pipe.plan() for variables, _ in planned.districts]

    def _check_overrides(self) -> None:
        from causal_diffusers.training.stage import check_precision

        unknown = self.overrides.keys() - set(self.pipe.graph.variables)
        if unknown:
            raise KeyError(
                f"`overrides` names {sorted(unknown)}, and the variables are "
                f"{list(self.pipe.graph.variables)}."
            )
        for district in self._districts():
            check_precision(self._config(district))

    def _config(self, variables: District) -> TrainingConfig:
        chosen = {name: self.overrides[name] for name in variables if name in self.overrides}
        if len(set(chosen.values())) > 1:
            raise ValueError(
                f"`overrides` gives {' and '.join(chosen)} different configs: they are one "
                "district, trained as one. Name one of them, or give both the same."
            )
        return next(iter(chosen.values()), self.config)

    def _folder(self, variables: District) -> Path | None:
        return None if self.folder is None else self.folder / "+".join(variables)

    def _check_files(self, variables: District, objective: Objective) -> None:
        """Refuse the files of another training before any time is spent."""
        folder = self._folder(variables)
        if folder is not None:
            made = made_from(objective, self.rows, self._config(variables))
            StageFiles(folder, made).check()

    def _remember_start(self) -> None:
        """Write the weights that training starts from, or restore them after a kill."""
        from causal_diffusers.training.stage import main_process_first

        if self.folder is None:
            return
        made = {"components": {name: describe(c) for name, c in self.components.items()}}
        start = Checkpoint(self.folder / "start.safetensors", made)
        weights = {
            f"{owner}.{name}": tensor
            for owner, component in self.components.items()
            for name, tensor in component.trainable_state().items()
        }
        with main_process_first():
            if not start.exists():
                start.write(weights)
        start.restore(weights)


def _checked(argument: str, config: object) -> TrainingConfig:
    """Refuse what only looks like a config."""
    if isinstance(config, TrainingConfig):
        return config
    given = config if isinstance(config, Mapping) else {}
    fields = ", ".join(f"{key}={value!r}" for key, value in given.items())
    raise TypeError(
        f"`{argument}` is a `TrainingConfig`: got {config!r}. Write "
        f"`TrainingConfig({fields or 'steps=100'})`."
    )


def _checked_overrides(overrides: object) -> dict[str, TrainingConfig]:
    """Refuse overrides that are not one config for each of some variables."""
    if not isinstance(overrides, Mapping | None):
        raise TypeError(
            "`overrides` is a `TrainingConfig` by variable: got "
            f"{type(overrides).__name__}. Write "
            '`{"X": TrainingConfig(steps=100)}`; for all of them, use `config`.'
        )
    return {name: _checked(f'overrides["{name}"]', c) for name, c in (overrides or {}).items()}


def _trainable(name: str, component: Component | None) -> Component:
    """Refuse a component that was left out on loading, or that Adam would spoil."""
    if component is None:
        raise ValueError(
            f'Training needs every component of the pipeline: got None for "{name}". Load the '
            "pipeline with all its components."
        )
    other = {t.dtype for t in component.trainable_state().values()} - {torch.float32}
    if other:
        raise ValueError(
            f'Training needs float32: got {other.pop()} for "{name}". Call '
            "`pipe.to(torch.float32)`; `mixed_precision` is what makes it fast."
        )
    return component


@contextlib.contextmanager
def _back_home(components: Mapping[str, Component]) -> Iterator[None]:
    """Bring components back to the devices they came from, whatever happens."""
    homes = {name: component.device for name, component in components.items()}
    try:
        yield
    finally:
        for name, component in components.items():
            torch.nn.Module.to(component, homes[name])

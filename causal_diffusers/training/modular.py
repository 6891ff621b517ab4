r"""Train a pipeline module by module, following its plan.

The districts of the graph are trained one after the other in the order of the H-graph
(those of one h-node that are matched by sampling, together), each by the objective that
the config chooses, in one lesson or several. A finished district is written to disk and
skipped when training starts again; one that was interrupted continues from its
checkpoint. What is already trained never moves.

References:
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 4, Algorithm 1.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from causal_diffusers.graphs.notation import write_set
from causal_diffusers.mechanisms import Component, DiffusionMechanism
from causal_diffusers.seeding import spawn
from causal_diffusers.training.checkpoint import Checkpoint, StageFiles
from causal_diffusers.training.config import TrainingConfig
from causal_diffusers.training.data import Columns, Rows
from causal_diffusers.training.lessons import lessons_of
from causal_diffusers.training.objective import Objective
from causal_diffusers.training.origin import describe, made_from
from causal_diffusers.training.plan import TrainingPlan
from causal_diffusers.training.report import MOST_ROWS, FitReport, MisfitWarning, report_fit

if TYPE_CHECKING:
    from causal_diffusers.pipeline import CausalPipeline

__all__ = ["ModularTrainer", "back_home"]

District = tuple[str, ...]

_ENOUGH = 500  # rows of which a tenth can be spared


class ModularTrainer:
    """Train the mechanisms of a pipeline on data.

    Arguments:
        pipe: The pipeline; its components are trained in place.
        dataset: A mapping of columns, a pandas frame or a `datasets.Dataset`, with a
            column for each variable of the graph. A column `intervened` names the variables
            that were set by hand in each row (`""`, `"X"`, `"X,Y"`); see `intervened`.
        output_dir: Where checkpoints, finished districts and the log go, a folder that all
            processes see. Training continues from what it finds there. None keeps nothing.
        config: How to train every district.
        overrides: How to train the district of a variable instead, by variable; for a
            confounded image, how to train its denoiser alone.
        held_out: The share of the rows that training does not see, in [0, 1), drawn at
            random; `report` judges the model by them. None takes a tenth, but no more than
            the 2,000 rows that the report uses; and none of fewer than 500 rows, for 50
            would judge little and training needs them all. 0 trains on every row.

    Raises:
        KeyError: If a variable has no column, or an override names no variable.
        TypeError: If a config is not a `TrainingConfig`.
        ValueError: If a column holds a value that its variable cannot take, NaN
            included (variable and row are named); if a component of the pipeline is
            missing or not in float32; if two overrides disagree about one district; if
            an objective is not known or cannot train a mechanism; if fp16 is asked for
            without a GPU.

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
        held_out: float | None = None,
    ) -> None:
        self.pipe, self.config = pipe, _checked("config", config)
        self.overrides = _checked_overrides(overrides)
        self.components = {name: _trainable(name, c) for name, c in pipe.components.items()}
        self._check_overrides()
        plan = self._planned()
        self.rows, self.aside = _split(Rows(dataset, pipe.variables), held_out)
        self.plan = plan.with_experiments(self.rows.experiments)
        self.folder = None if output_dir is None else Path(output_dir)

    def train(self) -> None:
        """Train every district that is not finished yet.

        Raises:
            FloatingPointError: If a loss is not finite; variable and row are named.
            CheckpointError: If `output_dir` holds the training of other data, of another
                config or of another pipeline, or a damaged file.
        """
        from causal_diffusers.training.stage import train_stage

        taught = [self._lessons(variables) for _, variables, _ in self.plan.modules]
        lessons = [lesson for module in taught for lesson in module]
        for lesson in lessons:
            self._check_files(lesson)
        self._remember_start()
        with back_home(self.components.values()):
            for lesson in lessons:
                train_stage(
                    lesson.objective,
                    lesson.rows,
                    lesson.config,
                    label=lesson.label,
                    folder=lesson.folder,
                )
        self.pipe.experiments = self.rows.experiments

    def report(self, data: Columns | None = None, *, num_images: int = 200) -> FitReport:
        """Compare the trained pipeline with rows that it was not trained on.

        A variable that does not fit is warned about in words, by a `MisfitWarning`.

        Arguments:
            data: Such rows; if None those that were held out, and if none were the rows
                of the training, which the report says.
            num_images: How many images are generated for each image variable.

        Returns:
            The report; print it.

        Example:
            >>> from causal_diffusers import Categorical, CausalPipeline
            >>> pipe = CausalPipeline.from_graph("X", {"X": Categorical([0, 1])})
            >>> trainer = ModularTrainer(
            ...     pipe, {"X": [0, 1] * 300}, config=TrainingConfig(steps=50)
            ... )
            >>> trainer.train()
            >>> report = trainer.report()
            >>> report.num_rows, report.is_good
            (60, True)
        """
        rows = (self.aside or self.rows) if data is None else data
        report = report_fit(
            self.pipe,
            rows,
            num_images=num_images,
            num_trained=len(self.rows),
            are_held_out=rows is not self.rows,
        )
        if not report.is_good:
            warnings.warn(str(report), MisfitWarning, stacklevel=2)
        return report

    def objectives(self, variables: Collection[str]) -> tuple[Objective, ...]:
        """Build the objectives that train a district, or districts of an h-node together.

        Arguments:
            variables: Variables of what is trained at once.

        Returns:
            The objectives, over the pipeline's own components, in the order in which they
            are minimised.

        Raises:
            KeyError: If the variables are trained apart.

        Example:
            >>> from causal_diffusers import Categorical, CausalPipeline
            >>> two = Categorical([0, 1])
            >>> pipe = CausalPipeline.from_graph("X <-> Y", dict.fromkeys("XY", two))
            >>> trainer = ModularTrainer(pipe, {"X": [0, 1], "Y": [0, 1]})
            >>> [objective.columns for objective in trainer.objectives("X")]
            [('X', 'Y')]
        """
        for planned, module, objective in self.plan.modules:
            if set(variables) <= set(module):
                config = self._config(module)
                return lessons_of(objective, module, planned.stage, self.pipe.scm, config)
        raise KeyError(f"{write_set(variables)} is not trained as one. See `trainer.plan`.")

    def _lessons(self, module: District) -> list[_Lesson]:
        """Give each objective of a module a label and a folder."""
        objectives = self.objectives(module)
        label, folder = "{" + ", ".join(module) + "}", self._folder(module)
        if len(objectives) == 1:
            rows, config = objectives[0].select(self.rows), self._config(module)
            return [_Lesson(label, objectives[0], rows, config, folder)]
        taught = [[name for name in module if name in o.components] for o in objectives]
        return [
            _Lesson(
                f"{label}, {o.name}",
                o,
                o.select(self.rows),
                self._config(names),
                None if folder is None else folder / o.name,
            )
            for o, names in zip(objectives, taught, strict=True)
        ]

    def _planned(self) -> TrainingPlan:
        """Plan with the objectives that the configs choose."""
        overrides = {name: config.objective for name, config in self.overrides.items()}
        return self.pipe.plan(self.config.objective, overrides)

    def _check_overrides(self) -> None:
        from causal_diffusers.training.stage import check_precision

        unknown = self.overrides.keys() - set(self.pipe.graph.variables)
        if unknown:
            raise KeyError(
                f"`overrides` names {sorted(unknown)}, and the variables are "
                f"{list(self.pipe.graph.variables)}."
            )
        for district in self.pipe.graph.districts():
            check_precision(self._config(district))
        for config in self.overrides.values():
            check_precision(config)

    def _config(self, variables: Collection[str]) -> TrainingConfig:
        """Take the override of some variables; that of an image is for its own lesson."""
        alone = len(variables) == 1
        images = {n for n, m in self.components.items() if isinstance(m, DiffusionMechanism)}
        mine = set(variables) if alone else set(variables) - images
        chosen = {name: c for name, c in self.overrides.items() if name in mine}
        if len(set(chosen.values())) > 1:
            raise ValueError(
                f"`overrides` gives {' and '.join(chosen)} different configs: they are one "
                "district, or trained as one. Name one of them, or give both the same."
            )
        return next(iter(chosen.values()), self.config)

    def _folder(self, variables: District) -> Path | None:
        return None if self.folder is None else self.folder / "+".join(variables)

    def _check_files(self, lesson: _Lesson) -> None:
        """Refuse the files of another training before any time is spent."""
        if lesson.folder is not None:
            made = made_from(lesson.objective, lesson.rows, lesson.config)
            StageFiles(lesson.folder, made).check()

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


@contextlib.contextmanager
def back_home(components: Iterable[Component]) -> Iterator[None]:
    """Bring components back to the devices they came from, whatever happens.

    Arguments:
        components: What may be moved inside the block, as training does.

    Yields:
        Nothing.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> from causal_diffusers.variables import Categorical
        >>> f = CategoricalMechanism().bind(Categorical("ab"), {}, {})
        >>> with back_home([f]):
        ...     pass
        >>> f.device.type
        'cpu'
    """
    homes = [(component, component.device) for component in components]
    try:
        yield
    finally:
        for component, home in homes:
            torch.nn.Module.to(component, home)


@dataclasses.dataclass(frozen=True)
class _Lesson:
    """One objective that is minimised: how, under which name, and where it is kept."""

    label: str
    objective: Objective
    rows: Rows
    config: TrainingConfig
    folder: Path | None


def _split(rows: Rows, share: float | None) -> tuple[Rows, Rows | None]:
    """Put a share of the rows aside."""
    tenth = min(MOST_ROWS, len(rows) // 10) if len(rows) >= _ENOUGH else 0
    aside = tenth if share is None else round(share * len(rows))
    if share is not None and (not 0 <= share < 1 or aside == len(rows) or (share and not aside)):
        raise ValueError(
            f"`held_out` is the share of the {len(rows)} rows that training does not see, in "
            f"[0, 1): got {share!r}. None takes a tenth, up to {MOST_ROWS:,} rows."
        )
    if not aside:
        return rows, None
    order = torch.randperm(len(rows), generator=spawn(0, "held out"))
    return rows.take(order[aside:].sort().values), rows.take(order[:aside])


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

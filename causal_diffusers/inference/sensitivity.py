r"""How much does an answer depend on each edge of the graph?

A graph is an assumption. For every graph that differs from it by one edge (a directed one
removed, added or reversed; a bidirected one removed or added) this asks the same query
again: is it still identifiable, and if so, how far does the answer move,

$$ \max_x \mathrm{TV}\big(P_{G'}(y \mid do(x)), P_G(y \mid do(x))\big) ? $$

Where the estimand stays the same functional of the data, the answer cannot move and
nothing is trained. Else only the districts that the change touches are trained anew: those
with a member whose parents, confounders or district changed, as far as the query needs
them. All other components are those of the pipeline itself. An image is trained anew on the
same frozen network, from its trained adapter where the shapes allow.

Training and sampling move an answer too. So what was trained for any of the changes is trained
once more in the graph itself, with another seed; how far that moves the answer is the floor.

Rows in which something was set by hand count, for identification and for training, as they
do for the pipeline.

References:
    Making sense of sensitivity: extending omitted variable bias (Cinelli & Hazlett, 2020).
    A general identification condition for causal effects (Tian & Pearl, 2002), Sec. 3.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from causal_diffusers.errors import NotIdentifiableError
from causal_diffusers.graphs import ADMG
from causal_diffusers.graphs.changes import changed_graphs
from causal_diffusers.graphs.estimand import Estimand
from causal_diffusers.inference.answerable import check_answerable
from causal_diffusers.inference.changed import ChangedGraph, SensitivityTable
from causal_diffusers.inference.interventional import sample
from causal_diffusers.mechanisms import SamplingOptions
from causal_diffusers.mechanisms.pretrained import PretrainedMechanism
from causal_diffusers.mechanisms.renewal import renew, start_from
from causal_diffusers.metrics import total_variation
from causal_diffusers.query import Query, read_values
from causal_diffusers.seeding import draw_seed, spawn
from causal_diffusers.training.config import TrainingConfig
from causal_diffusers.training.data import Columns, Rows
from causal_diffusers.training.lessons import lessons_of
from causal_diffusers.training.modular import back_home
from causal_diffusers.training.objective import Objective
from causal_diffusers.variables import Categorical, Experiment, Variable

if TYPE_CHECKING:
    from causal_diffusers.pipeline import CausalPipeline

__all__ = ["sensitivity"]

# the module that it belongs to, what is minimised, and the rows that say so
_Lesson = tuple[tuple[str, ...], Objective, Rows]

_AGAIN = "trained again"


def sensitivity(
    pipe: CausalPipeline,
    query: Query | Estimand,
    data: Columns,
    *,
    config: TrainingConfig = TrainingConfig(),  # noqa: B008 (frozen)
    overrides: Mapping[str, TrainingConfig] | None = None,
    edges: Collection[tuple[str, str]] | None = None,
    num_samples: int = 20_000,
    num_inference_steps: int | None = None,
    output_dir: str | os.PathLike[str] | None = None,
) -> SensitivityTable:
    r"""Ask a query again in every graph that differs by one edge.

    Where an image is touched it is trained anew as well, which takes its time: say by
    `overrides` how long, or by `edges` which changes matter. A row that has no answer for
    another reason says so.

    References:
        Cinelli & Hazlett (2020).

    Arguments:
        pipe: The trained pipeline; it is not changed.
        query: What is asked of categorical variables: `pipe.identify(...)`, or a `Query`,
            with values or without.
        data: The rows that it was trained on, those of experiments included.
        config: How to train what has to be trained anew.
        overrides: How to train a variable instead, by variable, as in `ModularTrainer`; of a
            district the config of the first that is named, of an image that of its denoiser
            alone.
        edges: Pairs of variables; only changes between such two are looked at. None looks
            at all.
        num_samples: How many draws each answer rests on. Where an image lies on the way
            from cause to outcome, each draw is an image.
        num_inference_steps: In how many steps an image is drawn; None for the default.
        output_dir: Where finished districts are kept, so that a run that was stopped can
            go on. None keeps nothing.

    Returns:
        The table; print it.

    Raises:
        GraphError: If a name is unknown.
        ValueError: If the query is not about categorical variables.

    Example:
        >>> from causal_diffusers import CausalPipeline
        >>> pipe = CausalPipeline.from_graph("X -> Y", dict.fromkeys("XY", Categorical([0, 1])))
        >>> rows = {"X": [0, 1, 0, 1], "Y": [0, 1, 1, 1]}
        >>> table = sensitivity(
        ...     pipe, pipe.identify("Y", do="X"), rows,
        ...     config=TrainingConfig(steps=1), num_samples=10,
        ... )
        >>> sorted(row.change for row in table.rows)
        ['add X <-> Y', 'remove X -> Y', 'reverse X -> Y']
        >>> table["add X <-> Y"].is_identifiable
        False
    """
    names = query.outcomes, dict(_values(query, "do")), dict(_values(query, "given"))
    asked = Query.ask(pipe.graph, *names)
    _check_categorical(asked, pipe)
    for pair in edges or ():
        pipe.graph.select(pair, "edges")
    rows, options = Rows(data, pipe.variables), SamplingOptions(num_inference_steps)
    study = _Study(
        pipe, asked, rows, config, num_samples, output_dir, overrides=overrides, options=options
    )
    chosen = None if edges is None else {frozenset(pair) for pair in edges}
    changes = [c for c in changed_graphs(pipe.graph) if chosen is None or c[1] in chosen]
    entries = tuple(study.row(name, G) for name, _, G in tqdm(changes, desc=str(asked)))
    return SensitivityTable(str(asked), study.answer, entries, study.floor(entries))


class _Study:
    """What all changes of one graph share."""

    def __init__(
        self,
        pipe: CausalPipeline,
        query: Query,
        rows: Rows,
        config: TrainingConfig,
        num_samples: int,
        output_dir: str | os.PathLike[str] | None,
        *,
        overrides: Mapping[str, TrainingConfig] | None = None,
        options: SamplingOptions = SamplingOptions(),  # noqa: B008 (frozen)
    ) -> None:
        self.pipe, self.query, self.rows, self.config = pipe, query, rows, config
        self.num_samples, self.options = num_samples, options
        self.overrides = dict(overrides or {})
        pipe.graph.select(self.overrides, "overrides")
        self.folder = None if output_dir is None else Path(output_dir)
        self.estimand = self._identify(pipe.graph, pipe.experiments)
        self.answer = None if self.estimand is None else self.ask(pipe)

    def row(self, change: str, graph: ADMG) -> ChangedGraph:
        """Answer the query in a changed graph."""
        started, estimand = time.perf_counter(), self._identify(graph, self.rows.experiments)
        if estimand is None:
            return ChangedGraph(change, None, None, None)
        text = str(estimand)
        same = self.estimand is not None and estimand.expression == self.estimand.expression
        if same:
            return ChangedGraph(change, text, 0.0, self.answer, note="same estimand")
        changed = self._districts_to_train(graph)
        try:
            pipe, lessons = self._prepared(change, graph, changed)
        except (TypeError, ValueError) as error:  # no such mechanism in this graph
            return ChangedGraph(change, text, None, None, note=f"cannot be trained anew: {error}")
        answer = self.ask(self._trained(change, pipe, lessons))
        moved = None if self.answer is None else total_variation(answer, self.answer).max().item()
        seconds = time.perf_counter() - started
        return ChangedGraph(change, text, moved, answer, tuple(changed), seconds=seconds)

    def floor(self, rows: Iterable[ChangedGraph]) -> float | None:
        """Train what was trained for some rows anew in the graph itself, with another seed."""
        touched = {name for row in rows for district in row.retrained for name in district}
        own = self.pipe.graph
        needed = [d for d in self._districts_needed(own) if touched & set(d)]
        if self.answer is None or not needed:
            return None
        other = copy.copy(self)
        other.config = _reseeded(self.config)
        other.overrides = {name: _reseeded(config) for name, config in self.overrides.items()}
        try:
            pipe, lessons = other._prepared(_AGAIN, own, needed)
        except (TypeError, ValueError):  # it was trained in another way
            return None
        answer = other.ask(other._trained(_AGAIN, pipe, lessons))
        return total_variation(answer, self.answer).max().item()

    @torch.no_grad()
    def ask(self, pipe: CausalPipeline) -> Tensor:
        """Compute the answer at every value of the query, with the same random numbers."""
        query, variables = self.query, pipe.variables
        known = {**query.do, **query.given}
        choices = [_codes(variables[name], name, value) for name, value in known.items()]
        answers = []
        for codes in itertools.product(*choices):
            at = dict(zip(known, (torch.tensor(code) for code in codes), strict=True))
            drawn = sample(
                pipe.scm,
                self.num_samples,
                outcomes=query.outcomes,
                do={name: at[name] for name in query.do},
                given={name: at[name] for name in query.given},
                generator=spawn(self.config.seed, "sensitivity"),
                options=self.options,
            )
            if len(query.outcomes) == 1:
                told = drawn.probabilities[query.outcomes[0]]
                answers.append(told.double().mean(dim=0).cpu())
                continue
            place, size = torch.zeros(self.num_samples, dtype=torch.int64), 1
            for name in query.outcomes:
                labels = len(_labels(variables[name]))
                place, size = place * labels + drawn.units.values[name].cpu(), size * labels
            answers.append(torch.bincount(place, minlength=size).double() / self.num_samples)
        answer = torch.stack(answers)
        return answer / answer.sum(dim=1, keepdim=True)

    def _districts_to_train(self, graph: ADMG) -> list[tuple[str, ...]]:
        """List the districts that the change touches, and that the query needs."""
        before = {frozenset(d) for d in self.pipe.graph.districts()}
        return [
            district
            for district in self._districts_needed(graph)
            if frozenset(district) not in before or self._unlike(graph) & set(district)
        ]

    def _districts_needed(self, graph: ADMG) -> list[tuple[str, ...]]:
        """List the districts that the query needs."""
        needed = graph.mutilate(incoming=self.query.do).ancestors(
            [*self.query.outcomes, *self.query.given]
        ) - set(self.query.do)
        return [
            tuple(name for name in graph.variables if name in district)
            for district in graph.districts()
            if needed & district
        ]

    def _identify(self, graph: ADMG, experiments: Iterable[Experiment]) -> Estimand | None:
        try:
            return self.query.estimand(graph, experiments, self.pipe.variables)
        except NotIdentifiableError:
            return None

    def _unlike(self, graph: ADMG) -> set[str]:
        """Find the variables whose parents or confounders differ."""
        own = self.pipe.graph
        return {n for n in graph.variables if _signature(graph, n) != _signature(own, n)}

    def _prepared(
        self, change: str, graph: ADMG, changed: list[tuple[str, ...]]
    ) -> tuple[CausalPipeline, list[_Lesson]]:
        """Build the pipeline of a changed graph, and what has to be learned for it.

        What is trained together with a changed district is trained anew with it.
        """
        anew, before = {name for district in changed for name in district}, set()
        pipe, touched = self.pipe, []
        while anew != before:
            before = set(anew)
            pipe = self._rebuilt(change, graph, anew | self._unlike(graph))
            touched = [each for each in pipe.plan().modules if anew & set(each[1])]
            anew = anew.union(*(set(module) for _, module, _ in touched))
        check_answerable(self.query, pipe.scm, self.rows.experiments)
        return pipe, [
            (module, lesson, lesson.select(self.rows))
            for planned, module, objective in touched
            for lesson in lessons_of(objective, module, planned.stage, pipe.scm, self.config)
        ]

    def _trained(
        self, change: str, pipe: CausalPipeline, lessons: list[_Lesson]
    ) -> CausalPipeline:
        """Take the lessons."""
        from causal_diffusers.training.stage import train_stage

        slug = change.replace("<->", "and").replace("->", "to").replace(" ", "_")
        alone = Counter(module for module, _, _ in lessons)
        with back_home([*pipe.components.values(), *self.pipe.components.values()]):
            for module, lesson, rows in lessons:
                folder = None if self.folder is None else self.folder / slug / "+".join(module)
                if folder is not None and alone[module] > 1:
                    folder = folder / lesson.name
                named = [n for n in module if n in self.overrides and n in lesson.components]
                config = self.overrides[named[0]] if named else self.config
                label = "{" + ", ".join(module) + "}"
                train_stage(lesson, rows, config, label=label, folder=folder)
        return pipe

    def _rebuilt(self, change: str, graph: ADMG, anew: set[str]) -> CausalPipeline:
        """Make a pipeline whose new components start from weights of their own."""
        old, own = self.pipe.components, self.pipe.confounders
        mechanisms = self.pipe.mechanisms
        kinds = set(own.values())
        default = {"default": next(iter(kinds))} if len(kinds) == 1 else {}
        seen = {u: own.get(u, default.get("default")) for u in graph.confounders}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw_seed(spawn(self.config.seed, change)) % 2**63)
            pipe = type(self.pipe).from_graph(
                graph,
                self.pipe.variables,
                {n: renew(mechanisms[n]) if n in anew else old[n] for n in graph.variables},
                {u: confounder for u, confounder in seen.items() if confounder is not None},
            )
        pipe.experiments = self.rows.experiments
        for name in anew:
            torch.nn.Module.to(pipe.mechanisms[name], mechanisms[name].device)
            if isinstance(mechanisms[name], PretrainedMechanism):
                start_from(pipe.mechanisms[name], mechanisms[name])
        for name, prior in pipe.scm.priors.items():
            if name in self.pipe.scm.priors and not anew & set(graph.confounders[name]):
                prior.load_state_dict(self.pipe.scm.priors[name].state_dict())
        return pipe


def _signature(graph: ADMG, name: str) -> tuple[object, object]:
    latent = {u: frozenset(graph.confounders[u]) for u in graph.confounders_of(name)}
    return frozenset(graph.parents(name)), frozenset(latent.items())


def _reseeded(config: TrainingConfig) -> TrainingConfig:
    return dataclasses.replace(config, seed=config.seed + 1)


def _values(query: Query | Estimand, place: str) -> Mapping[str, Any]:
    listed = getattr(query, place)
    return listed if isinstance(listed, Mapping) else dict.fromkeys(listed)


def _labels(variable: object) -> tuple[object, ...]:
    return variable.labels if isinstance(variable, Categorical) else ()


def _codes(variable: Variable, name: str, value: object) -> list[int]:
    """List the codes of the values asked for; all if none is."""
    if value is None:
        return list(range(len(_labels(variable))))
    return read_values(variable, value, name).unique().tolist()


def _check_categorical(query: Query, pipe: CausalPipeline) -> None:
    named = (*query.outcomes, *query.do, *query.given)
    for name in named:
        if not isinstance(pipe.variables[name], Categorical):
            raise ValueError(  # noqa: TRY004 (a wrong name, not a wrong type)
                f'`sensitivity` compares answers about categorical variables: got "{name}", which '
                f"is {type(pipe.variables[name]).__name__}. Ask about its causes or effects."
            )

"""What is trained in which order, with which objective, and what is frozen meanwhile.

The order is that of the H-graph (`causal_diffusers.graphs.hgraph`). The likelihood does
not need it, for its districts are independent, but it is the order in which a module may
be matched by sampling, and one order serves both. Districts of one h-node that are matched
by sampling are matched together, after those that are trained on their own.

References:
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from causal_diffusers.graphs import ADMG, HGraph, Stage
from causal_diffusers.graphs.notation import write_set
from causal_diffusers.graphs.regimes import write_experiment
from causal_diffusers.mechanisms import Mechanism
from causal_diffusers.training.lessons import OBJECTIVES, check_objective, objective_of
from causal_diffusers.variables import Experiment

__all__ = ["PlannedStage", "TrainingPlan"]

District = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class PlannedStage:
    """One h-node: what is trained, given what, beside what.

    Arguments:
        stage: The stage of the H-graph.
        modules: What is trained one after the other, with the objective of each: a
            district, or the districts that are trained together.

    Example:
        >>> stage = HGraph(ADMG.parse("X -> Y")).plan()[1]
        >>> print(PlannedStage(stage, ((("Y",), "likelihood"),)))
        {Y} by likelihood; matched on {Y} given {X}
    """

    stage: Stage
    modules: tuple[tuple[tuple[str, ...], str], ...]

    @property
    def variables(self) -> frozenset[str]:
        """$H$, whose mechanisms are trained."""
        return self.stage.variables

    @property
    def joint(self) -> frozenset[str]:
        """$S(H)$, the variables whose distribution is matched."""
        return self.stage.joint

    @property
    def parents(self) -> frozenset[str]:
        r"""$pa(S) \setminus S$, clamped to the values of the rows."""
        return self.stage.parents

    @property
    def frozen(self) -> frozenset[str]:
        r"""$S(H) \setminus H$, what earlier stages have trained."""
        return self.stage.frozen

    def __str__(self) -> str:
        trained = (f"{write_set(names)} by {objective}" for names, objective in self.modules)
        return f"{'; '.join(trained)}; {self.stage}"


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """The stages of modular training, in order.

    Arguments:
        stages: The stages.
        experiments: What was set by hand in each regime of the data.

    Example:
        >>> len(TrainingPlan(()))
        0
    """

    stages: tuple[PlannedStage, ...]
    experiments: tuple[Experiment, ...] = (Experiment(),)

    @classmethod
    def of(
        cls,
        graph: ADMG,
        mechanisms: Mapping[str, Mechanism],
        objective: str | None = None,
        overrides: Mapping[str, str | None] | None = None,
    ) -> TrainingPlan:
        """Plan the training of mechanisms in a graph.

        Arguments:
            graph: The graph.
            mechanisms: A mechanism for each of its variables.
            objective: The name of an objective; None takes what suits the mechanism.
            overrides: The objective of the district of a variable instead, by variable.

        Returns:
            The plan.

        Raises:
            KeyError: If an objective is chosen for something that is no variable.
            ValueError: If a variable has no mechanism, an objective is not known or cannot
                train a mechanism, or two are chosen for one district.

        Example:
            >>> from causal_diffusers.mechanisms import CategoricalMechanism
            >>> graph = ADMG.parse("D -> I -> A; D <-> A")
            >>> print(TrainingPlan.of(graph, {v: CategoricalMechanism() for v in "DIA"}))
            stage 1: {I} by likelihood; matched on {I} given {D}
            stage 2: {A, D} by likelihood; matched on {A, D, I}, {I} frozen
        """
        missing = [name for name in graph.variables if name not in mechanisms]
        if missing:
            raise ValueError(
                "A plan needs the mechanism of every variable: got none for "
                f"{write_set(missing)}. Load the pipeline with all its components."
            )
        names = graph.variables
        chosen = dict(overrides or {})
        if unknown := [name for name in chosen if name not in names]:
            raise KeyError(f"`overrides` names {unknown}, and the variables are {list(names)}.")
        districts = [tuple(v for v in names if v in d) for d in graph.districts()]
        objectives = {d: _choose(d, mechanisms, objective, chosen) for d in districts}
        return cls(
            tuple(
                PlannedStage(stage, _modules(stage, objectives)) for stage in HGraph(graph).plan()
            )
        )

    @property
    def modules(self) -> tuple[tuple[PlannedStage, District, str], ...]:
        """All that is trained, in order: the stage, the variables and the objective."""
        return tuple(
            (stage, free, objective)
            for stage in self.stages
            for variables, objective in stage.modules
            if (free := tuple(v for v in variables if v not in self.untrained))
        )

    @property
    def untrained(self) -> frozenset[str]:
        """The variables that every row sets by hand: no data say how they are made."""
        return frozenset.intersection(*(frozenset(e.variables) for e in self.experiments))

    def with_experiments(self, experiments: Iterable[Experiment]) -> TrainingPlan:
        """Plan for data of several regimes.

        Arguments:
            experiments: What is set by hand in each.

        Returns:
            The plan for such data.

        Example:
            >>> from causal_diffusers.mechanisms import CategoricalMechanism
            >>> plan = TrainingPlan.of(
            ...     ADMG.parse("X -> Y; X <-> Y"), {v: CategoricalMechanism() for v in "XY"}
            ... )
            >>> print(plan.with_experiments([Experiment(), Experiment(("X",))]))
            stage 1: {X, Y} by likelihood; matched on {X, Y}
            {X} learns from observation; {Y} learns from observation, do(X)
            >>> print(plan.with_experiments([Experiment(("X",))]).modules[0][1])
            ('Y',)
        """
        return dataclasses.replace(self, experiments=tuple(experiments))

    def regimes_of(self, name: str) -> tuple[Experiment, ...]:
        """Find the regimes that say how a variable is made.

        Arguments:
            name: The variable.

        Returns:
            Those that do not set it.
        """
        return tuple(each for each in self.experiments if name not in each.variables)

    def __iter__(self) -> Iterator[PlannedStage]:
        return iter(self.stages)

    def __len__(self) -> int:
        return len(self.stages)

    def __getitem__(self, index: int) -> PlannedStage:
        return self.stages[index]

    def __str__(self) -> str:
        lines = [f"stage {i}: {stage}" for i, stage in enumerate(self.stages, start=1)]
        if self.experiments != (Experiment(),):
            sources = {
                name: self.regimes_of(name) for _, names, _ in self.modules for name in names
            }
            told = (
                f"{write_set(n for n in sources if sources[n] == regimes)} learns from "
                f"{', '.join(write_experiment(each.variables) for each in regimes)}"
                for regimes in dict.fromkeys(sources.values())
            )
            lines.append("; ".join(told))
        if self.untrained:
            lines.append(f"not trained: {write_set(self.untrained)}, set by hand in every row")
        return "\n".join(lines)


def _choose(
    district: District,
    mechanisms: Mapping[str, Mechanism],
    objective: str | None,
    overrides: Mapping[str, str | None],
) -> str:
    """Take the objective that was chosen for a district, else the one that suits it."""
    named = {name: overrides[name] for name in district if name in overrides}
    if len(set(named.values())) > 1:
        raise ValueError(
            f"`overrides` gives {' and '.join(named)} different objectives: they are one "
            "district, trained as one. Name one of them, or give both the same."
        )
    chosen = next(iter(named.values()), objective)
    own = {name: mechanisms[name] for name in district}
    if chosen is None:
        return objective_of(*own.values())
    check_objective(chosen, own)
    return chosen


def _modules(stage: Stage, objectives: Mapping[District, str]) -> tuple[tuple[District, str], ...]:
    """Group the districts of an h-node: first those on their own, then those together."""
    own = [(d, o) for d, o in objectives.items() if d[0] in stage.variables]
    modules = [(d, o) for d, o in own if not OBJECTIVES[o].is_joint]
    for name in OBJECTIVES:
        together = tuple(v for d, o in own if o == name for v in d)
        if OBJECTIVES[name].is_joint and together:
            modules.append((together, name))
    return tuple(modules)

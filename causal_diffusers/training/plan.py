"""What is trained in which order, with which objective, and what is frozen meanwhile.

The order is that of the H-graph (`causal_diffusers.graphs.hgraph`). The likelihood does
not need it, for its districts are independent, but it is the order in which a module may
be matched by sampling, and one order serves both.

References:
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from causal_diffusers.graphs import ADMG, HGraph, Stage
from causal_diffusers.graphs.notation import write_set
from causal_diffusers.mechanisms import DiffusionMechanism, Mechanism

__all__ = ["PlannedStage", "TrainingPlan", "objective_of"]


@dataclasses.dataclass(frozen=True)
class PlannedStage:
    """One h-node: what is trained, given what, beside what.

    Arguments:
        stage: The stage of the H-graph.
        districts: Its districts, each trained on its own, with the objective of each.

    Example:
        >>> stage = HGraph(ADMG.parse("X -> Y")).plan()[1]
        >>> print(PlannedStage(stage, ((("Y",), "likelihood"),)))
        {Y} by likelihood; matched on {Y} given {X}
    """

    stage: Stage
    districts: tuple[tuple[tuple[str, ...], str], ...]

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
        trained = (f"{write_set(names)} by {objective}" for names, objective in self.districts)
        return f"{'; '.join(trained)}; {self.stage}"


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """The stages of modular training, in order.

    Arguments:
        stages: The stages.

    Example:
        >>> len(TrainingPlan(()))
        0
    """

    stages: tuple[PlannedStage, ...]

    @classmethod
    def of(cls, graph: ADMG, mechanisms: Mapping[str, Mechanism]) -> TrainingPlan:
        """Plan the training of mechanisms in a graph.

        Arguments:
            graph: The graph.
            mechanisms: A mechanism for each of its variables.

        Returns:
            The plan.

        Raises:
            ValueError: If a variable has no mechanism.

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
        districts = [tuple(v for v in graph.variables if v in d) for d in graph.districts()]
        objectives = {d: objective_of(mechanisms[d[0]]) for d in districts}
        return cls(
            tuple(
                PlannedStage(
                    stage, tuple(o for o in objectives.items() if o[0][0] in stage.variables)
                )
                for stage in HGraph(graph).plan()
            )
        )

    def __iter__(self) -> Iterator[PlannedStage]:
        return iter(self.stages)

    def __len__(self) -> int:
        return len(self.stages)

    def __getitem__(self, index: int) -> PlannedStage:
        return self.stages[index]

    def __str__(self) -> str:
        return "\n".join(f"stage {i}: {stage}" for i, stage in enumerate(self.stages, start=1))


def objective_of(mechanism: Mechanism) -> str:
    """Name the objective by which a mechanism is trained.

    Arguments:
        mechanism: The mechanism of one variable of the district.

    Returns:
        `"denoising"` or `"likelihood"`.

    Example:
        >>> objective_of(DiffusionMechanism())
        'denoising'
    """
    return "denoising" if isinstance(mechanism, DiffusionMechanism) else "likelihood"

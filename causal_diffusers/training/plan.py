"""What is trained in which order, with which objective, and what is frozen meanwhile.

The order is that of the H-graph (`causal_diffusers.graphs.hgraph`). The likelihood does
not need it, for its districts are independent, but it is the order in which a module may
be matched by sampling, and one order serves both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from causal_diffusers.graphs import ADMG, HGraph, Stage
from causal_diffusers.mechanisms import DiffusionMechanism, Mechanism

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PlannedStage", "TrainingPlan"]


@dataclasses.dataclass(frozen=True)
class PlannedStage:
    """One h-node: what is trained, given what, beside what.

    Arguments:
        stage: The stage of the H-graph.
        districts: Its districts, each trained on its own, with the objective of each.
    """

    stage: Stage
    districts: tuple[tuple[tuple[str, ...], str], ...]

    def __str__(self) -> str:
        trained = "; ".join(f"{_set(names)} by {objective}" for names, objective in self.districts)
        given = f" given {_set(self.stage.parents)}" if self.stage.parents else ""
        frozen = f", {_set(self.stage.frozen)} frozen" if self.stage.frozen else ""
        return f"{trained}; matched on {_set(self.stage.joint)}{given}{frozen}"


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """The stages of modular training, in order.

    Arguments:
        stages: The stages.
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
        """
        objectives = {name: objective_of(m) for name, m in mechanisms.items()}
        districts = [tuple(v for v in graph.variables if v in d) for d in graph.districts()]
        return cls(
            tuple(
                PlannedStage(
                    stage,
                    tuple((d, objectives[d[0]]) for d in districts if d[0] in stage.variables),
                )
                for stage in HGraph(graph).plan()
            )
        )

    def __iter__(self) -> Iterator[PlannedStage]:
        return iter(self.stages)

    def __len__(self) -> int:
        return len(self.stages)

    def __str__(self) -> str:
        return "\n".join(f"stage {i}: {stage}" for i, stage in enumerate(self.stages, start=1))


def objective_of(mechanism: Mechanism) -> str:
    """Name the objective by which a mechanism is trained."""
    return "denoising" if isinstance(mechanism, DiffusionMechanism) else "likelihood"


def _set(names: object) -> str:
    return "{" + ", ".join(sorted(names)) + "}"  # type: ignore[call-overload]

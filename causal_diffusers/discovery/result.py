r"""What did discovery find, and what follows from it?

Edge probabilities first: a graph is a choice among them. Discovery assumes that nothing is
confounded; who knows better adds confounders in `to_admg`, and `falsify` names the pairs
whose implied independence the data break. An answer that hangs on doubtful edges is
averaged over graphs drawn from the probabilities.

References:
    Bayesian model averaging: a tutorial (Hoeting et al., 1999).
"""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from causal_diffusers.discovery.acyclic import acyclic_graph, draw_acyclic
from causal_diffusers.errors import NotIdentifiableError
from causal_diffusers.graphs import ADMG
from causal_diffusers.inference.answerable import check_on_unidentified

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AveragedAnswer", "DiscoveryResult"]

_CAVEAT = (
    "Assumed: nothing is confounded, and the causes of a variable add up{how}. Add the "
    "confounders that you know of (`to_admg(bidirected=...)`) and test what the graph implies "
    "(`falsify`) before anything is trained on it."
)


@dataclasses.dataclass(frozen=True, eq=False)
class DiscoveryResult:
    """Edge probabilities, and the graphs that go with them.

    Arguments:
        variables: The names.
        probabilities: Of each edge, with shape (d, d); `probabilities[i, j]` belongs to
            i -> j.
        weights: Of the edges of at least a tenth, in the units of the data, likewise.
        cautions: What about the data speaks against trusting this.
        is_linear: Whether the model takes causes to act linearly.

    Example:
        >>> P = torch.tensor([[0.0, 0.9], [0.05, 0.0]])
        >>> found = DiscoveryResult(("X", "Y"), P, torch.zeros(2, 2))
        >>> print(found.to_admg())
        X -> Y
    """

    variables: tuple[str, ...]
    probabilities: Tensor
    weights: Tensor
    cautions: tuple[str, ...] = ()
    is_linear: bool = True

    @property
    def order(self) -> tuple[str, ...]:
        """A causal order of the likeliest graph, causes first."""
        return tuple(self.to_admg().topological_order())

    def edges(self, probability: float = 0.0) -> tuple[tuple[str, str, float, float], ...]:
        """List edges, the likeliest first.

        Arguments:
            probability: The least probability.

        Returns:
            Cause, effect, probability and weight of each.

        Example:
            >>> P = torch.tensor([[0.0, 0.75], [0.25, 0.0]])
            >>> DiscoveryResult(("X", "Y"), P, torch.ones(2, 2)).edges(0.5)
            (('X', 'Y', 0.75, 1.0),)
        """
        names, P = self.variables, self.probabilities
        found = [
            (a, b, float(P[i, j]), float(self.weights[i, j]))
            for i, a in enumerate(names)
            for j, b in enumerate(names)
            if i != j and P[i, j] >= probability and P[i, j] > 0
        ]
        return tuple(sorted(found, key=lambda edge: -edge[2]))

    def to_admg(
        self, probability: float | None = None, bidirected: Iterable[Iterable[str]] = ()
    ) -> ADMG:
        """Make a graph of the edges that are likely enough.

        Edges that would close a cycle with likelier ones are left out.

        Arguments:
            probability: The least probability of an edge, in (0, 1]. None takes those that
                are likelier than the other way round and than no edge.
            bidirected: Pairs of variables with an unobserved common cause.

        Returns:
            The graph, which a `CausalPipeline` takes.

        Raises:
            GraphError: If `bidirected` names something else than pairs of variables.
            ValueError: If `probability` is out of range.
        """
        if probability is not None and not 0 < probability <= 1:
            raise ValueError(f"`probability` is in (0, 1]: got {probability!r}.")
        return self._admg(acyclic_graph(self.probabilities, probability), bidirected)

    def sample_graphs(
        self,
        count: int,
        bidirected: Iterable[Iterable[str]] = (),
        *,
        generator: torch.Generator,
    ) -> dict[ADMG, int]:
        """Draw graphs from the edge probabilities, acyclic ones only.

        Arguments:
            count: How many.
            bidirected: Pairs of variables with an unobserved common cause, in all of them.
            generator: The source of the randomness, on the CPU.

        Returns:
            How often each graph was drawn, the most frequent first.

        Raises:
            ValueError: If `count` is not positive.
        """
        if count < 1:
            raise ValueError(f"`count` is the number of graphs to draw: got {count}.")
        pairs = [tuple(pair) for pair in bidirected]
        drawn = draw_acyclic(self.probabilities, count, generator=generator)
        counts = Counter(tuple(graph.flatten().tolist()) for graph in drawn)
        d = len(self.variables)
        return {
            self._admg(torch.tensor(flat).view(d, d), pairs): times
            for flat, times in counts.most_common()
        }

    def average(
        self,
        answer: Callable[[ADMG], Any],
        count: int = 20,
        bidirected: Iterable[Iterable[str]] = (),
        *,
        generator: torch.Generator,
        on_unidentified: str = "raise",
    ) -> AveragedAnswer:
        """Average an answer over graphs drawn from the edge probabilities.

        Arguments:
            answer: What to ask of a graph, usually: train a pipeline on it, sample, and
                return a number or an array. It is asked once for each graph.
            count: How many graphs to draw.
            bidirected: Pairs with an unobserved common cause, in all of them.
            generator: Draws the graphs.
            on_unidentified: What to do if a graph does not determine the answer: `"raise"`, or
                `"warn"` and leave it out, which makes the average one over the others.

        Returns:
            The answers and their average.

        Raises:
            NotIdentifiableError: If one of the graphs, or with `"warn"` all of them, does not
                determine the answer.
            ValueError: If `on_unidentified` is something else.
        """
        check_on_unidentified(on_unidentified)
        drawn = self.sample_graphs(count, bidirected, generator=generator)
        answers, refusal = dict[ADMG, Tensor](), None
        for graph in drawn:
            try:
                answers[graph] = torch.as_tensor(answer(graph), dtype=torch.float64)
            except NotIdentifiableError as error:
                if on_unidentified == "raise":
                    error.add_note(
                        f"So it is in {graph}, {drawn[graph]} of {count} graphs drawn. "
                        '`on_unidentified="warn"` averages over those that determine the answer.'
                    )
                    raise
                refusal = error
        if not answers and refusal is not None:
            raise refusal
        refused = count - sum(drawn[graph] for graph in answers)
        if refused:
            warnings.warn(
                f"{refused} of {count} graphs do not determine the answer: the average is over "
                "the others.",
                stacklevel=2,
            )
        return AveragedAnswer(answers, {graph: drawn[graph] for graph in answers}, refused)

    def to_pandas(self) -> pd.DataFrame:
        """Give a table of the edges.

        Returns:
            Columns cause, effect, probability and weight, the likeliest edge first.
        """
        import pandas as pd

        columns = ["cause", "effect", "probability", "weight"]
        return pd.DataFrame(list(self.edges()), columns=columns)

    def _admg(self, graph: Tensor, bidirected: Iterable[Iterable[str]]) -> ADMG:
        names = self.variables
        directed = {(names[i], names[j]) for i, j in graph.nonzero().tolist()}
        return ADMG(names, directed, {frozenset(pair) for pair in bidirected})

    def _repr_html_(self) -> str | None:
        """Draw the likeliest graph in a notebook."""
        return self.to_admg()._repr_html_()

    def __str__(self) -> str:
        """Write the likeliest graph, the edges in doubt, and what was assumed."""
        graph = self.to_admg()
        lines = [f"Found: {graph}"]
        for cause, effect, probability, weight in self.edges(0.05):
            kept = " " if (cause, effect) in graph.directed else "?"
            lines.append(
                f" {kept} {cause} -> {effect}: P = {probability:.2f}, weight {weight:.2f}"
            )
        caveat = _CAVEAT.format(how=" linearly" if self.is_linear else "")
        return "\n".join([*lines, *self.cautions, caveat])


@dataclasses.dataclass(frozen=True, eq=False)
class AveragedAnswer:
    """The answers of several graphs.

    Arguments:
        answers: Of each graph.
        counts: How often each graph was drawn.
        refused: How often a graph was drawn that does not determine the answer.

    Example:
        >>> G, H = ADMG.parse("X -> Y"), ADMG.parse("Y -> X")
        >>> averaged = AveragedAnswer({G: torch.tensor(1.0), H: torch.tensor(0.0)}, {G: 3, H: 1})
        >>> float(averaged.mean)
        0.75
    """

    answers: dict[ADMG, Tensor]
    counts: dict[ADMG, int]
    refused: int = 0

    @property
    def mean(self) -> Tensor:
        """The average, in the shape of an answer."""
        total = sum(self.counts.values())
        parts = [self.counts[graph] * answer for graph, answer in self.answers.items()]
        return torch.stack(parts).sum(dim=0) / total

    @property
    def deviation(self) -> Tensor:
        """How far the graphs disagree: the standard deviation over them."""
        total = sum(self.counts.values())
        parts = [self.counts[g] * (a - self.mean) ** 2 for g, a in self.answers.items()]
        return (torch.stack(parts).sum(dim=0) / total).sqrt()

    def to_pandas(self) -> pd.DataFrame:
        """Give a table of the graphs.

        Returns:
            Columns graph, draws and answer, a number or an array; the graph that was drawn
            most often first.
        """
        import pandas as pd

        rows = [
            (str(graph), self.counts[graph], answer.numpy() if answer.dim() else answer.item())
            for graph, answer in self.answers.items()
        ]
        return pd.DataFrame(rows, columns=["graph", "draws", "answer"])

    def __str__(self) -> str:
        """Write the average, and how far the graphs disagree."""
        mean, deviation = (
            np.array2string(x.numpy(), precision=4) for x in (self.mean, self.deviation)
        )
        of = f"{len(self.answers)} graphs, {sum(self.counts.values())} draws"
        lost = f"; {self.refused} more do not determine it" if self.refused else ""
        return f"{mean}, over {of} that disagree by {deviation}{lost}"

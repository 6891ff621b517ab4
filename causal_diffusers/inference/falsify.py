r"""Do the data contradict the graph? To be asked before anybody trains on it.

Every independence that the graph implies (`graphs/implications`) is tested on
observational rows (`metrics/dependence`), labels by one-hot features, numbers by the
eighths they fall in, images by their principal components. Verma constraints weigh each
row by $\prod 1 / \hat P(r \mid mb(r))$ of what was fixed, and are tested where all
variables in them are labels. Holm's procedure keeps the chance that *any* true
independence is called broken below the level.

A graph that is not contradicted is not proven: edges that it has are not tested, only
those that it lacks, and graphs that imply the same look the same.

References:
    Nested Markov properties for acyclic directed mixed graphs (Richardson, Evans, Robins &
    Shpitser, 2023), Sec. 3.
    A simple sequentially rejective multiple test procedure (Holm, 1979).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from causal_diffusers.graphs import ADMG
from causal_diffusers.graphs.implications import Fixing, Independence, implied_independencies
from causal_diffusers.metrics.dependence import DependenceTest, conditional_dependence
from causal_diffusers.metrics.propensity import coarse_features
from causal_diffusers.seeding import spawn
from causal_diffusers.training.data import Columns, Rows
from causal_diffusers.training.distinct import distinct_rows
from causal_diffusers.variables import Categorical, Image, Variable

__all__ = ["Falsification", "TestedIndependence", "falsify"]

_MOST_ROWS, _COMPONENTS = 10_000, 8
_MOST_STRATA = 512  # of labels that are conditioned on one by one
_CUTS = torch.special.ndtri(torch.arange(1, 8) / 8)  # eighths of a standard normal


@dataclasses.dataclass(frozen=True)
class TestedIndependence:
    """An implied independence beside what the data say of it.

    Arguments:
        independence: The statement.
        test: The test; None if it could not be tested.
        adjusted: The p-value after Holm's correction for all tests.
        reason: Why it was not tested, in words.

    Example:
        >>> statement = Independence("X", "Y", ("M",))
        >>> print(TestedIndependence(statement, DependenceTest(0.5, 0.01, 1), 1.0))
        X _||_ Y | M: p = 0.5, partial correlation .01
    """

    __test__ = False  # pytest takes it for a case of its own

    independence: Independence
    test: DependenceTest | None
    adjusted: float = 1.0
    reason: str = ""

    def __str__(self) -> str:
        """Write the statement and the finding."""
        return f"{self.independence}: {self.test or f'not tested, {self.reason}'}"


@dataclasses.dataclass(frozen=True)
class Falsification:
    """What the data say of a graph.

    Arguments:
        tests: An entry for each implied independence.
        num_rows: How many rows were looked at.
        level: The chance of any false alarm.

    Example:
        >>> Falsification((), 100, 0.05).is_falsified
        False
    """

    tests: tuple[TestedIndependence, ...]
    num_rows: int
    level: float

    @property
    def rejected(self) -> tuple[TestedIndependence, ...]:
        """The independencies that the data contradict, the clearest first."""
        bad = [(t.adjusted, -t.test.correlation, t) for t in self.tests if t.test is not None]
        return tuple(t for p, _, t in sorted(bad, key=lambda each: each[:2]) if p < self.level)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The pairs of variables whose independence fails."""
        return tuple((t.independence.first, t.independence.second) for t in self.rejected)

    @property
    def is_falsified(self) -> bool:
        """Whether the data contradict the graph."""
        return bool(self.rejected)

    def __str__(self) -> str:
        """Write the verdict, what fails and what to do, then every test."""
        tested = [t for t in self.tests if t.test is not None]
        head = f"{len(tested)} of {len(self.tests)} implied independencies tested on "
        head += f"{self.num_rows} rows, "
        if not tested:
            return f"{head}so nothing is known: " + (
                "the graph forbids nothing that could be seen."
                if not self.tests
                else "\n".join(["", *(f"  {t}" for t in self.tests)])
            )
        if not self.is_falsified:
            head += f"none contradicted at level {self.level:g}. The graph is not proven by that."
        else:
            names = "; ".join(f"{a} and {b}" for a, b in self.pairs)
            head = (
                f"THE DATA CONTRADICT THE GRAPH: {head}{len(self.rejected)} fail at level "
                f"{self.level:g}. {names}: add an edge or a confounder to each pair, or to what "
                "lies between them."
            )
        rest = [t for t in self.tests if t not in self.rejected]
        return "\n".join([head, *(f"  {t}" for t in (*self.rejected, *rest))])


def falsify(
    graph: ADMG | str,
    data: Columns | Rows,
    variables: Mapping[str, Variable],
    *,
    level: float = 0.05,
    seed: int = 0,
) -> Falsification:
    """Test every independence that a graph implies.

    References:
        Richardson et al. (2023), Sec. 3; Holm (1979).

    Arguments:
        graph: The graph, or its text.
        data: Rows with a column for each variable of the graph; those in which something
            was set by hand are left out, and of more than 10,000 some are drawn.
        variables: What each variable looks like, as for `CausalPipeline.from_graph`.
        level: The chance of any false alarm, in (0, 1).
        seed: Where the randomness comes from.

    Returns:
        The verdict; print it.

    Raises:
        GraphError: If the text is no graph.
        KeyError: If a variable has no column, or is not described.
        ValueError: If a value is none of its variable, or `level` is out of range.

    Example:
        >>> from causal_diffusers.systems import DiscreteSCM
        >>> truth = DiscreteSCM.random(ADMG.parse("X -> Y"), generator=torch.Generator())
        >>> rows = truth.sample(5000, generator=torch.Generator().manual_seed(1))
        >>> two = Categorical([0, 1])
        >>> falsify("X; Y", rows, {"X": two, "Y": two}).pairs
        (('X', 'Y'),)
    """
    graph = ADMG.parse(graph) if isinstance(graph, str) else graph
    if not 0 < level < 1:
        raise ValueError(f"`level` is the chance of a false alarm, in (0, 1): got {level!r}.")
    if missing := [name for name in graph.variables if name not in variables]:
        raise KeyError(
            f"`variables` should describe every variable of the graph: lacks {missing}."
        )
    known = {name: variables[name] for name in graph.variables}
    rows = (data if isinstance(data, Rows) else Rows(data, known)).observational()
    index = torch.randperm(len(rows), generator=spawn(seed, "rows"))[:_MOST_ROWS]
    seen = _Seen(known, rows.batch(index, graph.variables))
    found = [_tested(seen, each, spawn(seed, str(each))) for each in implied_independencies(graph)]
    return Falsification(_corrected(found), len(index), level)


class _Seen:
    """The rows, as features."""

    def __init__(self, variables: Mapping[str, Variable], values: Mapping[str, Tensor]) -> None:
        self.variables, self.values = variables, {n: v.cpu() for n, v in values.items()}

    def is_label(self, name: str) -> bool:
        return isinstance(self.variables[name], Categorical)

    def features(self, name: str) -> Tensor:
        """Give what may depend on something: its labels, its eighths, what it shows."""
        variable, values = self.variables[name], self.values[name]
        if isinstance(variable, Categorical):
            return one_hot(values, len(variable.labels)).double()
        if isinstance(variable, Image):
            return _components(coarse_features(values))
        cut = torch.bucketize(values.contiguous(), _CUTS)
        return torch.cat([one_hot(cut, len(_CUTS) + 1).flatten(1).double(), values.double()], 1)

    def strata(self, names: Sequence[str]) -> Tensor:
        """Number the configurations of some labels, with shape (N,)."""
        columns = [self.values[name] for name in names]
        if not columns:
            return torch.zeros(len(next(iter(self.values.values()))), dtype=torch.int64)
        return distinct_rows(columns)[1]

    def weights(self, fixed: Sequence[Fixing]) -> Tensor:
        r"""Compute $\prod \tilde p(r) / \hat P(r \mid mb(r))$, with shape (N,)."""
        w = torch.ones(len(self.strata([])), dtype=torch.float64)
        for each in fixed:
            both, past = self.strata([each.variable, *each.given]), self.strata(each.given)
            own = self.strata([each.variable])
            share = _sums(w, both)[both] / _sums(w, past)[past]
            w = w * (_sums(w, own)[own] / w.sum()) / share
        return w


def _tested(seen: _Seen, each: Independence, generator: torch.Generator) -> TestedIndependence:
    """Test one independence, or say why not."""
    if each.is_verma and not all(map(seen.is_label, each.variables)):
        others = [name for name in each.variables if not seen.is_label(name)]
        return TestedIndependence(each, None, reason=f"{', '.join(others)} cannot be counted")
    labels = [name for name in each.given if seen.is_label(name)]
    others = [name for name in each.given if not seen.is_label(name)]
    strata = seen.strata(labels)
    if int(strata.max()) >= _MOST_STRATA:
        labels, others, strata = [], list(each.given), seen.strata([])
    z = [seen.features(name) for name in others]
    test = conditional_dependence(
        seen.features(each.first),
        seen.features(each.second),
        strata=strata,
        given=torch.cat(z, dim=1) if z else None,
        weights=seen.weights(each.fixed) if each.is_verma else None,
        generator=generator,
    )
    if not test.num_terms:
        return TestedIndependence(each, None, reason="too few rows for any of its strata")
    return TestedIndependence(each, test)


def _corrected(found: Sequence[TestedIndependence]) -> tuple[TestedIndependence, ...]:
    """Correct p-values for their number, step by step from the smallest."""
    tested = [t for t in found if t.test is not None]
    order = sorted(tested, key=lambda t: t.test.p_value if t.test else 1.0)
    adjusted, worst = dict[Independence, float](), 0.0
    for rank, entry in enumerate(order):
        p = entry.test.p_value if entry.test else 1.0
        worst = max(worst, min(1.0, (len(order) - rank) * p))
        adjusted[entry.independence] = worst
    return tuple(dataclasses.replace(t, adjusted=adjusted.get(t.independence, 1.0)) for t in found)


def _sums(w: Tensor, group: Tensor) -> Tensor:
    return torch.zeros(int(group.max()) + 1, dtype=torch.float64).index_add(0, group, w)


def _components(features: Tensor) -> Tensor:
    """Project images to the directions in which they vary most, each with deviation 1."""
    centred = features.double() - features.double().mean(dim=0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    shown = centred @ vectors[:, -_COMPONENTS:]
    return shown / shown.std(dim=0).clamp(min=1e-9)

r"""Can the data answer what the graph allows?

A query that is identifiable on paper is answerable from data only where the estimand's
conditionals $P(a \mid b)$ are needed at conditions that occur. With the demand $n(b)$ of
`causal_diffusers.graphs.demand` and the data $p(b)$, each conditional gets

$$ \text{effective share} = 1 \Big/ \sum_b \frac{n(b)^2}{p(b)} , \qquad
   \text{missing} = \sum_{b \text{ hardly seen}} n(b) . $$

The first is Kish's: as many rows, of all, would fix a simple share as well. The second
bounds the harm: the answer may be wrong by as much, whatever the model and its fit.

What cannot be counted, such as an image $x$, is judged by what it tells of the categorical
conditions $b$ beside it. Demands are computed with a code $c(x)$ in the place of the
image (the likeliest $b$), and refined to the image by the propensity $p(b \mid x)$,

$$ \sum_b \frac{n(b)^2}{p(b)} \approx \frac1N \sum_i r_i^2
   \sum_b \frac{n(b \mid c_i)^2}{p(b \mid x_i)} , \qquad r_i = \frac{n(c_i)}{p(c_i)} , $$

where the terms whose $p(b \mid x_i)$ is below a hundredth of $n(b \mid c_i)$ are missing.

A number that is asked for, $do(X = x)$, is judged by the rows near it: $X$ is replaced by
whether it lies within Scott's bandwidth $\sigma N^{-1/(d+4)}$ of $x$, and no row is near what lies
outside the range of the data. The value of an image cannot be looked up so, and the report
says that it is about the images of the rows.

The verdict is *unsupported* if more than 2 % is missing; else *thin* if the answer is no
surer than 100 rows would make it, or an image costs more than nineteen rows in twenty of
those that were left; else *supported*.

References:
    Overlap in observational studies with high-dimensional covariates (D'Amour, Ding,
    Feller, Lei & Sekhon, 2021).
    Survey sampling (Kish, 1965), Sec. 11.7.
    Multivariate density estimation (Scott, 1992), Sec. 6.3: the bandwidth.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from causal_diffusers.graphs.demand import demand
from causal_diffusers.graphs.estimand import Estimand
from causal_diffusers.graphs.expression import Expression, Probability
from causal_diffusers.graphs.table import Table
from causal_diffusers.inference.overlap import (
    SUPPORTED,
    THIN,
    UNSUPPORTED,
    Configuration,
    FactorOverlap,
    OverlapReport,
)
from causal_diffusers.metrics.propensity import coarse_features, propensities, shrunk
from causal_diffusers.query import Query, read_values
from causal_diffusers.seeding import spawn
from causal_diffusers.training.data import Columns, Rows
from causal_diffusers.training.derived import derive
from causal_diffusers.variables import Categorical, Continuous, Image, Variable

if TYPE_CHECKING:
    from causal_diffusers.pipeline import CausalPipeline

__all__ = ["diagnose"]

HARDLY = 5  # rows of a configuration below which it counts as missing
RARELY = 0.01  # of what is needed, likewise for what an image leaves possible
MOST_MISSING, FEWEST_ROWS, SMALLEST_SHARE = 0.02, 100, 0.05
_LARGEST_TABLE, _MOST_QUERIES, _MOST_ROWS, _AT_ONCE = 2**22, 256, 8000, 256


def diagnose(pipe: CausalPipeline, query: Query | Estimand, data: Columns) -> OverlapReport:
    r"""Report where the data have no support for what a query needs.

    A pipeline answers wherever it is asked, and where no row has the configuration that
    the estimand needs, its networks invent the answer. This says so before or after
    training; it reads the data and the graph, and no weights.

    References:
        D'Amour, Ding, Feller, Lei & Sekhon (2021); Kish (1965).

    Arguments:
        pipe: The pipeline; its graph and variables are used.
        query: What is asked: `pipe.identify(...)`, or a `Query` with values, of which only
            these are looked at: labels, and numbers by the rows near them.
        data: The rows that it was, or will be, trained on. Of several regimes, only those
            in which nothing was set are looked at.

    Returns:
        A report with an entry for each conditional that the estimand rests on; print it.

    Raises:
        NotIdentifiableError: If the graph does not determine the answer.
        KeyError: If a variable of the graph has no column.
        ValueError: If a value is none of its variable, or the estimand has too many
            values to be enumerated.

    Example:
        >>> from causal_diffusers import Categorical, CausalPipeline
        >>> two = Categorical([0, 1])
        >>> pipe = CausalPipeline.from_graph("Z -> X -> Y <- Z", dict.fromkeys("XYZ", two))
        >>> rows = {"Z": [0, 1] * 500, "X": [0, 1] * 500, "Y": [0, 0, 1, 1] * 250}  # X is Z
        >>> report = diagnose(pipe, pipe.identify("Y", do="X"), rows)
        >>> report.is_supported, report["P(Y | X, Z)"].verdict
        (False, 'unsupported')
    """
    estimand = query.estimand(pipe.graph) if isinstance(query, Query) else query
    _check_observational(estimand)
    asked = {**query.do, **query.given} if isinstance(query, Query) else {}
    fixed = {
        name: read_values(pipe.variables[name], value, name)
        for name, value in asked.items()
        if value is not None
    }
    needed = estimand.expression.mentioned.union(estimand.variables)
    names = tuple(name for name in pipe.graph.variables if name in needed)
    rows = Rows(data, pipe.variables).observational()
    _check_number(estimand, rows, fixed)
    entries: dict[str, FactorOverlap] = {}
    for near in _numbers(estimand, rows, fixed):
        evidence = _Evidence(estimand, _beside(rows, near), names)
        for at in _points(estimand, evidence.categorical, fixed, near):
            for factor, table in demand(estimand, evidence.joint, names, at).items():
                entry = evidence.judge(factor, table, at)
                if str(factor) not in entries or _badness(entry) > _badness(entries[str(factor)]):
                    entries[str(factor)] = entry
    text = str(query) if isinstance(query, Query) else estimand.query
    images = tuple(name for name in fixed if isinstance(pipe.variables[name], Image))
    return OverlapReport(text, str(estimand), tuple(entries.values()), len(rows), images)


class _Evidence:
    """What the rows say of the conditions of an estimand."""

    def __init__(self, estimand: Estimand, rows: Rows, names: tuple[str, ...]) -> None:
        self.rows, self.names = rows, names
        variables = {name: rows.variables[name] for name in names}
        self.categorical = {n: v for n, v in variables.items() if isinstance(v, Categorical)}
        self.factors = sorted(_conditionals(estimand.expression), key=str)
        judged = [f for f in self.factors if f.given - self.categorical.keys()]
        size = min(len(rows), _MOST_ROWS) if judged else len(rows)
        self.index = torch.randperm(len(rows), generator=spawn(0, "rows"))[:size]
        self.codes = rows.batch(self.index, self.categorical)
        self.sizes = {name: len(v.labels) for name, v in self.categorical.items()}
        self._told: dict[tuple[tuple[str, ...], tuple[str, ...]], Tensor] = {}
        for name in self.names:
            if name not in self.categorical:
                self._encode(name, judged)
        self.joint = self._joint()

    def judge(self, factor: Probability, needed: Table, at: Mapping[str, int]) -> FactorOverlap:
        """Compare the demand for a condition with the data."""
        images = tuple(name for name in needed.variables if name not in self.categorical)
        if images:
            return self._judge_by_propensity(factor, needed, at, images)
        counts, index = self._counts(needed.variables), self.rows
        need = needed.values
        spread = (need**2 / np.maximum(counts, 0.5) * len(index)).sum()
        missing = np.where(counts < HARDLY, need, 0.0)
        return self._entry(
            factor,
            needed.variables,
            at,
            share=1 / max(float(spread), 1e-12),
            missing=float(missing.sum()),
            worst=self._worst(needed.variables, missing, counts),
        )

    def _judge_by_propensity(
        self, factor: Probability, needed: Table, at: Mapping[str, int], images: tuple[str, ...]
    ) -> FactorOverlap:
        """Refine the demand for a code to the images that have it."""
        labels = tuple(name for name in needed.variables if name not in images)
        told = self._propensities(labels, images)  # (N, B)
        table = torch.as_tensor(needed.order(*labels, *images).values)
        table = table.reshape(told.shape[1], -1)  # n(b, c)
        code = self._place(images)
        share = torch.bincount(code, minlength=table.shape[1]).double() / len(code)
        ratio = (table.sum(dim=0) / share.clamp(min=0.5 / len(code)))[code]
        need = (table / table.sum(dim=0).clamp(min=1e-12)).T[code]  # n(b | c_i)
        hardly = told < RARELY * need
        cost = (need**2 / told.clamp(min=1e-4)).sum(dim=1)  # 1 where the image tells nothing
        spread = (ratio**2 * cost).mean().item()
        missing = (ratio * torch.where(hardly, need, 0.0).sum(dim=1)).mean().item()
        return self._entry(
            factor,
            needed.variables,
            at,
            share=1 / max(spread, 1e-12),
            missing=missing,
            images=images,
            kept=(ratio**2).mean().item() / max(spread, 1e-12),
            revealed=(told.amax(dim=1) > 0.99).double().mean().item() if labels else None,
        )

    def _entry(
        self,
        factor: Probability,
        variables: tuple[str, ...],
        at: Mapping[str, int],
        *,
        share: float,
        missing: float,
        worst: tuple[Configuration, ...] = (),
        images: tuple[str, ...] = (),
        kept: float = 1.0,
        revealed: float | None = None,
    ) -> FactorOverlap:
        share = min(share, 1.0)
        effective = share * len(self.rows)
        is_thin = effective < FEWEST_ROWS or kept < SMALLEST_SHARE
        verdict = UNSUPPORTED if missing > MOST_MISSING else THIN if is_thin else SUPPORTED
        shown = {name: self.rows.variables[name] for name in at}
        where = {n: v.labels[at[n]] for n, v in shown.items() if isinstance(v, Categorical)}
        return FactorOverlap(
            str(factor),
            variables,
            where,
            share,
            effective,
            min(missing, 1.0),
            worst,
            verdict,
            images,
            revealed,
        )

    def _worst(
        self, names: Sequence[str], missing: np.ndarray, counts: np.ndarray
    ) -> tuple[Configuration, ...]:
        order = np.argsort(-missing, axis=None, kind="stable")[:3]
        places = [np.unravel_index(i, missing.shape) for i in order if missing.flat[i] > 0]
        return tuple(
            Configuration(
                {n: self.categorical[n].labels[int(c)] for n, c in zip(names, place, strict=True)},
                float(missing[place]),
                int(counts[place]),
            )
            for place in places
        )

    def _counts(self, names: tuple[str, ...]) -> np.ndarray:
        """Count each configuration in all rows."""
        distinct, weights = self.rows.counts(names)
        counts = np.zeros([self.sizes[name] for name in names])
        counts[tuple(distinct[name].numpy() for name in names)] = weights.numpy()
        return counts

    def _encode(self, name: str, judged: Sequence[Probability]) -> None:
        """Put a code in the place of an image: the likeliest configuration beside it."""
        beside = {n for f in judged if name in f.given for n in f.given if n in self.categorical}
        labels = tuple(n for n in self.names if n in beside)
        told = self._propensities(labels, (name,))
        _, self.codes[name] = told.argmax(dim=1).unique(return_inverse=True)
        self.sizes[name] = int(self.codes[name].max()) + 1

    def _propensities(self, labels: tuple[str, ...], images: tuple[str, ...]) -> Tensor:
        """Estimate p(labels | images) for each row, with shape (N, configurations)."""
        key = labels, images
        if key not in self._told:
            place, size = self._place(labels), math.prod(self.sizes[name] for name in labels)
            seen, classes = place.unique(return_inverse=True)
            told = torch.zeros(len(place), size, dtype=torch.float64)
            told[:, seen] = 1.0
            if len(seen) > 1:
                features = torch.cat([self._seen(name) for name in images], dim=1)
                told[:, seen] = propensities(features, classes, len(seen)).double()
            self._told[key] = told
        return self._told[key]

    def _seen(self, name: str) -> Tensor:
        """Give coarse features of each row; images are shrunk before the next are read."""
        parts = [shrunk(self.rows.batch(i, [name])[name]) for i in self.index.split(_AT_ONCE)]
        return coarse_features(torch.cat(parts))

    def _place(self, names: Sequence[str]) -> Tensor:
        """Number the configuration of each row."""
        place = torch.zeros(len(self.index), dtype=torch.int64)
        for name in names:
            place = place * self.sizes[name] + self.codes[name]
        return place

    def _joint(self) -> np.ndarray:
        shape = [self.sizes[name] for name in self.names]
        if math.prod(shape) > _LARGEST_TABLE:
            raise ValueError(
                f"`diagnose` enumerates the values of {', '.join(self.names)}: got "
                f"{math.prod(shape):,} of them, more than {_LARGEST_TABLE:,}. Ask for fewer "
                "outcomes, or merge labels."
            )
        size = math.prod(shape)
        return (
            torch.bincount(self._place(self.names), minlength=size).double().numpy().reshape(shape)
        )


def _check_observational(estimand: Estimand) -> None:
    if any(estimand.experiments):
        raise ValueError(
            f"`diagnose` compares an estimand with observational rows: got {estimand}, which "
            "rests on experiments. Ask for what is identifiable without them."
        )


def _conditionals(expression: Expression) -> Iterator[Probability]:
    if isinstance(expression, Probability):
        yield expression
    for part in expression.parts:
        yield from _conditionals(part)


def _choices(
    estimand: Estimand, variables: Mapping[str, Variable], fixed: Mapping[str, Tensor]
) -> dict[str, list[int]]:
    """List the codes of each label of the query: those asked for, else all."""
    labels = {n: variables.get(n) for n in (*estimand.do, *estimand.given)}
    return {
        name: fixed[name].unique().tolist() if name in fixed else list(range(len(v.labels)))
        for name, v in labels.items()
        if isinstance(v, Categorical)
    }


def _numbers(
    estimand: Estimand, rows: Rows, fixed: Mapping[str, Tensor]
) -> Iterator[dict[str, Tensor]]:
    """List the numbers that are asked for, in all combinations."""
    named = [n for n in (*estimand.do, *estimand.given) if n in fixed]
    numbers = [n for n in named if isinstance(rows.variables[n], Continuous)]
    for values in itertools.product(*(fixed[n].unique(dim=0) for n in numbers)):
        yield dict(zip(numbers, values, strict=True))


def _check_number(estimand: Estimand, rows: Rows, fixed: Mapping[str, Tensor]) -> None:
    choices = _choices(estimand, rows.variables, fixed)
    sizes = {name: len(codes) for name, codes in choices.items()}
    for name in fixed:
        if isinstance(rows.variables[name], Continuous):
            sizes[name] = len(fixed[name].unique(dim=0))
    total = math.prod(sizes.values())
    if total > _MOST_QUERIES:
        raise ValueError(
            f"`diagnose` looks at every value of {', '.join(sizes)}: got {total} of them, more "
            f"than {_MOST_QUERIES}. Give values: `Query.ask(graph, outcomes, do={{...}})`."
        )


def _beside(rows: Rows, near: Mapping[str, Tensor]) -> Rows:
    """Put a label in the place of each number: whether it is near the one asked for."""
    for name, x in near.items():
        values = rows.batch(torch.arange(len(rows)), [name])[name]
        width = values.std(dim=0, correction=0) * len(rows) ** (-1 / (values.shape[1] + 4)) + 1e-6
        is_inside = bool(((values.amin(dim=0) <= x) & (x <= values.amax(dim=0))).all())

        def is_near(
            v: Tensor, x: Tensor = x, w: Tensor = width, known: bool = is_inside
        ) -> Tensor:
            return ((v - x).abs() <= w).all(dim=1).long() * known

        shown = ", ".join(f"{v:.4g}" for v in np.ravel(_decoded(rows.variables[name], x)))
        label = Categorical(["elsewhere", f"near {shown}"])
        rows = derive(rows, name, label, name, is_near)
    return rows


def _decoded(variable: Variable, x: Tensor) -> np.ndarray:
    return np.asarray(variable.decode(x[None])) if isinstance(variable, Continuous) else x.numpy()


def _points(
    estimand: Estimand,
    variables: Mapping[str, Variable],
    fixed: Mapping[str, Tensor],
    near: Collection[str],
) -> Iterator[dict[str, int]]:
    """List the labels of the query; what has none, and was not asked for, is averaged over."""
    labels = {name: codes for name, codes in fixed.items() if name not in near}
    choices = _choices(estimand, variables, labels) | {name: [1] for name in near}
    for codes in itertools.product(*choices.values()):
        yield dict(zip(choices, codes, strict=True))


def _badness(entry: FactorOverlap) -> tuple[int, float, float]:
    verdicts = (SUPPORTED, THIN, UNSUPPORTED)
    return verdicts.index(entry.verdict), entry.missing, -entry.effective_share

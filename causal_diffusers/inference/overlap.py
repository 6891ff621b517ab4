"""What does a diagnosis of overlap say, and how does it say it?

The parts of the answer that `diagnose` gives: one entry for each conditional that the
estimand rests on, with a verdict, and a text that ends with the way out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

__all__ = ["Configuration", "FactorOverlap", "OverlapReport"]

SUPPORTED, THIN, UNSUPPORTED = "supported", "thin", "unsupported"


@dataclasses.dataclass(frozen=True)
class Configuration:
    """A configuration of conditions that the estimand needs more than the data have it.

    Arguments:
        values: The labels, by variable.
        needed: Which share of the answer rests on it.
        rows: How many rows have it.

    Example:
        >>> print(Configuration({"D": 3, "X": "no"}, needed=0.25, rows=0))
        D=3, X='no' (25.0 % of the answer, 0 rows)
    """

    values: Mapping[str, object]
    needed: float
    rows: int

    def __str__(self) -> str:
        """Write labels, share and rows."""
        labels = ", ".join(f"{name}={label!r}" for name, label in self.values.items())
        return f"{labels} ({100 * self.needed:.1f} % of the answer, {self.rows} rows)"


@dataclasses.dataclass(frozen=True)
class FactorOverlap:
    r"""Whether the data support one conditional $P(a \mid b)$ where the estimand needs it.

    Arguments:
        factor: The conditional, as text.
        variables: Its conditions $b$.
        at: The values of the query at which the support is worst, by variable.
        effective_share: Of all rows, the share that the answer is as sure as:
            $1 / \sum_b n(b)^2 / p(b)$, with the demand n and the data p.
        effective_rows: The same as a number of rows.
        missing: The share of the answer that rests on conditions that (almost) never
            occur. The answer may be wrong by as much, whatever the model and its fit.
        worst: The configurations behind it, worst first.
        verdict: `"supported"`, `"thin"` or `"unsupported"`.
        images: Those of the conditions that cannot be counted, such as images.
        revealed: The share of rows in which these tell the other conditions with
            probability above .99; None where there is nothing to tell.

    Example:
        >>> entry = FactorOverlap("P(Y | X, Z)", ("X", "Z"), {"X": 1}, 0.3, 300.0, 0.0)
        >>> entry.is_supported, print(entry)
        P(Y | X, Z): supported. The rows that it rests on count as 300 (30 % of all).
        (True, None)
    """

    factor: str
    variables: tuple[str, ...]
    at: Mapping[str, object]
    effective_share: float
    effective_rows: float
    missing: float
    worst: tuple[Configuration, ...] = ()
    verdict: str = SUPPORTED
    images: tuple[str, ...] = ()
    revealed: float | None = None

    @property
    def is_supported(self) -> bool:
        """Whether there is nothing to report."""
        return self.verdict == SUPPORTED

    def __str__(self) -> str:
        """Say what was found, and what to do about it."""
        count = f"{self.effective_rows:.0f} ({100 * self.effective_share:.2g} % of all)"
        if self.is_supported:
            return f"{self.factor}: supported. The rows that it rests on count as {count}."
        query = ", ".join(f"{name}={value!r}" for name, value in self.at.items())
        where = f" (worst at {query})" if query else ""
        return f"{self.factor}: {self.verdict}{where}. {self._reason(count)} {self._way_out()}"

    def _reason(self, count: str) -> str:
        others = ", ".join(name for name in self.variables if name not in self.images)
        told = ", ".join(self.images)
        if self.images and self.verdict == UNSUPPORTED:
            sure = f" (p > .99 in {100 * (self.revealed or 0):.0f} % of the rows)"
            return (
                f"{told} tells {others} almost surely{sure}: the estimand averages {self.factor} "
                f"over values of {others} that never occur with that {told}, and "
                f"{100 * self.missing:.0f} % of the answer rests on them."
            )
        if self.images:
            return f"The rows that it rests on count as {count}: {told} tells much of {others}."
        if self.verdict == UNSUPPORTED:
            listed = "; ".join(map(str, self.worst))
            return (
                f"{100 * self.missing:.0f} % of the answer rests on values of {others} that no "
                f"row, or hardly one, has: {listed}."
            )
        return f"The rows that it rests on count as {count}, too few for a reliable answer."

    def _way_out(self) -> str:
        others = " and ".join(name for name in self.variables if name not in self.images)
        if self.images:
            return (
                f"Collect rows in which the same {' and '.join(self.images)} comes with other "
                f"values of {others}, intervene on {others}, or observe a variable through "
                "which the effect passes and that tells less."
            )
        return (
            f"Collect rows with such values, or rows in which {others} was set by experiment; "
            "or ask only for values that occur."
        )


@dataclasses.dataclass(frozen=True)
class OverlapReport:
    """Whether the data can answer a query that the graph allows.

    Arguments:
        query: The query, as text.
        estimand: What it equals, as text.
        factors: An entry for each conditional that the estimand rests on.
        num_rows: How many rows were looked at.
        averaged: Images a value of which was asked for: no row has it, so the report is about
            the images of the rows.

    Example:
        >>> report = OverlapReport("P(Y)", "P(Y)", (), 100)
        >>> report.is_supported
        True
    """

    query: str
    estimand: str
    factors: tuple[FactorOverlap, ...]
    num_rows: int
    averaged: tuple[str, ...] = ()

    @property
    def is_supported(self) -> bool:
        """Whether every conditional is."""
        return all(factor.is_supported for factor in self.factors)

    def __getitem__(self, factor: str) -> FactorOverlap:
        """Look up the entry of a conditional by its text."""
        return {entry.factor: entry for entry in self.factors}[factor]

    def __str__(self) -> str:
        """Write the verdict, then each conditional, worst first."""
        verdict = "the data support it" if self.is_supported else "THE DATA DO NOT SUPPORT IT"
        head = f"{self.query} = {self.estimand}: {verdict} ({self.num_rows} rows)"
        entries = sorted(self.factors, key=lambda entry: (-entry.missing, entry.effective_share))
        lines = [head, *(f"  {entry}" for entry in entries)]
        for name in self.averaged:
            lines.append(
                f"  The value of {name} that was asked for was not judged, but those of the rows "
                "on average: an image occurs once."
            )
        return "\n".join(lines)

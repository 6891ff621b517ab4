"""What becomes of a query in every graph that differs by one edge? The table of `sensitivity`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ChangedGraph", "SensitivityTable"]


@dataclasses.dataclass(frozen=True)
class ChangedGraph:
    """What becomes of a query in a graph that differs by one edge.

    Arguments:
        change: What was changed, such as `"remove X -> Y"`.
        estimand: What the query equals there, as text; None if it is not identifiable.
        moved: The largest total variation between the new answer and that of the
            pipeline; None where there is no new answer.
        answer: The new answer, probabilities with an axis for each value of the query,
            then one for the values of the outcomes.
        retrained: The districts that were trained for it.
        note: Why there is no new answer, or why it cannot differ.
        seconds: How long it took.

    Example:
        >>> ChangedGraph("add X <-> Y", None, None, None).is_identifiable
        False
    """

    change: str
    estimand: str | None
    moved: float | None
    answer: Tensor | None
    retrained: tuple[tuple[str, ...], ...] = ()
    note: str = ""
    seconds: float = 0.0

    @property
    def is_identifiable(self) -> bool:
        """Whether the query is identifiable in the changed graph."""
        return self.estimand is not None


@dataclasses.dataclass(frozen=True)
class SensitivityTable:
    """How a query fares in every graph that differs by one edge.

    Arguments:
        query: The query, as text.
        answer: The answer of the pipeline itself; None if it is not identifiable.
        rows: The changed graphs.
        floor: How far the answer moves in the graph itself where what was trained for `rows`
            is trained anew, with another seed: what training and sampling alone do. None if
            nothing was trained, or nothing could be.

    Example:
        >>> table = SensitivityTable("P(Y | do(X))", None, (ChangedGraph("x", None, None, None),))
        >>> len(table.rows), table["x"].is_identifiable
        (1, False)
    """

    query: str
    answer: Tensor | None
    rows: tuple[ChangedGraph, ...]
    floor: float | None = None

    def __getitem__(self, change: str) -> ChangedGraph:
        """Look up a change by its text."""
        return {row.change: row for row in self.rows}[change]

    def to_pandas(self) -> pd.DataFrame:
        """Put it in a table, a row for each change.

        Example:
            >>> SensitivityTable("P(Y)", None, ()).to_pandas().shape
            (0, 7)
        """
        import pandas as pd

        kept = [f.name for f in dataclasses.fields(ChangedGraph) if f.name != "answer"]
        records = [
            {**{name: getattr(row, name) for name in kept}, "identifiable": row.is_identifiable}
            for row in self.rows
        ]
        return pd.DataFrame(records, columns=[*kept, "identifiable"])

    def __str__(self) -> str:
        """Write a line for each change, those that matter most first."""

        def place(row: ChangedGraph) -> tuple[bool, float]:
            return row.is_identifiable, -(row.moved or 0.0)

        status = "" if self.answer is not None else " (not identifiable from the graph itself)"
        known = self.floor is not None
        floor = f" (trained again without a change, it moves by {self.floor:.3f})" if known else ""
        lines = [f"{self.query}{status}, one edge changed{floor}:"]
        for row in sorted(self.rows, key=place):
            moved = "no answer" if row.moved is None else f"moves by {row.moved:.3f}"
            what = moved if row.is_identifiable else "NOT IDENTIFIABLE"
            lines.append(f"  {row.change:28} {what}{f' ({row.note})' if row.note else ''}")
        return "\n".join(lines)

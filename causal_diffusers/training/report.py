r"""Does a trained pipeline fit rows that it was not trained on?

Each variable is held against held-out rows, given its past: labels and numbers in
`judgement`, images in `shown`. A verdict is *misfit* if the difference is larger than chance
allows (p < .01, corrected for the number of variables and tests) and large enough to matter.

References:
    A general identification condition for causal effects (Tian & Pearl, 2002), Sec. 3.
    Revisiting classifier two-sample tests (Lopez-Paz & Oquab, 2017).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from causal_diffusers.seeding import spawn
from causal_diffusers.training.data import Columns, Rows
from causal_diffusers.training.judgement import Finding, Judge
from causal_diffusers.training.past import Past
from causal_diffusers.training.shown import judge_image
from causal_diffusers.variables import Image

if TYPE_CHECKING:
    from causal_diffusers.pipeline import CausalPipeline

__all__ = ["MOST_ROWS", "FitReport", "MisfitWarning", "VariableFit", "report_fit"]

MOST_ROWS, _FEWEST_ROWS = 2000, 8
FITS, MISFIT, UNJUDGED = "fits", "MISFIT", "not judged"


class MisfitWarning(UserWarning):
    """A pipeline does not fit the rows that it was held against.

    Example:
        >>> issubclass(MisfitWarning, UserWarning)
        True
    """


@dataclasses.dataclass(frozen=True)
class VariableFit:
    """How one variable fits, given its past.

    Arguments:
        variable: The variable.
        given: What it was compared given.
        verdict: `"fits"`, `"MISFIT"` or `"not judged"`.
        finding: What was measured, in words.
        way_out: What to do about it, in words.

    Example:
        >>> print(VariableFit("A", ("D",), "fits", "total variation .010"))
        A given D: fits, total variation .010.
    """

    variable: str
    given: tuple[str, ...]
    verdict: str
    finding: str
    way_out: str = ""

    def __str__(self) -> str:
        """Write variable, verdict and finding; the way out if it is needed."""
        past = f" given {', '.join(self.given)}" if self.given else ""
        advice = f" {self.way_out}" if self.verdict == MISFIT else ""
        return f"{self.variable}{past}: {self.verdict}, {self.finding}.{advice}"


@dataclasses.dataclass(frozen=True)
class FitReport:
    """How a pipeline fits rows, variable by variable.

    Arguments:
        variables: The entries, in topological order.
        num_rows: How many rows were used.
        are_held_out: Whether training did not see them.

    Example:
        >>> FitReport((VariableFit("A", (), "MISFIT", "..."),), 100).is_good
        False
    """

    variables: tuple[VariableFit, ...]
    num_rows: int
    are_held_out: bool = True

    @property
    def is_good(self) -> bool:
        """Whether no variable is known to fit badly."""
        return all(entry.verdict != MISFIT for entry in self.variables)

    def __getitem__(self, variable: str) -> VariableFit:
        """Look up the entry of a variable."""
        return {entry.variable: entry for entry in self.variables}[variable]

    def __str__(self) -> str:
        """Write the verdict, then every variable, bad ones first."""
        kind = "held-out rows" if self.are_held_out else "rows that it was trained on"
        bad = ", ".join(e.variable for e in self.variables if e.verdict == MISFIT)
        head = f"THE MODEL FITS {bad} BADLY" if bad else "no misfit found"
        entries = sorted(self.variables, key=lambda entry: entry.verdict != MISFIT)
        return "\n".join([f"{head} ({self.num_rows} {kind})", *(f"  {e}" for e in entries)])


def report_fit(
    pipe: CausalPipeline,
    data: Columns | Rows,
    *,
    num_images: int = 200,
    num_trained: int | None = None,
    are_held_out: bool = True,
    seed: int = 0,
) -> FitReport:
    """Compare a pipeline with rows, best with rows that it was not trained on.

    References:
        Tian & Pearl (2002), Sec. 3; Lopez-Paz & Oquab (2017).

    Arguments:
        pipe: The trained pipeline.
        data: The rows; at most 2,000 of them are used. Those in which a variable was set
            by hand say nothing about that variable.
        num_images: How many images are generated for each image variable.
        num_trained: M, the number of rows that it was trained on; None if it is so large
            that it does not matter.
        are_held_out: Whether training did not see the rows, for the text.
        seed: Where the randomness comes from.

    Returns:
        The report; print it.

    Raises:
        KeyError: If a variable has no column.
        ValueError: If a value is none of its variable.

    Example:
        >>> from causal_diffusers import Categorical, CausalPipeline
        >>> pipe = CausalPipeline.from_graph("X -> Y", dict.fromkeys("XY", Categorical([0, 1])))
        >>> rows = {"X": [0] * 300, "Y": [0] * 300}
        >>> report_fit(pipe, rows)["X"].verdict  # an untrained one
        'MISFIT'
    """
    rows = data if isinstance(data, Rows) else Rows(data, pipe.variables)
    index = torch.randperm(len(rows), generator=spawn(seed, "rows"))[:MOST_ROWS]
    wider = math.sqrt(1 + len(index) / num_trained) if num_trained and are_held_out else 1.0
    judge = Judge(pipe, rows.batch(index), wider, num_images, seed)
    entries = tuple(_entry(judge, name) for name in pipe.graph.topological_order())
    return FitReport(entries, len(index), are_held_out)


def _entry(judge: Judge, name: str) -> VariableFit:
    """Judge one variable."""
    past, findings = judge.past(name), []
    district = judge.pipe.graph.district(name)
    if lost := [v for v in district if judge.pipe.mechanisms.get(v) is None]:
        return VariableFit(name, (), UNJUDGED, f"{', '.join(sorted(lost))} has no mechanism")
    if len(past) >= _FEWEST_ROWS:
        is_image = isinstance(judge.pipe.variables[name], Image)
        findings = list(judge_image(judge, past) if is_image else judge.findings(past))
    if not findings:
        return VariableFit(name, past.given, UNJUDGED, _why(past))
    bad = [finding for finding in findings if finding.is_bad]
    advice = " ".join(dict.fromkeys(finding.way_out for finding in bad))
    return VariableFit(name, past.given, MISFIT if bad else FITS, _told(findings), advice)


def _told(findings: Sequence[Finding]) -> str:
    """Write the findings, bad ones first."""
    return "; ".join(f.text for f in sorted(findings, key=lambda f: not f.is_bad))


def _why(past: Past) -> str:
    if len(past) < _FEWEST_ROWS:
        return f"there are {len(past)} rows in which it was not set by hand"
    return "neither a label nor a number stands beside it or is caused by it, to be read from it"

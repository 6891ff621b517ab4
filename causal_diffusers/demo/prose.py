"""What does the demonstration say? The question, the tables, and one plain sentence."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from causal_diffusers.graphs import ADMG

if TYPE_CHECKING:
    from causal_diffusers.demo.findings import Answers, Findings
    from causal_diffusers.demo.study import Study

__all__ = ["facts", "number", "question", "results", "table", "training", "verdict"]

STORY = """\
Somebody dictates a digit D. The hand writes W, mostly the digit dictated. I is an image
of it, real handwriting of 8x8 pixels. A reader says yes or no, A, from where the ink lies
and from a hidden U that also chose what was dictated. So D and A are confounded. What
would the readers say, had we fixed what is dictated, or what is written?"""


def number(value: float) -> str:
    """Write a probability without its leading zero.

    Example:
        >>> number(0.0312), number(1.0)
        ('.031', '1.000')
    """
    text = f"{value:.3f}"
    return text.removeprefix("0") if text.startswith("0.") else text


def question(graph: ADMG, plan: str, estimands: Sequence[str]) -> str:
    """Say what is asked, and how it will be answered.

    Arguments:
        graph: The graph.
        plan: The training plan.
        estimands: The queries, expressed by what is observed.

    Returns:
        A paragraph and three lists.

    Example:
        >>> text = question(ADMG.parse("X -> Y"), "stage 1: {X}", ["P(Y | do(X)) = P(Y | X)"])
        >>> print(text.partition("Estimands")[2])
        <BLANKLINE>
          P(Y | do(X)) = P(Y | X)
        <BLANKLINE>
        Plan
          stage 1: {X}
    """
    blocks = [("Graph", str(graph)), ("Estimands", *estimands), ("Plan", *plan.splitlines())]
    lines = [STORY]
    for title, *texts in blocks:
        lines += ["", title, *(f"  {text}" for text in texts)]
    return "\n".join(lines)


def training(study: Study) -> str:
    """Say what is about to be done.

    Arguments:
        study: What is run.

    Returns:
        A paragraph.

    Example:
        >>> from causal_diffusers.demo import Study
        >>> "100,000 observed rows" in training(Study())
        True
    """
    if study.pretrained:
        return "\nAsking the shipped pipeline; nothing is trained."
    return (
        f"\nTraining on {study.rows:,} observed rows. The image generator is pretrained and stays "
        "frozen.\nIf you stop it, the same command goes on from the checkpoint."
    )


def table(answers: Answers) -> str:
    """Write the table of P(A=1 | do(V=v)), its worst errors and their floor.

    Arguments:
        answers: The answers.

    Returns:
        Lines of at most 90 columns.

    Example:
        >>> import torch
        >>> from causal_diffusers.demo import Answers
        >>> columns = {"truth": torch.tensor([0.5, 0.25]), "naive": torch.tensor([0.5, 0.5])}
        >>> print(table(Answers("W", "", columns, {})))
        P(A=1 | do(W=w))     truth     naive
        0                     .500      .500
        1                     .250      .500
        worst error                     .250
        floor, mean
        floor, 95 %
    """
    V, names = answers.variable, list(answers.columns)
    head = f"P(A=1 | do({V}={V.lower()}))"
    width = max(len("worst error"), len(head))
    rows = [f"{head:<{width}}" + "".join(f"{name:>10}" for name in names)]
    for value in range(len(answers.columns["truth"])):
        cells = "".join(f"{number(p[value].item()):>10}" for p in answers.columns.values())
        rows.append(f"{value:<{width}}{cells}")
    worst = ["" if name == "truth" else number(answers.worst(name)) for name in names]
    rows.append(f"{'worst error':<{width}}" + "".join(f"{cell:>10}" for cell in worst))
    means = [number(answers.floors[n].mean) if n in answers.floors else "" for n in names]
    tops = [number(answers.floors[n].upper) if n in answers.floors else "" for n in names]
    rows.append(f"{'floor, mean':<{width}}" + "".join(f"{cell:>10}" for cell in means))
    rows.append(f"{'floor, 95 %':<{width}}" + "".join(f"{cell:>10}" for cell in tops))
    return "\n".join(row.rstrip() for row in rows)


def facts(findings: Findings) -> list[str]:
    """List what was measured beside the tables.

    Arguments:
        findings: What was found.

    Returns:
        Sentences.

    Example:
        >>> print(*facts(findings))  # doctest: +SKIP
    """
    ours, naive = findings.image_errors["pipeline"], findings.image_errors["naive"]
    moved, total = findings.trainable
    times = ", ".join(f"{part} {value:.0f} s" for part, value in findings.seconds.items())
    return [
        f"P(A | do(I=x)) over 200 held-out images x: error {number(ours[0])} on average, "
        f"{number(ours[1])} at worst; naive {number(naive[0])} and {number(naive[1])}.",
        f"Images under do(W=w) that a classifier of real digits reads as w: "
        f"{findings.read_as_asked:.1%} (it reads {findings.reader_accuracy:.1%} of real "
        "held-out digits correctly).",
        f"Trained in the image mechanism: {moved:,} of {total:,} parameters, "
        f"{moved / total:.0%}; the generator itself is frozen.",
        f"Time: {times}.",
    ]


def verdict(findings: Findings) -> str:
    """Say in one plain sentence what was shown, and whether the aim was met.

    Arguments:
        findings: What was found.

    Returns:
        The sentence.

    Example:
        >>> verdict(findings).endswith("is met.")  # doctest: +SKIP
        True
    """
    D, W = (findings.answers[name] for name in ("D", "W"))
    where = "The shipped pipeline" if findings.study.pretrained else "The pipeline just trained"
    shown = (
        f"{where} answers P(A | do(D)) with a worst error of {number(D.worst('pipeline'))} and "
        f"P(A | do(W)) with {number(W.worst('pipeline'))}, where plain conditioning is off by "
        f"{number(D.worst('naive'))} and {number(W.worst('naive'))}"
    )
    return f"{shown}; {_judgement(findings)}"


def _judgement(findings: Findings) -> str:
    study, aim = findings.study, number(findings.study.aim)
    if study.is_smoke:
        return "this was a smoke test, so these numbers mean nothing."
    if findings.is_met:
        return f"the aim, at most {aim} in both, is met."
    if findings.floor > study.aim:
        return (
            f"{study.samples} samples a value cannot show whether the aim, at most {aim}, is met, "
            f"since a perfect sampler would be off by {number(findings.floor)}: use "
            "`--samples 2000`."
        )
    return f"the aim, at most {aim} in both, is missed."


NOTES = """\
pipeline  averages P(A=1 | I, u) over its samples     drawn  counts the A it drew
tabular   front-door formula on the rows, no images   constant  the share of A=1, always
naive     plain conditioning, P(A=1 | value)          floor  what a perfect sampler would score"""


def results(findings: Findings, output: Path) -> str:
    """Say what was found, and where the report is.

    Arguments:
        findings: What was found.
        output: The folder of the report.

    Returns:
        Tables, sentences and the verdict.

    Example:
        >>> print(results(findings, Path("report")))  # doctest: +SKIP
    """
    tables = [table(findings.answers[name]) for name in ("D", "W")]
    header = f"\n{findings.study.samples} samples for each value"
    body = "\n\n".join([header, *tables, NOTES, *map(_wrap, facts(findings))])
    return f"{body}\n\nReport: {output / 'report.html'}\n\n{_wrap(verdict(findings))}"


def _wrap(text: str) -> str:
    return textwrap.fill(text, 88, break_long_words=False, break_on_hyphens=False)

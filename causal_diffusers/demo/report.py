"""What is in the report? One page that needs no network, its picture, and its numbers.

| File | What |
|---|---|
| `report.html` | the page, self-contained |
| `grid.png` | handwriting under do(W=w) |
| `table.csv` | every answer, a row for each variable and value |
| `findings.json` | every number of the page |
| `pipeline/` | the trained pipeline, unless the shipped one was asked |
"""

from __future__ import annotations

import base64
import csv
import dataclasses
import html
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causal_diffusers.demo import pictures, prose
from causal_diffusers.graphs.draw import to_svg
from causal_diffusers.systems import FrontDoorDigits

if TYPE_CHECKING:
    from causal_diffusers.demo.findings import Answers, Findings

__all__ = ["write"]

STYLE = """
:root { color-scheme: light dark; }
body { max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
body { font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.finding { font-size: 1.1rem; border-left: 4px solid #2b7bba; padding: .2rem 0 .2rem 1rem; }
.side { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; }
img { max-width: 100%; border-radius: 4px; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .12rem .7rem; text-align: right; } thead th { border-bottom: 1px solid; }
tfoot tr:first-child > * { border-top: 1px solid; } tfoot { opacity: .85; }
td.worst { font-weight: 600; } pre { overflow-x: auto; } figure { margin: 0; }
figcaption, .note { opacity: .75; font-size: .9rem; }
"""
MEANING = {
    "truth": "enumeration over the confounder and all images",
    "pipeline": "P(A=1 | I, u) averaged over the samples",
    "drawn": "the verdicts drawn in the same samples, counted",
    "tabular": "front-door formula on the observed rows; it makes no image",
    "constant": "the share of A=1 in the rows, whatever is done",
    "naive": "plain conditioning, which ignores the confounder",
}


def write(findings: Findings, output: Path) -> None:
    """Write the report.

    Arguments:
        findings: What was found.
        output: The folder; it is created, and an earlier report in it is replaced.

    Example:
        >>> write(findings, Path("report"))  # doctest: +SKIP
    """
    output.mkdir(parents=True, exist_ok=True)
    grid = output / "grid.png"
    pictures.handwriting(findings.pictures, findings.real).save(grid)
    _write_table(findings, output / "table.csv")
    record = json.dumps(_record(findings), indent=2) + "\n"
    (output / "findings.json").write_text(record, encoding="utf-8")
    page = _page(findings, base64.b64encode(grid.read_bytes()).decode())
    (output / "report.html").write_text(page, encoding="utf-8")


def _page(findings: Findings, grid: str) -> str:
    study = findings.study
    how = "the shipped pipeline" if study.pretrained else "trained on the spot"
    parts = [
        "<h1>What would the reader say, had we chosen the digit?</h1>",
        f'<p class="finding">{_text(prose.verdict(findings))}</p>',
        f"<p>{_text(prose.STORY)}</p>",
        f"<figure>{to_svg(FrontDoorDigits.graph)}<figcaption>Solid: who listens to whom. Dashed: "
        "a hidden common cause.</figcaption></figure>",
        "<h2>Handwriting under an intervention</h2>",
        f'<figure><img alt="Ten columns of handwritten digits" src="data:image/png;base64,{grid}">'
        f"<figcaption>The first {findings.pictures.shape[1]} samples of each digit, not selected; "
        f"{how}, {study.inference_steps} denoising steps, guidance 1.</figcaption></figure>",
        "<h2>The answers</h2>",
        f'<div class="side">{"".join(map(pictures.chart, findings.answers.values()))}</div>',
        "".join(map(_table, findings.answers.values())),
        f'<p class="note">{study.samples} samples for each value. The error is total variation; '
        "the floor is that of a perfect sampler with as many samples, simulated: mean and 95 % "
        "point of the worst of ten.</p>",
        f'<ul class="note">{_definitions(MEANING.items())}</ul>',
        "<h2>Also measured</h2>",
        f"<ul>{''.join(f'<li>{_text(fact)}</li>' for fact in prose.facts(findings))}</ul>",
        "<h2>Why an answer exists</h2>",
        "<p>The graph alone says that what was observed determines these answers:</p>",
        f"<pre>{_text(_estimands(findings))}</pre>",
        "<p>and in which order the modules are trained:</p>",
        f"<pre>{_text(findings.plan)}</pre>",
        '<p class="note">The answers are only as good as the graph. A query that it does not '
        "determine is refused.</p>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Front-door digits</title><style>{STYLE}</style></head>\n"
        f"<body>\n{chr(10).join(parts)}\n</body></html>\n"
    )


def _table(answers: Answers) -> str:
    names = list(answers.columns)
    rows = [
        _row(value, (prose.number(p[value].item()) for p in answers.columns.values()))
        for value in range(len(answers.columns["truth"]))
    ]
    worst = ["" if n == "truth" else prose.number(answers.worst(n)) for n in names]
    floors = [answers.floors.get(n) for n in names]
    feet = [
        _row("worst error", worst, "worst"),
        _row("floor, mean", (prose.number(f.mean) if f else "" for f in floors)),
        _row("floor, 95 %", (prose.number(f.upper) if f else "" for f in floors)),
    ]
    head = "".join(f"<th>{name}</th>" for name in (f"do({answers.variable})", *names))
    return (
        f"<h3>P(A=1 | do({answers.variable}))</h3><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody><tfoot>{''.join(feet)}</tfoot></table>"
    )


def _row(title: object, cells: Iterable[str], kind: str = "") -> str:
    made = "".join(f'<td class="{kind}">{cell}</td>' for cell in cells)
    return f"<tr><th>{title}</th>{made}</tr>"


def _definitions(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<li><b>{name}</b>: {_text(meaning)}</li>" for name, meaning in pairs)


def _estimands(findings: Findings) -> str:
    return "\n".join(f"P(A | do({a.variable})) = {a.estimand}" for a in findings.answers.values())


def _text(text: str) -> str:
    return html.escape(text)


def _write_table(findings: Findings, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["do", "value", *findings.answers["D"].columns])
        for name, answers in findings.answers.items():
            for value, row in enumerate(zip(*answers.columns.values(), strict=True)):
                writer.writerow([name, value, *(f"{p.item():.6f}" for p in row)])


def _record(findings: Findings) -> dict[str, Any]:
    import torch

    from causal_diffusers import __version__

    numbers = ("image_errors", "read_as_asked", "reader_accuracy", "trainable", "seconds")
    return {
        "versions": {"causal_diffusers": __version__, "torch": str(torch.__version__)},
        "study": dataclasses.asdict(findings.study),
        "aim": findings.study.aim,
        "is_met": findings.is_met,
        "answers": {name: _answers(answers) for name, answers in findings.answers.items()},
        **{name: getattr(findings, name) for name in numbers},
    }


def _answers(answers: Answers) -> dict[str, Any]:
    others = [name for name in answers.columns if name != "truth"]
    return {
        "estimand": answers.estimand,
        "columns": {name: p.tolist() for name, p in answers.columns.items()},
        "worst": {name: answers.worst(name) for name in others},
        "floors": {name: dataclasses.asdict(floor) for name, floor in answers.floors.items()},
    }

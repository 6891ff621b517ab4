"""What should somebody know before using a saved pipeline? Its model card says it.

The card names the graph, what was trained and what was not, the bases and their licences,
which queries have an answer, and what all of that rests on.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from causal_diffusers.backbones import BackboneReference
from causal_diffusers.errors import NotIdentifiableError
from causal_diffusers.graphs import ADMG, Estimand, identify
from causal_diffusers.graphs.draw import to_mermaid
from causal_diffusers.mechanisms import DiffusionMechanism, Mechanism, PretrainedMechanism
from causal_diffusers.variables import Categorical, Confounder, Continuous, Variable

__all__ = ["is_ours", "write"]

SHOWN_QUERIES, SHOWN_LABELS = 12, 20


def write(
    repo_id: str,
    graph: ADMG,
    variables: Mapping[str, Variable],
    mechanisms: Mapping[str, Mechanism],
    confounders: Mapping[str, Confounder] | None = None,
    *,
    include_backbones: bool = False,
) -> str:
    """Write the model card of a pipeline.

    Arguments:
        repo_id: What the pipeline is loaded by.
        graph: Who listens to whom.
        variables: What each variable looks like.
        mechanisms: How each variable is made.
        confounders: What each confounder looks like.
        include_backbones: Whether the frozen bases are written to the folder too.

    Returns:
        Markdown with the metadata that the Hugging Face Hub reads.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> two, f = Categorical([0, 1]), CategoricalMechanism()
        >>> text = write("me/x", ADMG.parse("X"), {"X": two}, {"X": f.bind(two, {}, {})})
        >>> text.splitlines()[:2]
        ['---', 'library_name: diffusers']
    """
    from causal_diffusers.training import TrainingPlan  # only here: it loads accelerate

    bases = {
        n: m.base_reference for n, m in mechanisms.items() if isinstance(m, PretrainedMechanism)
    }
    bases |= {
        f"{n}, to read images": m.image_encoder.reference
        for n, m in mechanisms.items()
        if m.image_encoder is not None
    }
    made = _variables(variables, mechanisms) + _confounders(graph, confounders or {})
    sections = [
        _metadata(bases),
        _MARK,
        f"# {repo_id}\n\nA causal model that answers interventional queries by sampling.",
        _use(repo_id, graph, variables),
        f"## Graph\n\n```mermaid\n{to_mermaid(graph)}\n```\n\n{made}",
        f"## Training plan\n\n```\n{TrainingPlan.of(graph, mechanisms)}\n```",
        _bases(bases, include_backbones),
        _queries(graph),
        _CAVEATS + _assumed(mechanisms),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def is_ours(text: str) -> bool:
    """Tell a card that `write` wrote, and may write anew, from one of your own.

    Arguments:
        text: The card.

    Returns:
        Whether it has the line that says so.

    Example:
        >>> is_ours("My own words.")
        False
    """
    return _MARK in text


_MARK = (
    "<!-- Written by causal_diffusers when the pipeline is saved. To keep edits, remove this. -->"
)

_CAVEATS = """## Caveats

Every answer rests on the graph: a missing edge or confounder makes it wrong, and no data
can tell. It also rests on overlap: where the data never combine certain values, an answer
that is identifiable on paper is extrapolated by the networks. Queries that the graph does
not determine are refused."""

_ASSUMED = """

Confounders act on images through a code that is read from the image: {}. Assumed is that,
given its parents and this code, an image is independent of its confounders;
`RepresentationReport` tests what of that can be seen in held-out rows."""


def _assumed(mechanisms: Mapping[str, Mechanism]) -> str:
    """Say what is assumed of confounded images."""
    images = {n: m for n, m in mechanisms.items() if isinstance(m, DiffusionMechanism)}
    coded = [f"{n} ({m.config['codes']} codes)" for n, m in images.items() if m.confounders]
    return _ASSUMED.format(", ".join(coded)) if coded else ""


def _metadata(bases: Mapping[str, BackboneReference]) -> str:
    repos = sorted({base.repo for base in bases.values() if base.repo})
    lines = ["---", "library_name: diffusers", "tags:", "- causal-inference", "- causal-diffusers"]
    if repos:
        lines += ["base_model:", *(f"- {repo}" for repo in repos), "base_model_relation: adapter"]
    return "\n".join([*lines, "---"])


def _use(repo_id: str, graph: ADMG, variables: Mapping[str, Variable]) -> str:
    query = "num_samples=16"
    for do, effects in itertools.groupby(_effects(graph), key=lambda effect: effect[1]):
        answerable = [outcome for outcome, _, estimand in effects if estimand is not None]
        variable = variables[do]
        if answerable and isinstance(variable, Categorical | Continuous):
            known = variable.labels if isinstance(variable, Categorical) else [variable.mean]
            value, outcome = known[-1], answerable[-1]
            query = f'16, do={{"{do}": {value!r}}}, outcomes=["{outcome}"]'
            break
    return f"""```python
from causal_diffusers import CausalPipeline

pipe = CausalPipeline.from_pretrained("{repo_id}")
out = pipe({query})
out.to_pandas()
```"""


def _variables(variables: Mapping[str, Variable], mechanisms: Mapping[str, Mechanism]) -> str:
    head = ["| variable | values | made by | trained parameters |", "|---|---|---|---|"]
    return "\n".join([*head, *(_row(n, v, mechanisms[n]) for n, v in variables.items())])


def _row(name: str, variable: Variable, mechanism: Mechanism) -> str:
    if isinstance(variable, Categorical):
        values = ", ".join(_plain(label) for label in variable.labels[:SHOWN_LABELS])
        values += ", ..." if len(variable.labels) > SHOWN_LABELS else ""
    elif isinstance(variable, Continuous):
        values = "real numbers" if variable.dim == 1 else f"vectors of {variable.dim} numbers"
        mean, scale = (np.round(n, 4).tolist() for n in (variable.mean, variable.scale))
        values += f", mean {mean}, standard deviation {scale}"
    else:
        values = "image, {} x {} x {}".format(*variable.shape)
    trained = sum(tensor.numel() for tensor in mechanism.trainable_state().values())
    return f"| {name} | {values} | {type(mechanism).__name__} | {trained:,} |"


def _confounders(graph: ADMG, confounders: Mapping[str, Confounder]) -> str:
    if not confounders:
        return ""
    rows = ["\n\n| confounder, unobserved | of | type |", "|---|---|---|"]
    for name, confounder in confounders.items():
        gaussian = f"Gaussian, {confounder.dim} dimensions"
        kind = gaussian if confounder.states is None else f"{confounder.states} states"
        rows.append(f"| {name} | {', '.join(graph.confounders[name])} | {kind} |")
    return "\n".join(rows)


def _bases(bases: Mapping[str, BackboneReference], included: bool) -> str:
    if not bases:
        return ""
    where = "copied into this folder" if included else "referred to rather than copied"
    rows = ["## Pretrained bases", "", f"Frozen, and {where}.", ""]
    rows += ["| variable | base | commit | licence | sha256 |", "|---|---|---|---|---|"]
    for name, base in bases.items():
        cells = [name, base.repo or "part of this folder", base.revision or "-"]
        cells += [_plain(base.license or "not stated"), f"`{base.sha256[:16]}...`"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _queries(graph: ADMG) -> str:
    lines = ["## Queries", ""]
    for outcome, do, estimand in itertools.islice(_effects(graph), SHOWN_QUERIES):
        answer = "not identifiable, refused" if estimand is None else f"`{estimand}`"
        lines.append(f"- `P({outcome} | do({do}))`: {answer}")
    return "\n".join(lines) if len(lines) > 2 else ""


def _effects(graph: ADMG) -> Iterator[tuple[str, str, Estimand | None]]:
    """Ask for every effect of one variable on another, in the graph's order."""
    for do, outcome in itertools.permutations(graph.variables, 2):
        if outcome in graph.descendants(do):
            try:
                yield outcome, do, identify(graph, [outcome], [do])
            except NotIdentifiableError:
                yield outcome, do, None


def _plain(text: object) -> str:
    """Keep a label from breaking out of its cell."""
    return html.escape(" ".join(str(text).split())).replace("|", "\\|").replace("`", "'")

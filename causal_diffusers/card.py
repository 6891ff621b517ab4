"""What should somebody know before using a saved pipeline? Its model card says it.

The card names the graph, what was trained and what was not, the bases and their licences,
which queries have an answer, and what all of that rests on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from causal_diffusers.errors import NotIdentifiableError
from causal_diffusers.graphs import ADMG, identify
from causal_diffusers.graphs.draw import to_mermaid
from causal_diffusers.mechanisms import DiffusionMechanism, Mechanism
from causal_diffusers.training import TrainingPlan
from causal_diffusers.variables import Categorical, Variable

__all__ = ["write"]

SHOWN_QUERIES = 12


def write(
    repo_id: str,
    graph: ADMG,
    variables: Mapping[str, Variable],
    mechanisms: Mapping[str, Mechanism],
) -> str:
    """Write the model card of a pipeline.

    Arguments:
        repo_id: What the pipeline is loaded by.
        graph: Who listens to whom.
        variables: What each variable looks like.
        mechanisms: How each variable is made.

    Returns:
        Markdown with the metadata that the Hugging Face Hub reads.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> two, f = Categorical([0, 1]), CategoricalMechanism()
        >>> text = write("me/x", ADMG.parse("X"), {"X": two}, {"X": f.bind(two, {}, {})})
        >>> text.splitlines()[:2]
        ['---', 'library_name: diffusers']
    """
    bases = {n: m for n, m in mechanisms.items() if isinstance(m, DiffusionMechanism)}
    sections = [
        _metadata(bases),
        f"# {repo_id}\n\nA causal model that answers interventional queries by sampling.",
        _use(repo_id, graph),
        f"## Graph\n\n```mermaid\n{to_mermaid(graph)}\n```\n\n{_describe(variables)}",
        f"## Training plan\n\n```\n{TrainingPlan.of(graph, mechanisms)}\n```",
        _bases(bases),
        _queries(graph),
        _CAVEATS,
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


_CAVEATS = """## Caveats

Every answer rests on the graph: a missing edge or confounder makes it wrong, and no data
can tell. It also rests on overlap: where the data never combine certain values, an answer
that is identifiable on paper is extrapolated by the networks. Queries that the graph does
not determine are refused."""


def _metadata(bases: Mapping[str, DiffusionMechanism]) -> str:
    repos = sorted({m.base_reference.repo for m in bases.values() if m.base_reference.repo})
    lines = ["---", "library_name: diffusers", "tags:", "- causal-inference", "- causal-diffusers"]
    if repos:
        lines += ["base_model:", *(f"- {repo}" for repo in repos), "base_model_relation: adapter"]
    return "\n".join([*lines, "---"])


def _use(repo_id: str, graph: ADMG) -> str:
    return f"""```python
from causal_diffusers import CausalPipeline

pipe = CausalPipeline.from_pretrained("{repo_id}")
out = pipe(num_samples=16, do={{"{graph.variables[0]}": ...}})
out.to_pandas()
```"""


def _describe(variables: Mapping[str, Variable]) -> str:
    rows = ["| variable | values |", "|---|---|"]
    for name, variable in variables.items():
        if isinstance(variable, Categorical):
            what = ", ".join(map(str, variable.labels))
        else:
            what = "image, {} x {} x {}".format(*variable.shape)
        rows.append(f"| {name} | {what} |")
    return "\n".join(rows)


def _bases(bases: Mapping[str, DiffusionMechanism]) -> str:
    if not bases:
        return ""
    rows = ["## Pretrained bases", "", "Frozen, and referred to rather than copied.", ""]
    rows += ["| variable | base | commit | licence | sha256 |", "|---|---|---|---|---|"]
    for name, mechanism in bases.items():
        base = mechanism.base_reference
        rows.append(
            f"| {name} | {base.repo or 'part of this folder'} | {base.revision or '-'} "
            f"| {base.license or 'not stated'} | `{base.sha256[:16]}...` |"
        )
    return "\n".join(rows)


def _queries(graph: ADMG) -> str:
    lines = ["## Queries", ""]
    for outcome, do, answer in itertools.islice(_verdicts(graph), SHOWN_QUERIES):
        lines.append(f"- `P({outcome} | do({do}))`: {answer}")
    return "\n".join(lines) if len(lines) > 2 else ""


def _verdicts(graph: ADMG) -> Iterator[tuple[str, str, str]]:
    """Ask for every effect of one variable on another, in the graph's order."""
    for do, outcome in itertools.permutations(graph.variables, 2):
        if outcome in graph.descendants(do):
            try:
                answer = f"`{identify(graph, [outcome], [do])}`"
            except NotIdentifiableError as error:
                answer = f"not identifiable (hedge {error.hedge})"
            yield outcome, do, answer

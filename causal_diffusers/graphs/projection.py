r"""Which graph do the observed variables see, once latent ones are forgotten?

A latent variable that has parents hands its children to them, $P \to L \to C$ becoming
$P \to C$, and is left without parents. If one of them is latent too, that one can do
all that $L$ did, and $L$ is dropped. What remains is a root with its observed children:
a confounder if there are two or more, private noise otherwise.

References:
    Graphs for margins of Bayesian networks (Evans, 2016), Sec. 3.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import combinations

from causal_diffusers.graphs.parts import Parts
from causal_diffusers.graphs.wellformed import check_edges, sort_topologically

__all__ = ["project"]


def project(parts: Parts, latents: Collection[str]) -> Parts:
    r"""Project latent variables out of a graph.

    References:
        Graphs for margins of Bayesian networks (Evans, 2016), Sec. 3.

    Arguments:
        parts: A graph over observed and latent variables.
        latents: The variables that are not observed.

    Returns:
        The graph over the observed variables. A confounder keeps the name of the latent
        variable it came from.

    Raises:
        GraphError: If the graph has a cycle, a self-loop or an edge twice.

    Example:
        >>> parts = Parts({}, [], [], {})
        >>> for a, b in [("U", "L"), ("L", "X"), ("U", "Y"), ("X", "Y")]:
        ...     parts.add_edge(a, "->", b)
        >>> project(parts, {"U", "L"}).confounders
        {'U': ['Y', 'X']}
    """
    if not latents:
        return parts
    known = {name: i for i, name in enumerate(parts.variables)}
    directed = check_edges(parts.directed, known, "->")
    arcs = check_edges(parts.bidirected, known, "<->")
    # A bidirected edge that ends in a latent variable is a latent variable without a name.
    nameless = {f"{a} <-> {b}": (a, b) for a, b in arcs if a in latents or b in latents}
    directed += [(name, end) for name, ends in nameless.items() for end in ends]
    children = _exogenise([*known, *nameless], directed, {*latents, *nameless})

    observed = [name for name in known if name not in latents]
    shared = {name: list(ch) for name, ch in children.items() if len(ch) > 1}
    arcs = [arc for arc in arcs if not set(arc) & set(latents)]
    arcs += [pair for name in nameless for pair in combinations(shared.get(name, ()), 2)]
    return Parts(
        dict.fromkeys(observed),
        [(name, child) for name in observed for child in children[name]],
        list({frozenset(arc): arc for arc in arcs}.values()),
        {name: ch for name, ch in shared.items() if name in latents},
    )


def _exogenise(
    names: Sequence[str], directed: Iterable[tuple[str, str]], latents: Collection[str]
) -> dict[str, dict[str, None]]:
    """Let latent variables hand their children to their parents; return all children."""
    children: dict[str, dict[str, None]] = {name: {} for name in names}
    parents: dict[str, dict[str, None]] = {name: {} for name in names}
    for a, b in directed:
        children[a][b] = parents[b][a] = None
    for latent in sort_topologically(names, children, parents):
        if latent not in latents:
            continue
        for parent in parents[latent]:
            del children[parent][latent]
            children[parent] |= children[latent]
            for child in children[latent]:
                parents[child][parent] = None
        if any(parent in latents for parent in parents[latent]):
            for child in children[latent]:
                del parents[child][latent]
            children[latent] = {}
    return children

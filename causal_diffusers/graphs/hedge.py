r"""Why is a query not identifiable?

Because of a *hedge*: two models agree on everything observed, and differ under the
intervention, as soon as the graph contains one.

An $R$-rooted *C-forest* is a graph whose bidirected edges connect all its variables, in
which every variable has at most one child, and whose childless variables are $R$. Two
$R$-rooted C-forests $F' \subseteq F$, edges included, form a hedge for $P(y \mid do(x))$ if

$$ F \cap X \ne \varnothing, \qquad F' \cap X = \varnothing, \qquad
   R \subseteq An(Y)_{G_{\overline{X}}} . $$

References:
    Identification of joint interventional distributions in recursive semi-Markovian causal
    models (Shpitser & Pearl, 2006), Def. 5-6, Thm. 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import final

from causal_diffusers.graphs.admg import ADMG

__all__ = ["Hedge", "cut_hedge"]

Edges = list[tuple[str, str]]
Names = frozenset[str]


@final
@dataclass(frozen=True)
class Hedge:
    r"""The pair of C-forests that blocks identification.

    Arguments:
        forest: $F$, which meets the variables intervened on.
        subforest: $F' \subseteq F$, which does not.
        roots: $R$, the childless variables of both.

    Example:
        >>> G = ADMG.parse("X -> Y; X <-> Y")
        >>> print(cut_hedge(G, frozenset("XY"), frozenset("Y"), do=frozenset("X")))
        {X, Y} over {Y}
    """

    forest: ADMG
    subforest: ADMG
    roots: frozenset[str]

    def __str__(self) -> str:
        """Write the variables of both forests."""
        outer, inner = (", ".join(part.variables) for part in (self.forest, self.subforest))
        return f"{{{outer}}} over {{{inner}}}"


def cut_hedge(G: ADMG, V: Names, S: Names, do: Names) -> Hedge:
    r"""Cut a district and a district inside it down to a hedge.

    Variables go while both parts stay districts, the inner one can be reached from all
    of the outer one, and the outer one meets `do`. Then edges go: bidirected ones until
    they form a tree, directed ones until each variable has one child.

    References:
        Shpitser & Pearl (2006), Thm. 6.

    Arguments:
        G: The graph.
        V: One district of $G_V$, in which every variable has a directed path into S.
        S: One district of $G_S$, a part of V without the variables of `do`.
        do: The variables intervened on, at least one of them in V.

    Returns:
        The forests over what is left of V and of S.

    Example:
        >>> G = ADMG.parse("Z -> X -> Y; U: X, Y, Z")
        >>> hedge = cut_hedge(G, frozenset("XYZ"), frozenset("Y"), do=frozenset("X"))
        >>> hedge.forest
        ADMG.parse('X -> Y; X <-> Y')
    """
    for name in sorted(V):
        outer, inner = V - {name}, S - {name}
        if inner and outer & do and _is_nested(G, outer, inner):
            return cut_hedge(G, outer, inner, do)
    return _cut_edges(G.subgraph(V), S)


def _is_nested(G: ADMG, outer: Names, inner: Names) -> bool:
    """Decide whether both are districts, and the outer one leads into the inner one."""
    H = G.subgraph(outer)
    return (
        len(H.districts()) == 1
        and H.district(min(inner), within=inner) == inner
        and H.ancestors(inner) == outer
    )


def _cut_edges(G: ADMG, S: Names) -> Hedge:
    V = frozenset(G.variables)
    roots = frozenset(name for name in S if not G.children(name) & S)
    inner = _attach(roots, S, G.children), _attach({min(S)}, S, G.siblings)
    outer = _attach(S, V, G.children), _attach(S, V, G.siblings)
    return Hedge(
        forest=ADMG(G.variables, inner[0] + outer[0], inner[1] + outer[1]),
        subforest=ADMG(G.subgraph(S).variables, *inner),
        roots=roots,
    )


def _attach(start: Iterable[str], universe: Names, neighbours: Callable[[str], Names]) -> Edges:
    """Give each variable outside `start` one edge towards it."""
    edges, reached = Edges(), set(start)
    while rest := sorted(universe - reached):
        name = next(name for name in rest if neighbours(name) & reached)
        edges.append((name, min(neighbours(name) & reached)))
        reached.add(name)
    return edges

r"""Is a query answerable from the observed joint and the graph alone?

ID and IDC, the complete algorithms of Shpitser and Pearl, line by line. ID answers
$P(y \mid do(x))$ by recursion on $(y, x, P, G)$:

1. no intervention is left: marginalise;
2. drop what is no ancestor of $Y$;
3. intervene also where it changes nothing;
4. split $V \setminus X$ into its districts, and multiply their answers;
5. the whole graph is one district: a hedge, and no answer exists;
6. the district of $V \setminus X$ is a district of $G$: a product of conditionals;
7. it lies inside a larger district $S'$: go on within $S'$.

IDC reduces $P(y \mid do(x), z)$ to ID: (1) turn into interventions those conditions that
rule 2 of the do-calculus allows, then (2) divide the joint of $y$ and $z$ by its sum over
$y$.

The papers write $P(v_i \mid v_\pi^{(i-1)})$ with all predecessors of $V_i$ in a topological
order. The Markov pillow of $V_i$ screens it off from the others, so only that is written
where it shortens the expression.

References:
    Identification of joint interventional distributions in recursive semi-Markovian causal
    models (Shpitser & Pearl, 2006), Fig. 3 (ID), Thm. 4-6.
    Identification of conditional interventional distributions (Shpitser & Pearl, 2006),
    Fig. 3 (IDC), Thm. 6.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from causal_diffusers.errors import NotIdentifiableError
from causal_diffusers.graphs.admg import ADMG
from causal_diffusers.graphs.algebra import divide, multiply, simplify, sum_over
from causal_diffusers.graphs.estimand import Estimand, write_query
from causal_diffusers.graphs.expression import Expression, Probability
from causal_diffusers.graphs.hedge import Hedge, cut_hedge

__all__ = ["identify"]

Names = frozenset[str]


def identify(
    G: ADMG,
    outcomes: str | Iterable[str],
    do: str | Iterable[str] = (),
    given: str | Iterable[str] = (),
) -> Estimand:
    r"""Express $P(y \mid do(x), z)$ by the observed joint, or show why that is impossible.

    References:
        Identification of joint interventional distributions in recursive semi-Markovian
        causal models (Shpitser & Pearl, 2006), Fig. 3.
        Identification of conditional interventional distributions (Shpitser & Pearl,
        2006), Fig. 3.

    Arguments:
        G: The graph.
        outcomes: The variables $Y$ asked for, jointly.
        do: The variables $X$ intervened on.
        given: The variables $Z$ conditioned on, after the intervention.

    Returns:
        The estimand, which can be printed and evaluated.

    Raises:
        NotIdentifiableError: If two models of the graph agree on the observed joint and
            differ in the answer; `.hedge` is the reason.
        GraphError: If a name is no variable of the graph.
        ValueError: If no outcome is named, or a variable twice.

    Example:
        >>> G = ADMG.parse("D -> I -> A; D <-> A")
        >>> print(identify(G, outcomes=["A"], do=["D"]))
        sum_{I} P(I | D) sum_{D'} P(A | D', I) P(D')
        >>> print(identify(G, outcomes=["A"], do=["I"], given=["D"]))
        P(A | D, I)
        >>> identify(ADMG.parse("X -> Y; X <-> Y"), outcomes=["Y"], do=["X"])
        Traceback (most recent call last):
            ...
        causal_diffusers.errors.NotIdentifiableError: `P(Y | do(X))` is not identifiable ...
    """
    Y, X, Z = (
        _listed(G, *part) for part in (("outcomes", outcomes), ("do", do), ("given", given))
    )
    _check_query(Y, X, Z)
    try:
        expression = _express(_sort(G), Names(Y), Names(X), Names(Z))
    except NotIdentifiableError as error:
        forest, subforest = cast("tuple[Names, Names]", error.hedge)  # whole, not yet cut
        hedge = cut_hedge(G, forest, subforest, do=Names(X))
        raise _refusal(G, Y, X, Z, hedge) from None
    return Estimand(G, Y, X, Z, expression)


def _express(G: ADMG, Y: Names, X: Names, Z: Names) -> Expression:
    """Run IDC, then average over the variables whose value does not matter."""
    if not X:  # nothing is done: the query is a conditional of P itself
        return Probability(Y, Z)
    answer = _idc(Y, X, Z, Probability(Names(G.variables)), G)
    if arbitrary := answer.free - Y - X - Z:
        answer = sum_over(arbitrary, multiply([Probability(arbitrary), answer]))
    return simplify(answer)


def _idc(Y: Names, X: Names, Z: Names, P: Expression, G: ADMG) -> Expression:
    # line 1: a Z with (Y _||_ Z | X, the rest of Z) in G_{\overline{X} \underline{Z}}
    for name in sorted(Z):
        rest = Z - {name}
        if G.mutilate(incoming=X, outgoing=name).m_separated(Y, name, X | rest):
            return _idc(Y, X | {name}, rest, P, G)
    # line 2: P' = ID(y with z, x); P' / sum_y P'
    joint = _id(Y | Z, X, P, G)
    return divide(joint, sum_over(Y, joint)) if Z else joint


def _id(Y: Names, X: Names, P: Expression, G: ADMG) -> Expression:
    V = Names(G.variables)
    # line 1: x is empty: sum_{v \ y} P(v)
    if not X:
        return sum_over(V - Y, P)
    # line 2: V \ An(Y) is not empty: go on without it
    A = G.ancestors(Y)
    if A != V:
        return _id(Y, X & A, sum_over(V - A, P), G.subgraph(A))
    # line 3: W = (V \ X) \ An(Y)_{G_\overline{X}} is not empty: intervene on it, at any value
    W = V - X - G.mutilate(incoming=X).ancestors(Y)
    if W:
        return _id(Y, X | W, P, G)
    # line 4: C(G \ X) = {S_1, ..., S_k}: sum_{v \ (y, x)} prod_i ID(s_i, v \ s_i)
    S, *others = G.subgraph(V - X).districts()
    if others:
        return sum_over(V - Y - X, multiply(_id(D, V - D, P, G) for D in (S, *others)))
    S_outer = G.district(min(S))
    # line 5: C(G) = {G}: FAIL, with G and S as hedge
    if S_outer == V:
        raise NotIdentifiableError("line 5", query="", hedge=(V, S))
    # line 6: S is in C(G): sum_{s \ y} prod_{V_i in S} P(v_i | v_pi^{(i-1)})
    if S_outer == S:
        return sum_over(S - Y, _c_factor(S, P, G))
    # line 7: S is inside S' in C(G): ID(y, x & S', prod_{V_i in S'} P(v_i | ...), G_{S'})
    return _id(Y, X & S_outer, _c_factor(S_outer, P, G), G.subgraph(S_outer))


def _c_factor(S: Names, P: Expression, G: ADMG) -> Expression:
    r"""Write $Q[S] = \prod_{V_i \in S} P(v_i \mid v_\pi^{(i-1)})$ for a district of G."""
    return multiply(_given_past(name, P, G) for name in G.variables if name in S)


def _given_past(name: str, P: Expression, G: ADMG) -> Expression:
    """Condition on the predecessors, or on the Markov pillow alone where that is shorter."""
    past = Names(G.variables[: G.variables.index(name)])
    joint = sum_over(Names(G.variables) - past - {name}, P)
    answer = divide(joint, sum_over(name, joint))
    screened = past - G.markov_pillow(name)
    if not answer.free & screened:
        return answer
    joint = sum_over(screened, joint)
    return divide(joint, sum_over(name, joint))


def _sort(G: ADMG) -> ADMG:
    """List the variables in topological order, so that those of every subgraph are too."""
    return ADMG(G.topological_order(), G.directed, confounders=G.confounders)


def _listed(G: ADMG, argument: str, names: str | Iterable[str]) -> tuple[str, ...]:
    listed = (names,) if isinstance(names, str) else tuple(names)
    G.select(listed, argument)
    return listed


def _check_query(Y: tuple[str, ...], X: tuple[str, ...], Z: tuple[str, ...]) -> None:
    if not Y:
        raise ValueError(
            "`outcomes` must name at least one variable: got none. Name what is asked for."
        )
    named = Y + X + Z
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise ValueError(
            "`outcomes`, `do` and `given` must name each variable once: got "
            f"{', '.join(twice)} twice. Leave it in one of them."
        )


def _refusal(
    G: ADMG, Y: tuple[str, ...], X: tuple[str, ...], Z: tuple[str, ...], hedge: Hedge
) -> NotIdentifiableError:
    query = write_query(Y, X, Z)
    forced = ", ".join(name for name in X if name in hedge.forest.variables)
    message = (
        f"`{query}` is not identifiable from this graph: unobserved confounders join {forced} to "
        f"{', '.join(hedge.subforest.variables)} with no observed variable that breaks the tie "
        f"(hedge {hedge}). Add interventional data on {forced}, observe the confounder behind "
        f"{_ties(hedge)}, or ask for `{write_query(Y, (), X + Z)}`.{_alone(G, Y, X, Z)}"
    )
    return NotIdentifiableError(message, query=query, hedge=hedge)


def _ties(hedge: Hedge) -> str:
    """Name the bidirected edges between the inner forest and the rest of the outer one."""
    inner = set(hedge.subforest.variables)
    edges = [sorted(edge) for edge in hedge.forest.bidirected if len(edge & inner) == 1]
    return " or ".join(f"{a} <-> {b}" for a, b in sorted(edges))


def _alone(G: ADMG, Y: tuple[str, ...], X: tuple[str, ...], Z: tuple[str, ...]) -> str:
    """Name the outcomes that are identifiable one at a time."""
    found = [name for name in Y if len(Y) > 1 and _is_identifiable(G, name, X, Z)]
    return f" Identifiable one at a time: {', '.join(found)}." if found else ""


def _is_identifiable(G: ADMG, outcome: str, X: tuple[str, ...], Z: tuple[str, ...]) -> bool:
    try:
        identify(G, outcome, X, Z)
    except NotIdentifiableError:
        return False
    return True

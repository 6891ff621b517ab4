r"""Is a query answerable from the graph and from what was observed, in one regime or several?

Whoever only watches sees $P(V)$; an *experiment* that sets $Z$, at every value in turn, sees
$P_z(V) = P(V \mid do(z))$. Here $P_\varnothing = P$, and only watching is the default. gID
answers $P(y \mid do(x))$ by recursion on $(y, x, G)$:

1. an experiment sets $x$ and nothing else that matters: marginalise;
2. drop what is no ancestor of $Y$;
3. intervene also where it changes nothing;
4. split $V \setminus X$ into its districts, and multiply their answers, which may come from
   different experiments;
5. one district is left: ask ID (`recursion`) whether one of the experiments that leave it
   alone determines its c-factor;
6. none does: each leaves a hedge, and together they are a thicket. No answer exists.

Where nothing is ever set this is ID, line by line. The answer takes every $P_z$ to be
positive, for every value $z$: the proof that line 6 is right for positive models too is
that of Kivva et al., for c-factors.

IDC reduces $P(y \mid do(x), z)$ to it: (1) turn into interventions those conditions that
rule 2 of the do-calculus allows, then (2) divide the joint of $y$ and $z$ by its sum over
$y$. That this loses nothing holds with several regimes as with one.

References:
    Identification of joint interventional distributions in recursive semi-Markovian causal
    models (Shpitser & Pearl, 2006), Fig. 3 (ID), Thm. 4-6.
    Identification of conditional interventional distributions (Shpitser & Pearl, 2006),
    Fig. 3 (IDC), Thm. 6.
    General identifiability with arbitrary surrogate experiments (Lee, Correa & Bareinboim,
    2019), Alg. 1 (gID).
    Revisiting the general identifiability problem (Kivva, Mokhtarian, Etesami & Kiyavash,
    2022); On identifiability of conditional causal effects (Kivva, Etesami & Kiyavash, 2023).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from causal_diffusers.errors import NotIdentifiableError
from causal_diffusers.graphs.admg import ADMG
from causal_diffusers.graphs.algebra import divide, multiply, simplify, sum_over
from causal_diffusers.graphs.estimand import Estimand
from causal_diffusers.graphs.expression import Expression, Probability
from causal_diffusers.graphs.recursion import express
from causal_diffusers.graphs.refusal import Asked, refusal
from causal_diffusers.graphs.regimes import Experiments

__all__ = ["identify"]

Names = frozenset[str]


def identify(
    G: ADMG,
    outcomes: str | Iterable[str],
    do: str | Iterable[str] = (),
    given: str | Iterable[str] = (),
    experiments: Experiments = ((),),
) -> Estimand:
    r"""Express $P(y \mid do(x), z)$ by what was observed, or show why that is impossible.

    References:
        Identification of joint interventional distributions in recursive semi-Markovian
        causal models (Shpitser & Pearl, 2006), Fig. 3.
        Identification of conditional interventional distributions (Shpitser & Pearl,
        2006), Fig. 3.
        General identifiability with arbitrary surrogate experiments (Lee, Correa &
        Bareinboim, 2019), Alg. 1.

    Arguments:
        G: The graph.
        outcomes: The variables $Y$ asked for, jointly.
        do: The variables $X$ intervened on.
        given: The variables $Z$ conditioned on, after the intervention.
        experiments: The variables set in each regime that was observed, at every value in
            turn; `()` is to watch and set nothing.

    Returns:
        The estimand, which can be printed and evaluated.

    Raises:
        NotIdentifiableError: If two models of the graph agree in every regime and differ
            in the answer; `.hedge` is the reason, `.thicket` has one for each regime.
        GraphError: If a name is no variable of the graph.
        ValueError: If no outcome or no regime is named, or a variable twice.

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

        Two experiments, neither of which sets both drugs, answer for the two together:

        >>> G = ADMG.parse("X1 -> W -> Y <- X2; W <-> X1 <-> X2 <-> Y")
        >>> print(identify(G, "Y", do=["X1", "X2"], experiments=["X1", "X2"]))
        sum_{W} P_{X2}(Y | W) P_{X1}(W)
    """
    asked = Asked.of(G, outcomes, do, given, experiments)
    Y, X, Z = map(Names, (asked.outcomes, asked.do, asked.given))
    try:
        expression = _express(_sort(G), Y, X, Z, asked.experiments)
    except NotIdentifiableError as error:
        found = cast("dict[Names, tuple[Names, Names]]", error.thicket)
        raise refusal(asked, cast("Names", error.hedge), found, _is_identifiable) from None
    return Estimand(G, asked.outcomes, asked.do, asked.given, expression)


def _express(G: ADMG, Y: Names, X: Names, Z: Names, experiments: tuple[Names, ...]) -> Expression:
    """Run IDC, then average over the variables whose value does not matter."""
    if not X and Names() in experiments:  # nothing is done: a conditional of P itself
        return Probability(Y, Z)
    answer = _idc(Y, X, Z, experiments, G)
    if arbitrary := answer.free - Y - X - Z:
        watched = sorted(experiments, key=lambda regime: (len(regime & arbitrary), len(regime)))
        weights = Probability(arbitrary, regime=watched[0])
        answer = sum_over(arbitrary, multiply([weights, answer]))
    return simplify(answer)


def _idc(Y: Names, X: Names, Z: Names, experiments: tuple[Names, ...], G: ADMG) -> Expression:
    # line 1: a Z with (Y _||_ Z | X, the rest of Z) in G_{\overline{X} \underline{Z}}
    for name in sorted(Z):
        rest = Z - {name}
        if G.mutilate(incoming=X, outgoing=name).m_separated(Y, name, X | rest):
            return _idc(Y, X | {name}, rest, experiments, G)
    # line 2: P' = gID(y with z, x); P' / sum_y P'
    joint = _gid(Y | Z, X, experiments, G)
    return divide(joint, sum_over(Y, joint)) if Z else joint


def _gid(Y: Names, X: Names, experiments: tuple[Names, ...], G: ADMG) -> Expression:
    V = Names(G.variables)
    # line 1: an experiment sets x, and nothing else of v: sum_{v \ (y, x)} P_z(v)
    if found := [regime for regime in experiments if regime & V == X]:
        return Probability(Y, X, found[0])
    # line 2: V \ An(Y) is not empty: go on without it
    A = G.ancestors(Y)
    if A != V:
        return _gid(Y, X & A, experiments, G.subgraph(A))
    # line 3: W = (V \ X) \ An(Y)_{G_\overline{X}} is not empty: intervene on it, at any value
    W = V - X - G.mutilate(incoming=X).ancestors(Y)
    if W:
        return _gid(Y, X | W, experiments, G)
    # line 4: C(G \ X) = {S_1, ..., S_k}: sum_{v \ (y, x)} prod_i gID(s_i, v \ s_i)
    S, *others = G.subgraph(V - X).districts()
    if others:
        parts = (_gid(D, V - D, experiments, G) for D in (S, *others))
        return sum_over(V - Y - X, multiply(parts))
    # line 5: an experiment that leaves S alone: ID(y, x \ z, P_z, G \ Z), unless it fails
    hedges: dict[Names, tuple[Names, Names]] = {}
    for Z in (Z for Z in experiments if Z & V <= X):
        try:
            return express(Y, X - Z, Probability(V - Z, Z & V, Z), G.subgraph(V - Z))
        except NotIdentifiableError as error:
            hedges[Z] = cast("tuple[Names, Names]", error.hedge)  # whole, not yet cut
    # line 6: FAIL, with a hedge for each of these experiments as thicket
    raise NotIdentifiableError("line 6", query="", hedge=S, thicket=hedges)


def _sort(G: ADMG) -> ADMG:
    """List the variables in topological order, so that those of every subgraph are too."""
    return ADMG(G.topological_order(), G.directed, confounders=G.confounders)


def _is_identifiable(asked: Asked) -> bool:
    Y, X, Z = map(Names, (asked.outcomes, asked.do, asked.given))
    try:
        _express(_sort(asked.graph), Y, X, Z, asked.experiments)
    except NotIdentifiableError:
        return False
    return True

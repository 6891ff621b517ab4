r"""How does ID reduce a query to one distribution? Line by line.

ID answers $P(y \mid do(x))$ by recursion on $(y, x, P, G)$:

1. no intervention is left: marginalise;
2. drop what is no ancestor of $Y$;
3. intervene also where it changes nothing;
4. split $V \setminus X$ into its districts, and multiply their answers;
5. the whole graph is one district: a hedge, and no answer exists;
6. the district of $V \setminus X$ is a district of $G$: a product of conditionals;
7. it lies inside a larger district $S'$: go on within $S'$.

The paper writes $P(v_i \mid v_\pi^{(i-1)})$ with all predecessors of $V_i$ in a topological
order. The Markov pillow of $V_i$ screens it off from the others, so only that is written
where it shortens the expression.

References:
    Identification of joint interventional distributions in recursive semi-Markovian causal
    models (Shpitser & Pearl, 2006), Fig. 3 (ID), Thm. 4-6.
"""

from __future__ import annotations

from causal_diffusers.errors import NotIdentifiableError
from causal_diffusers.graphs.admg import ADMG
from causal_diffusers.graphs.algebra import divide, multiply, sum_over
from causal_diffusers.graphs.expression import Expression

__all__ = ["express"]

Names = frozenset[str]


def express(Y: Names, X: Names, P: Expression, G: ADMG) -> Expression:
    r"""Express $P(y \mid do(x))$ by the distribution $P$ of the variables of $G$.

    References:
        Identification of joint interventional distributions in recursive semi-Markovian
        causal models (Shpitser & Pearl, 2006), Fig. 3.

    Arguments:
        Y: The outcomes.
        X: The variables intervened on.
        P: The joint of the variables of G, itself perhaps made under an intervention on
            others.
        G: The graph, its variables in topological order.

    Returns:
        The answer.

    Raises:
        NotIdentifiableError: If there is none; `.hedge` holds the variables of the two
            C-forests, not yet cut.

    Example:
        >>> from causal_diffusers.graphs.expression import Probability
        >>> P = Probability(frozenset("XY"))
        >>> print(express(frozenset("Y"), frozenset("X"), P, ADMG.parse("X -> Y")))
        P(Y | X)
    """
    V = Names(G.variables)
    # line 1: x is empty: sum_{v \ y} P(v)
    if not X:
        return sum_over(V - Y, P)
    # line 2: V \ An(Y) is not empty: go on without it
    A = G.ancestors(Y)
    if A != V:
        return express(Y, X & A, sum_over(V - A, P), G.subgraph(A))
    # line 3: W = (V \ X) \ An(Y)_{G_\overline{X}} is not empty: intervene on it, at any value
    W = V - X - G.mutilate(incoming=X).ancestors(Y)
    if W:
        return express(Y, X | W, P, G)
    # line 4: C(G \ X) = {S_1, ..., S_k}: sum_{v \ (y, x)} prod_i ID(s_i, v \ s_i)
    S, *others = G.subgraph(V - X).districts()
    if others:
        return sum_over(V - Y - X, multiply(express(D, V - D, P, G) for D in (S, *others)))
    S_outer = G.district(min(S))
    # line 5: C(G) = {G}: FAIL, with G and S as hedge
    if S_outer == V:
        raise NotIdentifiableError("line 5", query="", hedge=(V, S))
    # line 6: S is in C(G): sum_{s \ y} prod_{V_i in S} P(v_i | v_pi^{(i-1)})
    if S_outer == S:
        return sum_over(S - Y, _c_factor(S, P, G))
    # line 7: S is inside S' in C(G): ID(y, x & S', prod_{V_i in S'} P(v_i | ...), G_{S'})
    return express(Y, X & S_outer, _c_factor(S_outer, P, G), G.subgraph(S_outer))


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

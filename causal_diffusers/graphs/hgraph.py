r"""Which mechanisms are trained together, and in which order?

The districts $D$ of $G$ factorise the joint into c-factors $Q[D] = P(d \mid do(v
\setminus d))$. An objective that needs samples, such as an adversarial one, cannot see
$Q[D]$ alone: it compares a set of variables $S \supseteq D$, with its outside parents
$pa(S) \setminus S$ clamped to the values of a row, against $P(s \mid pa(S))$. That is
right only where conditioning on those parents equals intervening on them. For a set $H$
let $S(H)$ be the least $S \supseteq H$ with

$$ \big(pa(S) \setminus S\big) \cap De\big(S \cup Sib(S)\big) = \varnothing . \tag{1} $$

($De$: descendants, inclusive. $Sib$: bidirected neighbours.) An outside parent in the
intersection is called an *offender* of $S$. A set without offenders is called *valid*.

**The H-graph.** The h-nodes are the districts at first. $H_s \to H_t$ whenever
$S(H_t) \setminus H_t$ meets $H_s$: to train $H_t$ one must sample from $H_s$. Strongly
connected components are merged, $S$ is computed again, and so on until no cycle is
left; each round has fewer h-nodes, and one h-node has no cycle. Trained in topological
order, every h-node finds $S(H) \setminus H$ trained already.

**Theorem.** Write $P = pa(S) \setminus S$, and assume positivity.

1. $S \perp_m P$ in $G_{\underline{P}}$, so that rule 2 of the do-calculus gives
   $P(s \mid p) = P(s \mid do(p))$, iff (1) holds.
2. Among the sets that contain $H$ and satisfy (1) there is one contained in all the
   others. It is found by adding offenders to $H$, in any order, until none is left.
3. If $H$ is a union of districts of $G$, and $S \supseteq H$ is valid, then
   $P(s \mid p)$ determines $Q[H]$.
4. If a model has the right $Q[D]$ for the districts that $S \setminus H$ meets, then it
   has the right $P(s \mid do(p))$ as soon as it has the right $Q[H]$: the target can be
   met.

*Proof of 1.* Nothing is conditioned on, so a path is open iff it has no collider: it is
a trek, whose halves are directed paths away from one top variable, or from the two ends
of one bidirected edge at the top. *If (1) holds*, suppose that such a path joins $S$ to
some $p \in P$, and cut it so that only its first variable $s$ is in $S$. Were the half
that ends in $s$ not trivial, its last edge would be $w \to s$ with $w \in pa(S)
\setminus S = P$; but $G_{\underline{P}}$ has no edge out of $P$. So the path is $s \to
\dots \to p$, or $s \leftrightarrow b \to \dots \to p$ (perhaps with $b = p$), and $p
\in De(S \cup Sib(S))$ is an offender: a contradiction. *If (1) fails*, take a directed
path of $G$ from some $q \in S \cup Sib(S)$ to an offender, end it at its first variable
$p$ in $P$, and begin it at its last variable in $S$ if it has one. No variable before
$p$ is in $P$, so the path is still there in $G_{\underline{P}}$. It begins in $S$, or
else at some $b \in Sib(S)$ where the edge $s \leftrightarrow b$, which
$G_{\underline{P}}$ keeps, prolongs it to some $s \in S$ off the path. It has no
collider, so it is open. ∎

*Proof of 2.* Let $S \subseteq T$ with $T$ valid, and let $p$ be an offender of $S$.
Were $p \notin T$, then $p \in pa(S) \setminus T \subseteq pa(T) \setminus T$ and $p \in
De(S \cup Sib(S)) \subseteq De(T \cup Sib(T))$ would make $p$ an offender of $T$. So $p
\in T$: adding offenders to $H$ never leaves a valid $T \supseteq H$. It stops, as $V$
is finite, and only at a valid set; so that set is in every valid $T \supseteq H$. One
such $T$ is $V$. ∎

*Corollary.* $S(\cdot)$ is a closure operator: $H \subseteq S(H) = S(S(H))$, and $H
\subseteq H'$ gives $S(H) \subseteq S(H')$. So $S(H \cup H') = S(S(H) \cup S(H'))$,
which is how merged h-nodes inherit what was computed before.

*Proof of 3.* In $G_{\overline{P}}$ the only ancestors of $S$ outside $S$ are those in
$P$: a directed path into $S$ has a last variable outside $S$, which is in $P$ and has
no edge into it. So intervening on the rest as well changes nothing (rule 3), and $P(s
\mid p) = P(s \mid do(p)) = P(s \mid do(v \setminus s)) = Q[S]$. Bidirected edges leave
no district, so each district of $G$ that is contained in $H$ is also one of $G_S$. The
c-factors of those follow from $Q[S]$: along a topological order $v_1, \dots, v_m$ of
$G_S$,

$$ Q[H] = \prod_{v_i \in H} \frac{Q[S_i]}{Q[S_{i-1}]}, \qquad
   Q[S_i] = \sum_{v_{i+1}, \dots, v_m} Q[S] $$

(Tian & Pearl 2003, Lemma 4). ∎

*Proof of 4.* $Q[S] = Q[H] \prod_C Q[C]$ over the districts $C$ of $G_S$ outside $H$. By
1 and 3, $Q[S]$ and so each $Q[C]$ is identified from $P(v)$. The algorithm that decides
this is complete and uses $Q[D]$ alone, for the district $D \supseteq C$ of $G$ (Huang &
Valtorta 2008); so a model that has the right $Q[D]$ has the right $Q[C]$. ∎

References:
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 4, for the H-graph.
    On the identification of causal effects (Tian & Pearl, 2003), Lemma 4.
    On the completeness of an identifiability algorithm for semi-Markovian models (Huang
    & Valtorta, 2008), Sec. 4.
    Causality, 2nd ed. (Pearl, 2009), Sec. 3.4, for the rules of the do-calculus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import final

import networkx as nx

from causal_diffusers.graphs.admg import ADMG
from causal_diffusers.graphs.notation import write_set

__all__ = ["HGraph", "HNode", "Stage", "least_rule2_superset"]


def least_rule2_superset(G: ADMG, H: str | Iterable[str]) -> frozenset[str]:
    r"""Find $S(H)$, the least superset that may be matched given its outside parents.

    $$ \big(pa(S) \setminus S\big) \cap De\big(S \cup Sib(S)\big) = \varnothing $$

    References:
        The theorem above.

    Arguments:
        G: The graph.
        H: One variable or several.

    Returns:
        The set $S(H)$.

    Raises:
        GraphError: If a name is unknown.

    Example:
        >>> G = ADMG.parse("hp -> a -> h; p -> h; hp <-> h; p <-> a")
        >>> sorted(least_rule2_superset(G, ["hp", "h"]))
        ['a', 'h', 'hp', 'p']
    """
    sets = _BitSets(G)
    return sets.names(sets.close(sets.mask(G.select(H, "H"))))


@final
@dataclass(frozen=True)
class HNode:
    r"""Districts whose mechanisms are matched together.

    Arguments:
        districts: One district of the graph or several.

    Example:
        >>> sorted(HNode(frozenset({frozenset("X"), frozenset("YZ")})).variables)
        ['X', 'Y', 'Z']
    """

    districts: frozenset[frozenset[str]]

    @cached_property
    def variables(self) -> frozenset[str]:
        """The variables of the districts, $H$."""
        return frozenset[str]().union(*self.districts)


@final
@dataclass(frozen=True)
class Stage:
    r"""One h-node, and what its training looks at.

    Arguments:
        variables: $H$, whose mechanisms are trained.
        joint: $S(H)$, the variables whose distribution is matched.
        parents: $pa(S) \setminus S$, clamped to the values of the rows.

    Example:
        >>> stage = Stage(frozenset("DA"), frozenset("DIA"), frozenset())
        >>> sorted(stage.frozen)
        ['I']
        >>> print(stage)
        matched on {A, D, I}, {I} frozen
    """

    variables: frozenset[str]
    joint: frozenset[str]
    parents: frozenset[str]

    @property
    def frozen(self) -> frozenset[str]:
        r"""$S(H) \setminus H$, sampled from what earlier stages have trained."""
        return self.joint - self.variables

    def __str__(self) -> str:
        """Say what the stage looks at."""
        given = f" given {write_set(self.parents)}" if self.parents else ""
        frozen = f", {write_set(self.frozen)} frozen" if self.frozen else ""
        return f"matched on {write_set(self.joint)}{given}{frozen}"


@final
@dataclass(frozen=True)
class HGraph:
    """The acyclic graph over h-nodes that orders the training.

    References:
        Modular learning of deep causal generative models for high-dimensional causal
        inference (Rahman & Kocaoglu, 2024), Sec. 4.

    Arguments:
        graph: The graph of the variables.

    Example:
        >>> H = HGraph(ADMG.parse("D -> I -> A; D <-> A"))
        >>> [sorted(stage.variables) for stage in H.plan()]
        [['I'], ['A', 'D']]
    """

    graph: ADMG

    @cached_property
    def nodes(self) -> tuple[HNode, ...]:
        """The h-nodes in training order, which partition the districts."""
        district = self.graph.district
        return tuple(HNode(frozenset(map(district, stage.variables))) for stage in self.plan())

    @cached_property
    def edges(self) -> frozenset[tuple[HNode, HNode]]:
        """The pairs (first, later) where training `later` samples from `first`."""
        home = {name: node for node in self.nodes for name in node.variables}
        stages = zip(self.nodes, self.plan(), strict=True)
        return frozenset((home[name], node) for node, stage in stages for name in stage.frozen)

    def plan(self) -> tuple[Stage, ...]:
        """List the stages of training.

        Returns:
            A stage for each h-node, in topological order of the H-graph. Among those
            free to come next, the one with the first variable does.

        Example:
            >>> G = ADMG.parse("D -> W -> I -> A; D <-> A")
            >>> [sorted(stage.joint) for stage in HGraph(G).plan()]
            [['W'], ['I'], ['A', 'D', 'I', 'W']]
        """
        return self._plan

    @cached_property
    def _plan(self) -> tuple[Stage, ...]:
        sets = _BitSets(self.graph)
        return tuple(
            Stage(sets.names(H), sets.names(S), sets.names(sets.parents_of(S) & ~S))
            for H, S in _contract(sets)
        )


@final
class _BitSets:
    """Sets of variables as integers, for fast unions and intersections."""

    def __init__(self, G: ADMG) -> None:
        self.variables = G.variables
        self.position = {name: i for i, name in enumerate(G.variables)}
        self.parents = [self.mask(G.parents(name)) for name in G.variables]
        self.districts = [self.mask(D) for D in G.districts()]
        descendants = [1 << i for i in range(len(G.variables))]
        for name in reversed(G.topological_order()):
            for child in G.children(name):
                descendants[self.position[name]] |= descendants[self.position[child]]
        # what is reached from a variable and its siblings
        self.reach = descendants.copy()
        for name in G.variables:
            for sibling in G.siblings(name):
                self.reach[self.position[name]] |= descendants[self.position[sibling]]

    def mask(self, names: Iterable[str]) -> int:
        """Make a set of names an integer."""
        return _union(1 << self.position[name] for name in names)

    def names(self, mask: int) -> frozenset[str]:
        """Make an integer a set of names."""
        return frozenset(self.variables[i] for i in _members(mask))

    def parents_of(self, S: int) -> int:
        """Collect the parents of a set."""
        return _union(self.parents[i] for i in _members(S))

    def close(self, H: int) -> int:
        """Add offenders until none is left (part 2 of the theorem)."""
        closed = added = H
        parents = reached = 0
        while added:
            for i in _members(added):
                parents |= self.parents[i]
                reached |= self.reach[i]
            added = parents & reached & ~closed
            closed |= added
        return closed


def _contract(sets: _BitSets) -> list[tuple[int, int]]:
    """Merge h-nodes until no cycle is left; list $H$ and $S(H)$ in training order."""
    modules = sets.districts
    joints = [sets.close(H) for H in modules]
    while True:
        needs = _needs(modules, joints)
        cycles = [*nx.strongly_connected_components(needs)]
        if len(cycles) == len(modules):
            break
        modules = [_union(modules[i] for i in cycle) for cycle in cycles]
        # the corollary: merged h-nodes inherit what was computed before
        joints = [sets.close(_union(joints[i] for i in cycle)) for cycle in cycles]
    firsts = [H & -H for H in modules]
    order = nx.lexicographical_topological_sort(needs, key=firsts.__getitem__)
    return [(modules[i], joints[i]) for i in order]


def _needs(modules: list[int], joints: list[int]) -> nx.DiGraph[int]:
    """Draw the H-graph over the numbers of the h-nodes."""
    owner = {i: node for node, H in enumerate(modules) for i in _members(H)}
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(modules)))
    for node, (H, S) in enumerate(zip(modules, joints, strict=True)):
        graph.add_edges_from((first, node) for first in {owner[i] for i in _members(S & ~H)})
    return graph


def _members(mask: int) -> Iterator[int]:
    """Yield the positions of the bits that are set."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _union(masks: Iterable[int]) -> int:
    union = 0
    for mask in masks:
        union |= mask
    return union

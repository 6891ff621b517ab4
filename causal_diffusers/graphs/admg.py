r"""Who listens to whom, and where do confounders hide?

An acyclic directed mixed graph $G = (V, E_\to, E_\leftrightarrow)$ has a directed edge
$A \to B$ where $B$ listens to $A$, and a bidirected edge $A \leftrightarrow B$ where an
unobserved confounder has both as children. It stands for the models

$$ v = f_v\big(pa(v), u_{c \ni v}, \varepsilon_v\big), \qquad u_c, \varepsilon_v
   \text{ independent} . $$

References:
    Causality, 2nd ed. (Pearl, 2009), Sec. 1.4 and 3.2.
    Markov properties for acyclic directed mixed graphs (Richardson, 2003), Sec. 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from types import MappingProxyType
from typing import Any, final

from causal_diffusers.graphs import confounders as latent
from causal_diffusers.graphs import convert, separation, wellformed
from causal_diffusers.graphs.names import check_known

__all__ = ["ADMG"]


@final
@dataclass(frozen=True, init=False, eq=False, repr=False)
class ADMG:
    r"""An acyclic directed mixed graph: immutable, hashable, equal by value.

    Bare bidirected edges stand for one confounder per maximal clique of them, named after
    its children. A confounder named here covers the edges between its children.

    References:
        Causality, 2nd ed. (Pearl, 2009), Sec. 3.2.

    Arguments:
        variables: The observed variables. Their order decides every tie.
        directed: The edges $A \to B$ as pairs `(A, B)`.
        bidirected: The edges $A \leftrightarrow B$ as pairs or two-element sets.
        confounders: Named latent variables with the two or more children of each.

    Raises:
        GraphError: If a name is illegal, reserved or unknown, an edge is a self-loop or
            comes twice, or the directed edges contain a cycle.

    Example:
        >>> G = ADMG(["D", "I", "A"], [("D", "I"), ("I", "A")], [("D", "A")])
        >>> dict(G.confounders)
        {'U_D_A': ('D', 'A')}
        >>> G == ADMG.parse("D -> I -> A; D <-> A")
        True
    """

    variables: tuple[str, ...]
    directed: frozenset[tuple[str, str]]
    bidirected: frozenset[frozenset[str]]
    _named: dict[str, tuple[str, ...]]
    _bare: frozenset[frozenset[str]]

    def __init__(
        self,
        variables: Sequence[str],
        directed: Iterable[Iterable[str]] = (),
        bidirected: Iterable[Iterable[str]] = (),
        confounders: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        names = wellformed.check_variables(variables)
        known = {name: i for i, name in enumerate(names)}
        arrows = frozenset(wellformed.check_edges(directed, known, "->"))
        arcs = {frozenset(edge) for edge in wellformed.check_edges(bidirected, known, "<->")}
        self._fill(names, arrows, wellformed.check_confounders(confounders or {}, known), arcs)
        self.topological_order()  # raises if there is a cycle

    def _fill(
        self,
        variables: tuple[str, ...],
        directed: frozenset[tuple[str, str]],
        named: dict[str, tuple[str, ...]],
        arcs: Iterable[frozenset[str]] = (),
    ) -> ADMG:
        covered = latent.pairs(named)
        object.__setattr__(self, "variables", variables)
        object.__setattr__(self, "directed", directed)
        object.__setattr__(self, "bidirected", covered.union(arcs))
        object.__setattr__(self, "_named", named)
        object.__setattr__(self, "_bare", frozenset(arcs) - covered)
        return self

    @classmethod
    def parse(cls, text: str) -> ADMG:
        r"""Read a graph from text.

        Statements are separated by `;` or a new line: a chain of variables joined by `->`,
        `<-` and `<->`, a lone variable, or a named confounder `U: A, B, C`.

        Arguments:
            text: The statements. `#` starts a comment.

        Returns:
            The graph, with its variables in the order of their first appearance.

        Raises:
            GraphError: If a statement cannot be read, or the graph is malformed.

        Example:
            >>> G = ADMG.parse("D -> I -> A; U: D, A")
            >>> G.variables, dict(G.confounders)
            (('D', 'I', 'A'), {'U': ('D', 'A')})
        """
        return cls(*convert.parse_text(text))

    @classmethod
    def from_edges(cls, edges: Iterable[Sequence[str]]) -> ADMG:
        """Read a graph from a list of edges.

        Arguments:
            edges: Triples `(A, "->", B)`, `(A, "<-", B)` or `(A, "<->", B)`; a pair `(A, B)`
                is directed.

        Returns:
            The graph, with its variables in the order of their first appearance.

        Raises:
            GraphError: If an edge cannot be read, or the graph is malformed.

        Example:
            >>> ADMG.from_edges([("D", "I"), ("I", "A"), ("D", "<->", "A")])
            ADMG.parse('D -> I; I -> A; D <-> A')
        """
        return cls(*convert.parse_edges(edges))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ADMG:
        """Read a graph from the record that `to_dict` made.

        Arguments:
            record: `variables`, `directed` and `confounders`, as plain JSON values.

        Returns:
            The graph.

        Raises:
            GraphError: If the record or the graph is malformed.

        Example:
            >>> G = ADMG.parse("D -> I -> A; D <-> A")
            >>> ADMG.from_dict(G.to_dict()) == G
            True
        """
        return cls(*convert.read_dict(record))

    def to_dict(self) -> dict[str, Any]:
        """Write the graph as plain JSON values.

        Returns:
            `variables`, `directed` and `confounders`, sorted.

        Example:
            >>> ADMG.parse("X -> Y; X <-> Y").to_dict()["directed"]
            [['X', 'Y']]
        """
        return convert.to_dict(self)

    @property
    def confounders(self) -> Mapping[str, tuple[str, ...]]:
        """The confounders by name, with their children in the order of the variables."""
        return MappingProxyType(self._confounders)

    @cached_property
    def _confounders(self) -> dict[str, tuple[str, ...]]:
        taken = {*self.variables, *self._named}
        found = self._named | latent.cliques_as_confounders(self._bare, self._position, taken)
        places = {name: [self._position[v] for v in found[name]] for name in found}
        return {name: found[name] for name in sorted(found, key=lambda name: (places[name], name))}

    @cached_property
    def _position(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.variables)}

    @cached_property
    def _parents(self) -> dict[str, frozenset[str]]:
        return self._neighbours((b, a) for a, b in self.directed)

    @cached_property
    def _children(self) -> dict[str, frozenset[str]]:
        return self._neighbours(self.directed)

    @cached_property
    def _siblings(self) -> dict[str, frozenset[str]]:
        return self._neighbours(pair for edge in self.bidirected for pair in permutations(edge))

    def _neighbours(self, pairs: Iterable[tuple[str, ...]]) -> dict[str, frozenset[str]]:
        found: dict[str, list[str]] = {name: [] for name in self.variables}
        for name, other in pairs:
            found[name].append(other)
        return {name: frozenset(others) for name, others in found.items()}

    def select(self, names: str | Iterable[str], argument: str = "variables") -> frozenset[str]:
        """Check that names are variables of the graph.

        Arguments:
            names: One variable or several.
            argument: What the caller calls them in the message.

        Returns:
            The variables as a set.

        Raises:
            GraphError: If a name is unknown; the message proposes the nearest one.

        Example:
            >>> sorted(ADMG.parse("X -> Y").select("X"))
            ['X']
        """
        return check_known(names, self._position, argument)

    def parents(self, of: str | Iterable[str]) -> frozenset[str]:
        r"""Collect the variables with a directed edge into any of those given.

        Arguments:
            of: One variable or several.

        Returns:
            The union of the parents $pa(Y)$, which may include members of `of`.

        Example:
            >>> G = ADMG.parse("X -> M -> Y")
            >>> sorted(G.parents("Y")), sorted(G.parents(["M", "Y"]))
            (['M'], ['M', 'X'])
        """
        return frozenset[str]().union(*(self._parents[name] for name in self.select(of)))

    def children(self, of: str | Iterable[str]) -> frozenset[str]:
        r"""Collect the variables with a directed edge from any of those given.

        Arguments:
            of: One variable or several.

        Returns:
            The union of the children $ch(X)$.

        Example:
            >>> sorted(ADMG.parse("X -> M -> Y").children("X"))
            ['M']
        """
        return frozenset[str]().union(*(self._children[name] for name in self.select(of)))

    def siblings(self, of: str | Iterable[str]) -> frozenset[str]:
        r"""Collect the variables with a bidirected edge to any of those given.

        Arguments:
            of: One variable or several.

        Returns:
            The union of the siblings $sib(X)$.

        Example:
            >>> sorted(ADMG.parse("U: X, Y, Z").siblings("X"))
            ['Y', 'Z']
        """
        return frozenset[str]().union(*(self._siblings[name] for name in self.select(of)))

    def ancestors(self, of: str | Iterable[str]) -> frozenset[str]:
        r"""Collect the variables with a directed path to any of those given, and those.

        Arguments:
            of: One variable or several.

        Returns:
            $An(S)$, which includes $S$.

        Example:
            >>> sorted(ADMG.parse("X -> M -> Y").ancestors("M"))
            ['M', 'X']
        """
        return _closure(self.select(of), self._parents)

    def descendants(self, of: str | Iterable[str]) -> frozenset[str]:
        r"""Collect the variables with a directed path from any of those given, and those.

        Arguments:
            of: One variable or several.

        Returns:
            $De(S)$, which includes $S$.

        Example:
            >>> sorted(ADMG.parse("X -> M -> Y").descendants("M"))
            ['M', 'Y']
        """
        return _closure(self.select(of), self._children)

    def districts(self) -> tuple[frozenset[str], ...]:
        r"""Split the variables into districts (c-components).

        Two variables share a district iff a path of bidirected edges joins them. The
        districts index the c-factors $Q[S]$ in

        $$ p(v) = \prod_{S \in \mathcal{D}(G)} Q[S](v) \, . $$

        References:
            A general identification condition for causal effects (Tian & Pearl, 2002),
            Sec. 3.

        Returns:
            The districts, disjoint and covering $V$, ordered by their first variable.

        Example:
            >>> [sorted(S) for S in ADMG.parse("X -> M -> Y; X <-> Y").districts()]
            [['X', 'Y'], ['M']]
        """
        return tuple(dict.fromkeys(self._district_of.values()))

    @cached_property
    def _district_of(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for name in self.variables:
            if name not in found:
                district = _closure([name], self._siblings)
                found |= dict.fromkeys(district, district)
        return {name: found[name] for name in self.variables}

    def district(self, of: str, within: Iterable[str] | None = None) -> frozenset[str]:
        r"""Find the district (c-component) of a variable.

        Arguments:
            of: The variable.
            within: The variables of a subgraph to find it in; all if left out.

        Returns:
            The variables that a path of bidirected edges joins to `of`, and `of`.

        Example:
            >>> G = ADMG.parse("A <-> B <-> C")
            >>> sorted(G.district("A")), sorted(G.district("A", within=["A", "C"]))
            (['A', 'B', 'C'], ['A'])
        """
        self.select(of)
        if within is None:
            return self._district_of[of]
        return _closure([of], self._siblings, self.select(within, "within"))

    def confounders_of(self, variable: str) -> tuple[str, ...]:
        """List the confounders that a variable listens to.

        Arguments:
            variable: The variable.

        Returns:
            Their names, in the order of `confounders`.

        Example:
            >>> ADMG.parse("A <-> B; U: B, C").confounders_of("B")
            ('U_A_B', 'U')
        """
        self.select(variable)
        return tuple(name for name, ch in self._confounders.items() if variable in ch)

    def topological_order(self) -> tuple[str, ...]:
        """Sort the variables so that causes come before effects.

        Returns:
            The variables; among those free to come next, the first of `variables` does.

        Example:
            >>> ADMG.parse("Y <- M <- X; Z").topological_order()
            ('X', 'M', 'Y', 'Z')
        """
        return self._order

    @cached_property
    def _order(self) -> tuple[str, ...]:
        return wellformed.sort_topologically(self.variables, self._children, self._parents)

    def sorted_edges(self) -> list[tuple[str, str]]:
        """List the directed edges in the order of the variables.

        Returns:
            The edges, by cause and then by effect.

        Example:
            >>> ADMG.parse("X -> Y <- Z; X -> Z").sorted_edges()
            [('X', 'Y'), ('X', 'Z'), ('Z', 'Y')]
        """
        place = self._position
        return sorted(self.directed, key=lambda edge: (place[edge[0]], place[edge[1]]))

    def markov_pillow(self, variable: str) -> frozenset[str]:
        r"""Find what screens a variable off from its other predecessors.

        The district of $V$ among the variables up to $V$ in topological order, with that
        district's parents, without $V$:

        $$ p(v) = \prod_V p(v \mid mp(V)) . $$

        References:
            Semiparametric inference for causal effects in graphical models with hidden
            variables (Bhattacharya, Nabi & Shpitser, 2022), Sec. 2.

        Arguments:
            variable: The variable $V$.

        Returns:
            The set $mp(V)$, with respect to `topological_order()`.

        Example:
            >>> G = ADMG.parse("X -> M -> Y; X <-> Y")
            >>> sorted(G.markov_pillow("Y")), sorted(G.markov_pillow("M"))
            (['M', 'X'], ['X'])
        """
        self.select(variable)
        up_to = self._order[: self._order.index(variable) + 1]
        district = self.district(variable, within=up_to)
        return (district | self.parents(district)) - {variable}

    def mutilate(
        self, incoming: str | Iterable[str] = (), outgoing: str | Iterable[str] = ()
    ) -> ADMG:
        r"""Cut edges into and out of variables, and keep every variable.

        The graph $G_{\overline{X}\,\underline{Z}}$ of the do-calculus. A variable whose
        incoming edges are cut stops listening to its confounders; a confounder left with
        fewer than two children is gone.

        References:
            Causality, 2nd ed. (Pearl, 2009), Sec. 3.4.

        Arguments:
            incoming: The variables $X$ that lose the edges into them.
            outgoing: The variables $Z$ that lose the directed edges out of them.

        Returns:
            The mutilated graph.

        Example:
            >>> G = ADMG.parse("X -> M -> Y; X <-> Y")
            >>> G.mutilate(incoming="X")
            ADMG.parse('X -> M; M -> Y')
            >>> G.mutilate(outgoing="M")
            ADMG.parse('X -> M; X <-> Y')
        """
        cut_in, cut_out = self.select(incoming, "incoming"), self.select(outgoing, "outgoing")
        kept = ((a, b) for a, b in self.directed if b not in cut_in and a not in cut_out)
        listening = latent.restrict(self._confounders, lambda name: name not in cut_in)
        return self._derive(self.variables, frozenset(kept), listening)

    def subgraph(self, variables: str | Iterable[str]) -> ADMG:
        """Keep some variables, and the edges between them.

        Arguments:
            variables: The variables to keep.

        Returns:
            The subgraph; a confounder keeps its name and those of its children that stay.

        Example:
            >>> ADMG.parse("X -> M -> Y; X <-> Y").subgraph(["X", "Y"])
            ADMG.parse('X <-> Y')
        """
        S = self.select(variables)
        inner = frozenset((a, b) for a, b in self.directed if a in S and b in S)
        order = tuple(name for name in self.variables if name in S)
        return self._derive(order, inner, latent.restrict(self._confounders, S.__contains__))

    def _derive(
        self,
        variables: tuple[str, ...],
        directed: frozenset[tuple[str, str]],
        confounders: dict[str, tuple[str, ...]],
    ) -> ADMG:
        """Make a graph that needs no checks."""
        return object.__new__(ADMG)._fill(variables, directed, confounders)

    def m_separated(
        self, X: str | Iterable[str], Y: str | Iterable[str], given: str | Iterable[str] = ()
    ) -> bool:
        r"""Decide whether $X \perp_m Y \mid Z$: see `separation.m_separated`.

        Arguments:
            X: One variable or several.
            Y: One variable or several, others than `X`.
            given: The variables $Z$ to condition on, others than `X` and `Y`.

        Returns:
            Whether every model of the graph makes `X` independent of `Y` given `given`.

        Example:
            >>> G = ADMG.parse("X -> M <- Y")
            >>> G.m_separated("X", "Y"), G.m_separated("X", "Y", given="M")
            (True, False)
        """
        return separation.m_separated(self, X, Y, given)

    def __eq__(self, other: object) -> bool:
        """Compare variables (in order), edges and confounders."""
        if not isinstance(other, ADMG):
            return NotImplemented
        return (self.variables, self.directed, self.bidirected, self._confounders) == (
            other.variables,
            other.directed,
            other.bidirected,
            other._confounders,
        )

    def __hash__(self) -> int:
        """Hash what `__eq__` compares, without looking for cliques."""
        return hash((self.variables, self.directed, self.bidirected))

    def __repr__(self) -> str:
        """Write an expression that makes the graph again."""
        return f"ADMG.parse({convert.to_text(self)!r})"

    def __str__(self) -> str:
        """Write the statements that `ADMG.parse` reads."""
        return convert.to_text(self)


def _closure(
    start: Iterable[str],
    neighbours: Mapping[str, frozenset[str]],
    within: frozenset[str] | None = None,
) -> frozenset[str]:
    """Collect what can be reached from `start`, and `start`."""
    seen = set(start)
    stack = list(seen)
    while stack:
        fresh = neighbours[stack.pop()] - seen
        fresh = fresh if within is None else fresh & within
        seen |= fresh
        stack.extend(fresh)
    return frozenset(seen)

r"""Who is whose parent, sibling or ancestor, and who shares a confounder or district?

Sets of variables go in as a name or several, and come out as frozen sets. As in the
papers on identification, $An(S)$ and $De(S)$ include $S$.

References:
    Markov properties for acyclic directed mixed graphs (Richardson, 2003), Sec. 2.
    A general identification condition for causal effects (Tian & Pearl, 2002), Sec. 3.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from types import MappingProxyType

from causal_diffusers.graphs import wellformed
from causal_diffusers.graphs.confounders import cliques_as_confounders
from causal_diffusers.graphs.names import check_known

__all__ = ["Kinship"]


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Kinship(ABC):
    r"""The relations between the variables of a mixed graph.

    Arguments:
        variables: The variables; their order decides every tie.
        directed: The edges $A \to B$ as pairs `(A, B)`.
        bidirected: The edges $A \leftrightarrow B$ as two-element sets.
        confounders: The children of each confounder, computed when first asked for.

    Example:
        >>> from causal_diffusers.graphs import ADMG
        >>> issubclass(ADMG, Kinship)
        True
    """

    variables: tuple[str, ...]
    directed: frozenset[tuple[str, str]]
    bidirected: frozenset[frozenset[str]]
    _named: dict[str, tuple[str, ...]]  # the confounders that have a name
    _bare: frozenset[frozenset[str]]  # the bidirected edges that those do not cover

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
            >>> from causal_diffusers.graphs import ADMG
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
            >>> from causal_diffusers.graphs import ADMG
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
            >>> from causal_diffusers.graphs import ADMG
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
            >>> from causal_diffusers.graphs import ADMG
            >>> sorted(ADMG.parse("U: X, Y, Z").siblings("X"))
            ['Y', 'Z']
        """
        return frozenset[str]().union(*(self._siblings[name] for name in self.select(of)))

    def ancestors(self, of: str | Iterable[str]) -> frozenset[str]:
        r"""Collect those given and the variables with a directed path to any of them.

        Arguments:
            of: One variable or several.

        Returns:
            $An(S)$, which includes $S$.

        Example:
            >>> from causal_diffusers.graphs import ADMG
            >>> sorted(ADMG.parse("X -> M -> Y").ancestors("M"))
            ['M', 'X']
        """
        return _closure(self.select(of), self._parents)

    def descendants(self, of: str | Iterable[str]) -> frozenset[str]:
        r"""Collect those given and the variables with a directed path from any of them.

        Arguments:
            of: One variable or several.

        Returns:
            $De(S)$, which includes $S$.

        Example:
            >>> from causal_diffusers.graphs import ADMG
            >>> sorted(ADMG.parse("X -> M -> Y").descendants("M"))
            ['M', 'Y']
        """
        return _closure(self.select(of), self._children)

    def districts(self, within: Iterable[str] | None = None) -> tuple[frozenset[str], ...]:
        r"""Split the variables into districts (c-components).

        Two variables share a district iff a path of bidirected edges joins them. The
        districts index the c-factors $Q[S]$ in

        $$ p(v) = \prod_{S \in \mathcal{D}(G)} Q[S](v) \, . $$

        References:
            A general identification condition for causal effects (Tian & Pearl, 2002),
            Sec. 3.

        Arguments:
            within: The variables of a subgraph to split; all if left out.

        Returns:
            The districts, disjoint and covering $V$, ordered by their first variable.

        Example:
            >>> from causal_diffusers.graphs import ADMG
            >>> [sorted(S) for S in ADMG.parse("X -> M -> Y; X <-> Y").districts()]
            [['X', 'Y'], ['M']]
        """
        if within is None:
            return tuple(dict.fromkeys(self._district_of.values()))
        S = self.select(within, "within")
        found = self._split(tuple(name for name in self.variables if name in S))
        return tuple(dict.fromkeys(found.values()))

    @cached_property
    def _district_of(self) -> dict[str, frozenset[str]]:
        return self._split(self.variables)

    def _split(self, names: tuple[str, ...]) -> dict[str, frozenset[str]]:
        """Map variables, in order, to their districts in the subgraph over them."""
        found, inside = dict[str, frozenset[str]](), frozenset(names)
        for name in names:
            if name not in found:
                district = _closure([name], self._siblings, inside)
                found |= dict.fromkeys(district, district)
        return {name: found[name] for name in names}

    def district(self, of: str, within: Iterable[str] | None = None) -> frozenset[str]:
        r"""Find the district (c-component) of a variable.

        Arguments:
            of: The variable.
            within: The variables of a subgraph to find it in; all if left out.

        Returns:
            The variables that a path of bidirected edges joins to `of`, and `of`.

        Example:
            >>> from causal_diffusers.graphs import ADMG
            >>> G = ADMG.parse("A <-> B <-> C")
            >>> sorted(G.district("A")), sorted(G.district("A", within=["A", "C"]))
            (['A', 'B', 'C'], ['A'])
        """
        self.select(of)
        if within is None:
            return self._district_of[of]
        return _closure([of], self._siblings, self.select(within, "within"))

    @property
    def confounders(self) -> Mapping[str, tuple[str, ...]]:
        """The children of each confounder, in the order of the variables."""
        return MappingProxyType(self._confounders)

    @cached_property
    def _confounders(self) -> dict[str, tuple[str, ...]]:
        taken = {*self.variables, *self._named}
        found = self._named | cliques_as_confounders(self._bare, self._position, taken)
        places = {name: [self._position[v] for v in found[name]] for name in found}
        return {name: found[name] for name in sorted(found, key=lambda name: (places[name], name))}

    def confounders_of(self, variable: str) -> tuple[str, ...]:
        """List the confounders that a variable listens to.

        Arguments:
            variable: The variable.

        Returns:
            Their names, in the order of `confounders`.

        Example:
            >>> from causal_diffusers.graphs import ADMG
            >>> ADMG.parse("A <-> B; U: B, C").confounders_of("B")
            ('U_A_B', 'U')
        """
        self.select(variable)
        return tuple(self._listens_to[variable])

    @cached_property
    def _listens_to(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {name: [] for name in self.variables}
        for name, children in self._confounders.items():
            for child in children:
                found[child].append(name)
        return found

    def topological_order(self) -> tuple[str, ...]:
        """Sort the variables so that causes come before effects.

        Returns:
            The variables; among those free to come next, the first of `variables` does.

        Example:
            >>> from causal_diffusers.graphs import ADMG
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
            >>> from causal_diffusers.graphs import ADMG
            >>> ADMG.parse("X -> Y <- Z; X -> Z").sorted_edges()
            [('X', 'Y'), ('X', 'Z'), ('Z', 'Y')]
        """
        place = self._position
        return sorted(self.directed, key=lambda edge: (place[edge[0]], place[edge[1]]))

    def markov_pillow(self, variable: str) -> frozenset[str]:
        r"""Find what screens a variable off from its other predecessors.

        The district of $V$ among the variables up to $V$ in topological order, with
        that district's parents, without $V$:

        $$ p(v) = \prod_V p(v \mid mp(V)) . $$

        References:
            Semiparametric inference for causal effects in graphical models with hidden
            variables (Bhattacharya, Nabi & Shpitser, 2022), Sec. 2.

        Arguments:
            variable: The variable $V$.

        Returns:
            The set $mp(V)$, with respect to `topological_order()`.

        Example:
            >>> from causal_diffusers.graphs import ADMG
            >>> G = ADMG.parse("X -> M -> Y; X <-> Y")
            >>> sorted(G.markov_pillow("Y")), sorted(G.markov_pillow("M"))
            (['M', 'X'], ['X'])
        """
        self.select(variable)
        up_to = self._order[: self._order.index(variable) + 1]
        district = self.district(variable, within=up_to)
        return (district | self.parents(district)) - {variable}

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

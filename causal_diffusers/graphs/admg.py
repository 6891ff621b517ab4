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
from typing import TYPE_CHECKING, Any, final

from causal_diffusers.graphs import confounders as latent
from causal_diffusers.graphs import convert, dot, draw, separation, wellformed
from causal_diffusers.graphs.kinship import Kinship

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["ADMG"]


@final
@dataclass(frozen=True, init=False, eq=False, repr=False)
class ADMG(Kinship):
    r"""An acyclic directed mixed graph: immutable, hashable, equal by value.

    Bare bidirected edges stand for one confounder per maximal clique of them, named
    after its children. A confounder named here covers the edges between its children.

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

    def __init__(
        self,
        variables: Iterable[str],
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
        """Set the fields, unchecked."""
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

        Statements are separated by `;` or a new line: a chain of variables joined by
        `->`, `<-` and `<->`, a lone variable, or a named confounder `U: A, B, C`.

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
            edges: Triples `(A, "->", B)`, `(A, "<-", B)` or `(A, "<->", B)`; a pair
                `(A, B)` is directed.

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
    def from_networkx(cls, graph: nx.DiGraph[Any]) -> ADMG:
        """Read a graph from networkx.

        Arguments:
            graph: A directed graph. A node with a true `latent` attribute is not
                observed and is projected out; an edge with a true `bidirected`
                attribute is bidirected.

        Returns:
            The graph over the observed nodes.

        Raises:
            GraphError: If the graph is undirected or malformed.

        Example:
            >>> import networkx as nx
            >>> graph = nx.DiGraph([("D", "I"), ("I", "A"), ("U", "D"), ("U", "A")])
            >>> graph.nodes["U"]["latent"] = True
            >>> ADMG.from_networkx(graph)
            ADMG.parse('D -> I; I -> A; U: D, A')
        """
        return cls(*convert.read_networkx(graph))

    @classmethod
    def from_dot(cls, text: str) -> ADMG:
        """Read a graph in DOT: see `dot`.

        Arguments:
            text: The text; `A -> B [dir=both]` is bidirected, `U [latent=true]` is
                latent.

        Returns:
            The graph over the observed variables.

        Raises:
            GraphError: If the text cannot be read, or the graph is malformed.

        Example:
            >>> ADMG.from_dot("digraph { D -> I -> A; D -> A [dir=both] }")
            ADMG.parse('D -> I; I -> A; D <-> A')
        """
        return cls(*dot.read_dot(text))

    @classmethod
    def from_dagitty(cls, text: str) -> ADMG:
        """Read a graph of dagitty, and project its latent variables out: see `dot`.

        Arguments:
            text: The text, `dag { ... }`.

        Returns:
            The graph over the observed variables.

        Raises:
            GraphError: If the text cannot be read, or the graph is malformed.

        Example:
            >>> ADMG.from_dagitty("dag { U [latent]  D -> I -> A  D <- U -> A }")
            ADMG.parse('D -> I; I -> A; U: D, A')
        """
        return cls(*dot.read_dagitty(text))

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
        return cls(**convert.read_dict(record))

    def to_networkx(self) -> nx.DiGraph[str]:
        """Write the graph for networkx, with a latent node for each confounder.

        Returns:
            The canonical DAG. Every node has the attribute `latent`.

        Example:
            >>> sorted(ADMG.parse("X -> Y; U: X, Y").to_networkx().edges)
            [('U', 'X'), ('U', 'Y'), ('X', 'Y')]
        """
        return convert.to_networkx(self)

    def to_dot(self) -> str:
        """Write the graph in DOT.

        Returns:
            Text that Graphviz draws and `from_dot` reads.

        Example:
            >>> G = ADMG.parse("X -> Y; X <-> Y")
            >>> ADMG.from_dot(G.to_dot()) == G
            True
        """
        return dot.to_dot(self)

    def to_dagitty(self) -> str:
        """Write the graph for dagitty.

        Returns:
            Text that dagitty and `from_dagitty` read.

        Example:
            >>> G = ADMG.parse("X -> Y; X <-> Y")
            >>> ADMG.from_dagitty(G.to_dagitty()) == G
            True
        """
        return dot.to_dagitty(self)

    def to_mermaid(self) -> str:
        """Write the graph as a Mermaid flowchart.

        Returns:
            Text for a Mermaid block in Markdown.

        Example:
            >>> print(ADMG.parse("X -> Y; X <-> Y").to_mermaid())
            flowchart LR
              X --> Y
              X <-.-> Y
        """
        return draw.to_mermaid(self)

    def _repr_html_(self) -> str | None:
        """Draw the graph in a notebook, unless it is too large to look at."""
        return draw.to_svg(self) if len(self.variables) <= 100 else None

    def to_dict(self) -> dict[str, Any]:
        """Write the graph as plain JSON values.

        Returns:
            `variables`, `directed` and `confounders`, sorted.

        Example:
            >>> ADMG.parse("X -> Y; X <-> Y").to_dict()["directed"]
            [['X', 'Y']]
        """
        return convert.to_dict(self)

    def mutilate(
        self, incoming: str | Iterable[str] = (), outgoing: str | Iterable[str] = ()
    ) -> ADMG:
        r"""Cut edges into and out of variables, and keep every variable.

        The graph $G_{\overline{X}\,\underline{Z}}$ of the do-calculus. A variable whose
        incoming edges are cut stops listening to its confounders; a confounder left
        with fewer than two children is gone.

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
        return object.__new__(ADMG)._fill(self.variables, frozenset(kept), listening)

    def subgraph(self, variables: str | Iterable[str]) -> ADMG:
        """Keep some variables, and the edges between them.

        Arguments:
            variables: The variables to keep.

        Returns:
            The subgraph; a confounder keeps its name and those of its children that
            stay.

        Example:
            >>> ADMG.parse("X -> M -> Y; X <-> Y").subgraph(["X", "Y"])
            ADMG.parse('X <-> Y')
        """
        S = self.select(variables)
        inner = frozenset((a, b) for a, b in self.directed if a in S and b in S)
        order = tuple(name for name in self.variables if name in S)
        listening = latent.restrict(self._confounders, S.__contains__)
        return object.__new__(ADMG)._fill(order, inner, listening)

    def m_separated(
        self, X: str | Iterable[str], Y: str | Iterable[str], given: str | Iterable[str] = ()
    ) -> bool:
        r"""Decide whether $X \perp_m Y \mid Z$: see `separation.m_separated`.

        Arguments:
            X: One variable or several.
            Y: One variable or several, others than `X`.
            given: The variables $Z$ to condition on, others than `X` and `Y`.

        Returns:
            Whether every model of the graph makes the two independent.

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
        return self._key() == other._key() and self._confounders == other._confounders

    def _key(self) -> tuple[object, ...]:
        return self.variables, self.directed, self.bidirected

    def __hash__(self) -> int:
        """Hash what `__eq__` compares, without looking for cliques."""
        return hash(self._key())

    def __repr__(self) -> str:
        """Write an expression that makes the graph again."""
        return f"ADMG.parse({convert.to_text(self)!r})"

    def __str__(self) -> str:
        """Write the statements that `ADMG.parse` reads."""
        return convert.to_text(self)

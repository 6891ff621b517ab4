r"""How is a graph written down?

In a line of text (`"D -> I -> A; U: D, A"`), as a list of edges, as plain JSON values
or as a networkx graph. Readers return the arguments of `ADMG`, which checks them. DOT
and dagitty have a file of their own, `dot`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import networkx as nx

from causal_diffusers.errors import GraphError
from causal_diffusers.graphs.confounders import as_written
from causal_diffusers.graphs.parts import Parts
from causal_diffusers.graphs.projection import project

if TYPE_CHECKING:
    from causal_diffusers.graphs.admg import ADMG

__all__ = [
    "parse_edges",
    "parse_text",
    "read_dict",
    "read_networkx",
    "to_dict",
    "to_networkx",
    "to_text",
]

_STATEMENT = re.compile(r"[;\n]")
_ARROW = re.compile(r"\s*(<->|->|<-)\s*")
_NAME = re.compile(r"[^\s<>,:;-]+")


def parse_text(text: str) -> Parts:
    """Read the statements of `ADMG.parse`.

    Arguments:
        text: Statements separated by `;` or a new line.

    Returns:
        The arguments of `ADMG`.

    Raises:
        GraphError: If a statement cannot be read.

    Example:
        >>> parse_text("X <- Z -> Y; U: X, Y").directed
        [('Z', 'X'), ('Z', 'Y')]
    """
    parts = Parts({}, [], [], {})
    lines = (line.partition("#")[0] for line in text.splitlines())
    for statement in filter(None, map(str.strip, _STATEMENT.split("\n".join(lines)))):
        if ":" in statement:
            _read_confounder(statement, parts)
        else:
            _read_chain(statement, parts)
    return parts


def parse_edges(edges: Iterable[Sequence[str]]) -> Parts:
    """Read the edges of `ADMG.from_edges`.

    Arguments:
        edges: Triples `(A, arrow, B)`, or pairs `(A, B)` for directed edges.

    Returns:
        The arguments of `ADMG`.

    Raises:
        GraphError: If an edge cannot be read.

    Example:
        >>> parse_edges([("X", "Y"), ("X", "<->", "Y")]).bidirected
        [('X', 'Y')]
    """
    parts = Parts({}, [], [], {})
    for edge in edges:
        if isinstance(edge, str) or len(edge) not in {2, 3}:
            raise GraphError(
                f"`edges` must hold (A, B) or (A, arrow, B): got {edge!r}. "
                "To read text, use `ADMG.parse`."
            )
        parts.add_edge(edge[0], edge[1] if len(edge) == 3 else "->", edge[-1])
    return parts


def to_text(G: ADMG) -> str:
    """Write a graph as statements that `ADMG.parse` reads.

    Arguments:
        G: The graph.

    Returns:
        One line; variables come first where the edges would change their order.

    Example:
        >>> from causal_diffusers.graphs import ADMG
        >>> to_text(ADMG.parse("X <- Z -> Y; U: X, Y, Z"))
        'X; Z -> X; Z -> Y; U: X, Z, Y'
    """
    edges, named = as_written(G.confounders, G.variables)
    chains = [f"{a} -> {b}" for a, b in G.sorted_edges()] + [f"{a} <-> {b}" for a, b in edges]
    statements = chains + [f"{name}: {', '.join(named[name])}" for name in named]
    met = parse_text(";".join(statements)).variables
    statements += [name for name in G.variables if name not in met]
    return "; ".join(
        [*_prefix(G.variables, parse_text(";".join(statements)).variables), *statements]
    )


def read_dict(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Check the record of `ADMG.to_dict`.

    Arguments:
        record: `variables`, and any of `directed`, `bidirected` and `confounders`.

    Returns:
        The arguments of `ADMG`, by name.

    Raises:
        GraphError: If an entry is missing, unknown or of another kind.

    Example:
        >>> sorted(read_dict({"variables": ["X"], "directed": []}))
        ['directed', 'variables']
    """
    kinds = {"variables": list, "directed": list, "bidirected": list, "confounders": dict}
    wrong = sorted(set(record) - set(kinds)) + ["variables"] * ("variables" not in record)
    wrong += [key for key in kinds if key in record and not isinstance(record[key], kinds[key])]
    if not wrong:
        lists = {key: [*record.get(key, ())] for key in ("directed", "bidirected")}
        lists["confounders"] = [*record.get("confounders", {}).values()]
        wrong = [key for key in lists if not all(map(_is_list_of_names, lists[key]))]
    if wrong:
        raise GraphError(
            "`from_dict` needs `variables` (a list of names), and takes `directed` and "
            "`bidirected` (lists of pairs) and `confounders` (lists of children by name): "
            f"got a record where {', '.join(wrong)} is missing, unknown or of another kind. "
            "Make the record with `ADMG.to_dict`."
        )
    return record


def to_dict(G: ADMG) -> dict[str, Any]:
    """Write a graph as plain JSON values.

    Arguments:
        G: The graph.

    Returns:
        `variables`, `directed` and `confounders`, sorted.

    Example:
        >>> from causal_diffusers.graphs import ADMG
        >>> to_dict(ADMG.parse("X -> Y; X <-> Y"))["confounders"]
        {'U_X_Y': ['X', 'Y']}
    """
    return {
        "variables": list(G.variables),
        "directed": [list(edge) for edge in G.sorted_edges()],
        "confounders": {name: list(G.confounders[name]) for name in sorted(G.confounders)},
    }


def read_networkx(graph: nx.DiGraph[Any]) -> Parts:
    """Read the graph of `ADMG.from_networkx`.

    Arguments:
        graph: A directed graph; `latent` marks nodes and `bidirected` marks edges.

    Returns:
        The arguments of `ADMG`, with the latent variables projected out.

    Raises:
        GraphError: If the graph is undirected or has a cycle.

    Example:
        >>> graph = nx.MultiDiGraph([("X", "Y"), ("X", "Y", {"bidirected": True})])
        >>> read_networkx(graph).bidirected
        [('X', 'Y')]
    """
    if not graph.is_directed():
        raise GraphError(
            f"`from_networkx` needs a directed graph: got a {type(graph).__name__}. "
            "Use a DiGraph whose latent nodes have `latent=True`, or a MultiDiGraph whose "
            "bidirected edges have `bidirected=True`."
        )
    parts = Parts({}, [], [], {})
    parts.add_variables(*graph.nodes)
    for a, b, attributes in graph.edges(data=True):
        parts.add_edge(a, "<->" if attributes.get("bidirected") else "->", b)
    return project(parts, {name for name, data in graph.nodes(data=True) if data.get("latent")})


def to_networkx(G: ADMG) -> nx.DiGraph[str]:
    """Write a graph as a networkx graph in which each confounder is a latent node.

    Arguments:
        G: The graph.

    Returns:
        The canonical DAG. Every node has the attribute `latent`, true for confounders.

    Example:
        >>> from causal_diffusers.graphs import ADMG
        >>> sorted(to_networkx(ADMG.parse("X -> Y; U: X, Y")).edges)
        [('U', 'X'), ('U', 'Y'), ('X', 'Y')]
    """
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(G.variables, latent=False)
    graph.add_nodes_from(G.confounders, latent=True)
    graph.add_edges_from(G.sorted_edges())
    graph.add_edges_from((name, child) for name, ch in G.confounders.items() for child in ch)
    return graph


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(name, str) for name in cast("list[object]", value)
    )


def _read_confounder(statement: str, parts: Parts) -> None:
    name, _, listed = statement.partition(":")
    children = [child.strip() for child in listed.split(",")]
    for word in (name.strip(), *children):
        _check_word(word, statement)
    if name.strip() in parts.confounders:
        raise GraphError(
            f'a confounder must be named once: got "{name.strip()}" again in `{statement}`. '
            "List all of its children in one statement, or rename one of the two."
        )
    parts.add_variables(*children)
    parts.confounders[name.strip()] = children


def _read_chain(statement: str, parts: Parts) -> None:
    words = _ARROW.split(statement)
    for word in words[::2]:
        _check_word(word, statement)
    parts.add_variables(*words[::2])
    for left, arrow, right in zip(words[::2], words[1::2], words[2::2], strict=False):
        parts.add_edge(left, arrow, right)


def _check_word(word: str, statement: str) -> None:
    if not _NAME.fullmatch(word):
        raise GraphError(
            "a statement must be a chain such as `A -> B <-> C`, a variable, or a confounder "
            f"such as `U: A, B`: got `{statement}`, where {word!r} is not a name. "
            "Separate statements by `;` or a new line."
        )


def _prefix(variables: Sequence[str], first_seen: Iterable[str]) -> Sequence[str]:
    """Choose the variables to write first, so that reading restores their order."""
    rank = {name: i for i, name in enumerate(first_seen)}
    n = len(variables) - 1
    while n > 0 and rank[variables[n - 1]] < rank[variables[n]]:
        n -= 1
    return variables[: max(n, 0)]

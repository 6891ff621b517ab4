r"""How is a graph written down?

In a line of text (`"D -> I -> A; U: D, A"`), as a list of edges, as plain JSON values or as
a networkx graph. Readers return the arguments of `ADMG`, which checks them; `dot` and
`dagitty` are files of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from causal_diffusers.errors import GraphError
from causal_diffusers.graphs.confounders import as_written

if TYPE_CHECKING:
    from causal_diffusers.graphs.admg import ADMG

__all__ = ["Parts", "parse_edges", "parse_text", "read_dict", "to_dict", "to_text"]

_STATEMENT = re.compile(r"[;\n]")
_ARROW = re.compile(r"\s*(<->|->|<-)\s*")
_NAME = re.compile(r"[^\s<>,:;-]+")


class Parts(NamedTuple):
    """The arguments of `ADMG` while they are being read.

    Arguments:
        variables: The variables in order, as the keys of a dictionary.
        directed: The directed edges.
        bidirected: The bidirected edges.
        confounders: The children of each named confounder.

    Example:
        >>> parts = Parts({}, [], [], {})
        >>> parts.add_edge("X", "<-", "Z")
        >>> list(parts.variables), parts.directed
        (['X', 'Z'], [('Z', 'X')])
    """

    variables: dict[str, None]
    directed: list[tuple[str, str]]
    bidirected: list[tuple[str, str]]
    confounders: dict[str, list[str]]

    def add_variables(self, *names: str) -> None:
        """Append variables, unless they are known."""
        self.variables.update(dict.fromkeys(names))

    def add_edge(self, left: str, arrow: str, right: str) -> None:
        """Append an edge and its ends."""
        self.add_variables(left, right)
        match arrow:
            case "->":
                self.directed.append((left, right))
            case "<-":
                self.directed.append((right, left))
            case "<->":
                self.bidirected.append((left, right))
            case _:
                raise GraphError(
                    f"an edge must be `->`, `<-` or `<->`: got {arrow!r} between {left} and "
                    f"{right}. Write `{left} -> {right}` if {right} listens to {left}."
                )


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


def read_dict(record: Mapping[str, Any]) -> Parts:
    """Read the record of `ADMG.to_dict`.

    Arguments:
        record: `variables`, `directed` and `confounders`.

    Returns:
        The arguments of `ADMG`.

    Raises:
        GraphError: If an entry is missing or has another form.

    Example:
        >>> read_dict({"variables": ["X"], "directed": [], "confounders": {}}).variables
        {'X': None}
    """
    try:
        return Parts(
            dict.fromkeys(record["variables"]),
            [(a, b) for a, b in record["directed"]],
            [],
            {name: list(children) for name, children in record["confounders"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise GraphError(
            "`from_dict` needs `variables` (a list of names), `directed` (a list of pairs) and "
            f"`confounders` (lists of children by name): got {record!r}. "
            "Make the record with `ADMG.to_dict`."
        ) from None


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

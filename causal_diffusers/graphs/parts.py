r"""What is a graph while it is being read?

The four arguments of `ADMG`, collected edge by edge and not checked yet. Every reader
fills one of these.
"""

from __future__ import annotations

from typing import NamedTuple

from causal_diffusers.errors import GraphError

__all__ = ["Parts"]


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

r"""What does a graph look like?

As Mermaid text, which GitHub and most documentation tools draw, and as a picture in SVG that
needs no other program. Directed edges are solid and what is unobserved is dashed: a
confounder of two variables is an arc between them, one of three or more is a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from math import hypot
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from causal_diffusers.graphs.admg import ADMG

__all__ = ["to_mermaid", "to_svg"]

_Point = tuple[float, float]

# Words that Mermaid does not accept as the identifier of a node.
_MERMAID_WORDS = frozenset(
    {"call", "class", "classdef", "click", "default", "direction", "end", "flowchart", "href"}
    | {"interpolate", "linkstyle", "style", "subgraph"}
)
_HEIGHT = 30.0
_HEAD = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
    'markerHeight="8" orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z" '
    'fill="currentColor"/></marker></defs>'
)


def to_mermaid(G: ADMG) -> str:
    """Write a graph as a Mermaid flowchart.

    Arguments:
        G: The graph.

    Returns:
        Text for a Mermaid block in Markdown.

    Example:
        >>> from causal_diffusers.graphs import ADMG
        >>> print(to_mermaid(ADMG.parse("X -> Y; U: X, Y, Z")))
        flowchart LR
          U(("U"))
          X --> Y
          U -.-> X
          U -.-> Y
          U -.-> Z
    """
    ids = {name: _mermaid_id(name) for name in (*G.variables, *G.confounders)}
    shared = [(name, children) for name, children in G.confounders.items() if len(children) > 2]
    arcs = [children for children in G.confounders.values() if len(children) == 2]
    joined = {name for edge in G.directed for name in edge}.union(*G.confounders.values())
    lines = [f'{ids[v]}["{v}"]' for v in G.variables if v not in joined or ids[v] != v]
    lines += [f'{ids[name]}(("{name}"))' for name, _ in shared]
    lines += [f"{ids[a]} --> {ids[b]}" for a, b in G.sorted_edges()]
    lines += [f"{ids[a]} <-.-> {ids[b]}" for a, b in arcs]
    lines += [f"{ids[name]} -.-> {ids[child]}" for name, ch in shared for child in ch]
    return "\n".join(["flowchart LR", *(f"  {line}" for line in lines)])


def to_svg(G: ADMG) -> str:
    """Draw a graph from left to right, in layers.

    Arguments:
        G: The graph.

    Returns:
        An SVG element in the colour of the text around it.

    Example:
        >>> from causal_diffusers.graphs import ADMG
        >>> picture = to_svg(ADMG.parse("X -> Y; X <-> Y"))
        >>> picture.count("<rect"), picture.count("stroke-dasharray")
        (2, 1)
    """
    depth = _depths(G)
    at = _places(G, depth)
    shared = {name: ch for name, ch in G.confounders.items() if len(ch) > 2}
    at |= _above(shared, at)
    shapes = [_node(name, at[name], dashed=name in shared) for name in at]
    for a, b in G.sorted_edges():
        shapes.append(_edge(a, b, at, bend=0.25 if depth[b] - depth[a] > 1 else 0.0))
    for name, children in G.confounders.items():
        if name in shared:
            shapes += [_edge(name, child, at, dashed=True, title=name) for child in children]
        else:
            a, b = sorted(children, key=lambda child: at[child])
            shapes.append(_edge(a, b, at, bend=-0.35, dashed=True, title=name))
    return _svg(shapes, at)


def _mermaid_id(name: str) -> str:
    """Put an underscore, which starts no variable's name, before Mermaid's own words."""
    return f"_{name}" if name.lower() in _MERMAID_WORDS else name


def _depths(G: ADMG) -> dict[str, int]:
    """Count the edges of the longest path to each variable."""
    depth: dict[str, int] = {}
    for name in G.topological_order():
        depth[name] = 1 + max((depth[parent] for parent in G.parents(name)), default=-1)
    return depth


def _places(G: ADMG, depth: Mapping[str, int]) -> dict[str, _Point]:
    """Set each layer as a column, its variables by the mean height of their parents."""
    at: dict[str, _Point] = {}
    x = 0.0
    for _, group in groupby(sorted(G.variables, key=depth.__getitem__), key=depth.__getitem__):
        layer = list(group)
        layer.sort(key=lambda name: _mean(at[parent][1] for parent in G.parents(name)))
        x += max(map(_width, layer)) / 2
        for row, name in enumerate(layer):
            at[name] = (x, 64 * (row - (len(layer) - 1) / 2))
        x += max(map(_width, layer)) / 2 + 56
    return at


def _above(shared: Mapping[str, tuple[str, ...]], at: Mapping[str, _Point]) -> dict[str, _Point]:
    """Set confounders in a row above their children, without overlap."""
    top = min((y for _, y in at.values()), default=0.0) - 72
    wanted = {name: _mean(at[child][0] for child in ch) for name, ch in shared.items()}
    placed: dict[str, _Point] = {}
    x = float("-inf")
    for name in sorted(wanted, key=wanted.__getitem__):
        x = max(x + _width(name) / 2, wanted[name])
        placed[name] = (x, top)
        x += _width(name) / 2 + 12
    return placed


def _mean(numbers: Iterable[float]) -> float:
    listed = list(numbers)
    return sum(listed) / len(listed) if listed else 0.0


def _width(name: str) -> float:
    return max(36.0, 8.5 * len(name) + 16)


def _node(name: str, place: _Point, dashed: bool) -> str:
    x, y, width = *place, _width(name)
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y - _HEIGHT / 2:.1f}" width="{width:.1f}" '
        f'height="{_HEIGHT:.1f}" rx="15" fill="none" stroke="currentColor"{dashes}/>'
        f'<text x="{x:.1f}" y="{y + 5:.1f}" text-anchor="middle">{name}</text>'
    )


def _edge(
    a: str,
    b: str,
    at: Mapping[str, _Point],
    bend: float = 0.0,
    dashed: bool = False,
    title: str = "",
) -> str:
    """Draw a quadratic curve between the borders of two nodes; an arc if it bends up."""
    (x0, y0), (x1, y1) = at[a], at[b]
    control = (x0 + x1) / 2 - bend * (y1 - y0), (y0 + y1) / 2 + bend * (x1 - x0)
    start, stop = _border(a, at[a], control), _border(b, at[b], control)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (start, control, stop))
    style = ' stroke-dasharray="4 3"' if dashed else ""
    style += ' marker-start="url(#tip)"' if bend < 0 else ""
    return (
        f'<path d="M{path.replace(" ", " Q", 1)}" fill="none" stroke="currentColor" '
        f'marker-end="url(#tip)"{style}><title>{title or f"{a} -> {b}"}</title></path>'
    )


def _border(name: str, place: _Point, towards: _Point) -> _Point:
    """Go from the middle of a node towards a point, up to its border."""
    dx, dy = towards[0] - place[0], towards[1] - place[1]
    length = hypot(dx, dy) or 1.0
    dx, dy = dx / length, dy / length
    reach = min((_width(name) / 2 + 2) / (abs(dx) or 1e-9), (_HEIGHT / 2 + 2) / (abs(dy) or 1e-9))
    return place[0] + reach * dx, place[1] + reach * dy


def _svg(shapes: Iterable[str], at: Mapping[str, _Point]) -> str:
    """Frame the shapes, with room for the arcs, which bulge by a fraction of their length."""
    left = min((x - _width(name) / 2 for name, (x, _) in at.items()), default=0.0)
    right = max((x + _width(name) / 2 for name, (x, _) in at.items()), default=0.0)
    room = 24 + 0.18 * (right - left)
    top = min((y for _, y in at.values()), default=0.0) - room
    bottom = max((y for _, y in at.values()), default=0.0) + room
    frame = f"{left - 8:.1f} {top:.1f} {right - left + 16:.1f} {bottom - top:.1f}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{frame}" '
        f'width="{right - left + 16:.0f}" height="{bottom - top:.0f}" '
        'font-family="sans-serif" font-size="14" fill="currentColor">'
        f"{_HEAD}{''.join(shapes)}</svg>"
    )

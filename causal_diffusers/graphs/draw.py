r"""What does a graph look like?

As Mermaid text, which GitHub and most documentation tools draw, and as a picture in SVG
that needs no other program. Directed edges are solid and what is unobserved is dashed:
a confounder of two variables is an arc between them, one of three or more is a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from math import hypot
from typing import TYPE_CHECKING, Literal, NamedTuple

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
    at = _places(G)
    shared = {name: ch for name, ch in G.confounders.items() if len(ch) > 2}
    curves = [_Curve(f"{a} -> {b}", *_bow(a, b, at)) for a, b in G.sorted_edges()]
    for name, children in G.confounders.items():
        if name not in shared:
            a, b = sorted(children, key=lambda child: at[child])
            curves.append(_Curve(name, *_bow(a, b, at, "arc"), heads=2))
    top = min([y for _, y in at.values()] + [curve.middle[1] for curve in curves], default=0.0)
    at |= _above(shared, at, top - 44)
    curves += [
        _Curve(u, *_bow(u, v, at, "ray")) for u, children in shared.items() for v in children
    ]
    hidden = G.confounders.keys()
    shapes = [_node(name, at[name], dashed=name in hidden) for name in at]
    shapes += [_path(curve, dashed=curve.title in hidden) for curve in curves]
    return _svg(shapes, [*_corners(at), *(curve.middle for curve in curves)])


def _mermaid_id(name: str) -> str:
    """Put an underscore, which starts no name, before Mermaid's own words."""
    return f"_{name}" if name.lower() in _MERMAID_WORDS else name


def _places(G: ADMG) -> dict[str, _Point]:
    """Set each layer as a column, its variables by the mean height of their parents."""
    depth: dict[str, int] = {}  # the edges of the longest path to each variable
    for name in G.topological_order():
        depth[name] = 1 + max((depth[parent] for parent in G.parents(name)), default=-1)
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


def _above(
    shared: Mapping[str, tuple[str, ...]], at: Mapping[str, _Point], top: float
) -> dict[str, _Point]:
    """Set confounders in a row above their children, left of a single column."""
    columns = {name: {at[child][0] for child in ch} for name, ch in shared.items()}
    wanted = {name: _mean(xs) - (100 if len(xs) == 1 else 0) for name, xs in columns.items()}
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


class _Curve(NamedTuple):
    """A quadratic curve with a title."""

    title: str
    start: _Point
    control: _Point
    stop: _Point
    heads: int = 1

    @property
    def middle(self) -> _Point:
        """The point furthest from the straight line."""
        (x0, y0), (x1, y1), (x2, y2) = self.start, self.control, self.stop
        return (x0 + 2 * x1 + x2) / 4, (y0 + 2 * y1 + y2) / 4


def _bow(
    a: str, b: str, at: Mapping[str, _Point], kind: Literal["edge", "arc", "ray"] = "edge"
) -> tuple[_Point, _Point, _Point]:
    """Go from the border of a node to that of another, round the nodes in between.

    An arc always bends up, an edge bends down if a node is in its way, and a ray, which
    comes from a confounder, is straight.
    """
    (x0, y0), (x1, y1) = at[a], at[b]
    length = hypot(x1 - x0, y1 - y0)
    side = -1 if kind == "arc" else 1
    normal = -side * (y1 - y0) / length, side * (x1 - x0) / length
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    offsets = [(p - x) * normal[0] + (q - y) * normal[1] for p, q in at.values() if x0 < p < x1]
    near = [offset + _HEIGHT for offset in offsets if offset > -_HEIGHT]
    bends = kind == "arc" or (kind == "edge" and near)
    lift = max([0.18 * length, *near]) if bends else 0.0
    control = x + 2 * lift * normal[0], y + 2 * lift * normal[1]
    return _border(a, at[a], control), control, _border(b, at[b], control)


def _path(curve: _Curve, dashed: bool) -> str:
    start, control, stop = (f"{x:.1f},{y:.1f}" for x, y in curve[1:4])
    style = ' stroke-dasharray="4 3"' if dashed else ""
    style += ' marker-start="url(#tip)"' if curve.heads == 2 else ""
    return (
        f'<path d="M{start} Q{control} {stop}" fill="none" stroke="currentColor" '
        f'marker-end="url(#tip)"{style}><title>{curve.title}</title></path>'
    )


def _border(name: str, place: _Point, towards: _Point) -> _Point:
    """Go from the middle of a node towards a point, up to its border."""
    dx, dy = towards[0] - place[0], towards[1] - place[1]
    length = hypot(dx, dy) or 1.0
    dx, dy = dx / length, dy / length
    reach = min((_width(name) / 2 + 2) / (abs(dx) or 1e-9), (_HEIGHT / 2 + 2) / (abs(dy) or 1e-9))
    return place[0] + reach * dx, place[1] + reach * dy


def _corners(at: Mapping[str, _Point]) -> Iterator[_Point]:
    for name, (x, y) in at.items():
        yield x - _width(name) / 2, y - _HEIGHT / 2
        yield x + _width(name) / 2, y + _HEIGHT / 2


def _svg(shapes: Iterable[str], points: Iterable[_Point]) -> str:
    """Frame the shapes."""
    xs, ys = zip(*points, strict=True) if (points := list(points)) else ((0.0,), (0.0,))
    left, top, width, height = (
        min(xs) - 8,
        min(ys) - 8,
        max(xs) - min(xs) + 16,
        max(ys) - min(ys) + 16,
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:.1f} {top:.1f} {width:.1f} '
        f'{height:.1f}" width="{width:.0f}" height="{height:.0f}" font-family="sans-serif" '
        f'font-size="14" fill="currentColor">{_HEAD}{"".join(shapes)}</svg>'
    )

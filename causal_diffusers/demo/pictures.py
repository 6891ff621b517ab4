"""What do the pictures of the report show? Handwriting under do(W=w), and the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from causal_diffusers.demo.findings import Answers

__all__ = ["chart", "handwriting"]

TILE, GAP, TITLE = 56, 6, 26
PAPER, INK, FAINT = 255, 0, 130


def handwriting(pictures: Tensor, real: Tensor) -> Image.Image:
    """Lay images out in ten columns, real ones above those that were sampled.

    Arguments:
        pictures: Sampled images, with shape (10, n, 1, 8, 8), in [0, 1], ink bright.
        real: Real images, with shape (10, m, 1, 8, 8).

    Returns:
        A picture of dark ink on paper.

    Example:
        >>> import torch
        >>> handwriting(torch.rand(10, 3, 1, 8, 8), torch.rand(10, 1, 1, 8, 8)).size
        (614, 306)
    """
    parts = [("real handwriting", real), ("sampled under do(W = w), for w = 0 to 9", pictures)]
    step = TILE + GAP
    height = sum(TITLE + batch.shape[1] * step for _, batch in parts) + GAP
    sheet = Image.new("L", (10 * step - GAP, height), PAPER)
    top = 0
    for title, batch in parts:
        draw = ImageDraw.Draw(sheet)
        draw.text((2, top + 6), title, fill=FAINT, font=ImageFont.load_default(13))
        top += TITLE
        for row in range(batch.shape[1]):
            for column in range(10):
                sheet.paste(_tile(batch[column, row]), (column * step, top))
            top += step
    return sheet


def _tile(image: Tensor) -> Image.Image:
    """Enlarge one image (1, 8, 8) smoothly, ink dark."""
    pixels = ((1 - image[0].clamp(0, 1)) * 255).round().byte().numpy()
    return Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.BICUBIC)


class _Series(NamedTuple):
    label: str
    colour: str
    mark: str


SERIES: Mapping[str, _Series] = {
    "naive": _Series("naive conditional", "#d95f02", "cross"),
    "truth": _Series("truth", "currentColor", "line"),
    "pipeline": _Series("pipeline", "#2b7bba", "disc"),
}
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 420, 250, 34, 28, 28


def chart(answers: Answers) -> str:
    """Draw P(A=1 | do(V=v)) over v as SVG: the truth, the pipeline and the naive answer.

    Arguments:
        answers: The answers.

    Returns:
        An SVG element, without scripts or links.

    Example:
        >>> import torch
        >>> columns = dict.fromkeys(["truth", "pipeline", "naive"], torch.full((10,), 0.5))
        >>> picture = chart(Answers("W", "", columns, {}))
        >>> picture.count("<circle"), picture.count("<polyline")
        (11, 1)
    """
    body = [_axes(answers.variable)]
    for place, (name, series) in enumerate(SERIES.items()):
        body.append(_legend(place, series))
        body.append(_draw(answers.columns[name].tolist(), series))
    title = f"P(A=1 | do({answers.variable}))"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{title}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" fill="currentColor" '
        f'font-family="sans-serif" font-size="12"><title>{title}</title>{"".join(body)}</svg>'
    )


def _x(value: int) -> float:
    return LEFT + 16 + value * (WIDTH - LEFT - 32) / 9


def _y(p: float) -> float:
    return TOP + (1 - p) * (HEIGHT - TOP - BOTTOM)


def _axes(variable: str) -> str:
    lines = [
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{_y(p):.1f}" y2="{_y(p):.1f}" '
        f'stroke="currentColor" stroke-opacity=".15"/><text x="{LEFT - 6}" y="{_y(p) + 4:.1f}" '
        f'text-anchor="end" opacity=".7">{p:g}</text>'
        for p in (0, 0.25, 0.5, 0.75, 1)
    ]
    marks = [
        f'<text x="{_x(v):.1f}" y="{HEIGHT - 8}" text-anchor="middle" opacity=".7">{v}</text>'
        for v in range(10)
    ]
    return "".join(
        [*lines, *marks, f'<text x="2" y="{HEIGHT - 8}" opacity=".7">{variable}</text>']
    )


def _legend(place: int, series: _Series) -> str:
    x = LEFT + 16 + 130 * place
    return _mark(x, 10, series) + f'<text x="{x + 12}" y="14">{series.label}</text>'


def _draw(values: list[float], series: _Series) -> str:
    points = [(_x(v), _y(p)) for v, p in enumerate(values)]
    if series.mark == "line":
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        return f'<polyline points="{path}" fill="none" stroke="{series.colour}" stroke-width="2"/>'
    return "".join(_mark(x, y, series) for x, y in points)


def _mark(x: float, y: float, series: _Series) -> str:
    if series.mark == "disc":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{series.colour}"/>'
    width = 'stroke-width="2"'
    if series.mark == "line":
        return f'<path d="M{x - 8:.1f},{y:.1f} h16" stroke="{series.colour}" {width}/>'
    cross = f"M{x - 4:.1f},{y - 4:.1f} l8,8 m0,-8 l-8,8"
    return f'<path d="{cross}" stroke="{series.colour}" {width} fill="none"/>'

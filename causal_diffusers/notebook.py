"""How does an answer look in a notebook? Its query, graph, images and first rows.

Everything is inline (base64 PNG, SVG), so the page needs no network.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PILImage

from causal_diffusers.graphs import ADMG
from causal_diffusers.graphs.draw import to_svg

if TYPE_CHECKING:
    from torch import Tensor

    Images = Sequence[PILImage.Image] | np.ndarray | Tensor

__all__ = ["grid", "to_html"]

SHOWN_IMAGES, SHOWN_ROWS, PIXELS = 16, 8, 64


def to_html(
    images: Mapping[str, Images],
    values: Mapping[str, Sequence[Any]],
    *,
    query: str | None = None,
    graph: ADMG | None = None,
) -> str:
    """Show draws as HTML.

    Arguments:
        images: The images of each image variable: PIL images, an array (N, H, W, C) or a
            tensor (N, C, H, W) in [0, 1].
        values: The labels or numbers of each other variable.
        query: What was asked.
        graph: The graph it was asked of.

    Returns:
        HTML without scripts, links or remote pictures.

    Example:
        >>> "<td>yes</td>" in to_html({}, {"smokes": ["yes"]})
        True
    """
    parts = [f"<code>{html.escape(query)}</code>"] if query else []
    parts += [to_svg(graph)] if graph is not None else []
    parts += [_figure(name, batch) for name, batch in images.items()]
    parts += [_table(values)] if values else []
    return f"<div>{''.join(f'<div>{part}</div>' for part in parts)}</div>"


def grid(images: Images, columns: int = 8) -> PILImage.Image:
    """Lay images out in rows, enlarged without smoothing if they are small.

    Arguments:
        images: PIL images, an array (N, H, W, C) or a tensor (N, C, H, W) in [0, 1].
        columns: How many to a row.

    Returns:
        One picture.

    Example:
        >>> grid(np.zeros((3, 8, 8, 1)), columns=2).size
        (128, 128)
    """
    tiles = [_enlarge(image) for image in _pictures(images)]
    if not tiles:
        return PILImage.new("L", (1, 1))
    columns = min(columns, len(tiles))
    width, height = tiles[0].size
    sheet = PILImage.new(tiles[0].mode, (width * columns, height * -(-len(tiles) // columns)))
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (width * (i % columns), height * (i // columns)))
    return sheet


def _figure(name: str, images: Images) -> str:
    buffer = io.BytesIO()
    grid(images[:SHOWN_IMAGES]).save(buffer, format="PNG")
    data, name = base64.b64encode(buffer.getvalue()).decode(), html.escape(name)
    more = f", {SHOWN_IMAGES} of {len(images)}" if len(images) > SHOWN_IMAGES else ""
    picture = f'<img alt="{name}" src="data:image/png;base64,{data}"/>'
    return f"<figure><figcaption>{name}{more}</figcaption>{picture}</figure>"


def _table(values: Mapping[str, Sequence[Any]]) -> str:
    total = len(next(iter(values.values())))
    rows = [_row("th", values)]
    rows += [
        _row("td", (values[name][i] for name in values)) for i in range(min(total, SHOWN_ROWS))
    ]
    more = f"<caption>{SHOWN_ROWS} of {total} rows</caption>" if total > SHOWN_ROWS else ""
    return f"<table>{more}{''.join(rows)}</table>"


def _row(tag: str, cells: Iterable[Any]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(_text(cell))}</{tag}>' for cell in cells)}</tr>"


def _text(cell: object) -> str:
    """Write a cell; of numbers, four digits."""
    if isinstance(cell, tuple):
        return ", ".join(map(_text, cell))
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _pictures(images: Images) -> list[PILImage.Image]:
    if isinstance(images, Sequence):
        return list(images)
    array = np.asarray(images)
    if not isinstance(images, np.ndarray):  # a tensor, channels first
        array = array.transpose(0, 2, 3, 1)
    pixels = (array * 255).round().astype(np.uint8)
    return [PILImage.fromarray(p.squeeze(-1) if p.shape[-1] == 1 else p) for p in pixels]


def _enlarge(image: PILImage.Image) -> PILImage.Image:
    factor = max(1, PIXELS // max(image.size))
    return image.resize((image.width * factor, image.height * factor), PILImage.Resampling.NEAREST)

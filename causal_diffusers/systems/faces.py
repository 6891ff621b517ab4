"""Photographs of faces with labelled attributes, two of which are made to depend.

The layout is that of CelebA on the Hub: a column `image`, and a column for each of forty
attributes, true or false, or 1 and -1. Eyeglasses and sex hardly depend on each other
there; a biased domain keeps rows in which they agree, and few in which they do not, as if
a hidden cause had chosen who is photographed.

Nothing is claimed of what people are: the columns are what annotators wrote.

References:
    Deep learning face attributes in the wild (Liu, Luo, Wang & Tang, 2015).
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 5 (CelebA-HQ).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final, overload

import torch
from torch import Tensor

__all__ = ["Photographs", "biased_faces"]


@final
class Photographs(Sequence[Any]):
    """A column of images, some of the rows, each cropped to a square when it is used.

    Arguments:
        column: PIL images, or what decodes them on demand.
        rows: The numbers of the rows to show, in order.
        size: The side of the squares in pixels.

    Example:
        >>> from PIL import Image
        >>> wide = Photographs([Image.new("RGB", (178, 218))], [0, 0], 64)
        >>> len(wide), wide[1].size
        (2, (64, 64))
    """

    def __init__(self, column: Sequence[Any], rows: Sequence[int], size: int) -> None:
        self._column, self._rows, self._size = column, list(rows), size

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Any: ...  # noqa: ANN401 (a PIL image)
    @overload
    def __getitem__(self, index: slice) -> Photographs: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Decode and crop one image, or take some rows."""
        if isinstance(index, slice):
            return Photographs(self._column, self._rows[index], self._size)
        from PIL import ImageOps

        square = (self._size, self._size)
        return ImageOps.fit(self._column[self._rows[index]].convert("RGB"), square)


def biased_faces(
    dataset: Mapping[str, Any],
    *,
    effect: str = "Eyeglasses",
    attribute: str = "Male",
    agreement: float = 0.95,
    size: int = 256,
    generator: torch.Generator,
) -> dict[str, Any]:
    """Choose rows in which two attributes are equal with a given probability.

    Each of the four combinations keeps as many rows as the scarcest allows, and none twice.

    Arguments:
        dataset: A `datasets.Dataset`, or a mapping, with `image` and the two attributes.
        effect: The class that will be predicted.
        attribute: What it seems to depend on.
        agreement: How often the two are equal in the rows chosen, in (0, 1).
        size: The side of the images in pixels.
        generator: The source of randomness.

    Returns:
        The columns `effect` and `attribute`, 0 or 1, and `image`, decoded on demand.

    Raises:
        ValueError: If a column is missing, a combination has no row, or `agreement` is not
            in (0, 1).

    Example:
        >>> from PIL import Image
        >>> bits = {"Eyeglasses": [0, 0, 1, 1], "Male": [0, 1, 0, 1]}
        >>> data = {"image": [Image.new("RGB", (9, 9))] * 4, **bits}
        >>> rows = biased_faces(data, agreement=0.5, size=8, generator=torch.Generator())
        >>> sorted(rows), len(rows["image"])
        (['Eyeglasses', 'Male', 'image'], 4)
    """
    names = getattr(dataset, "column_names", None) or list(dataset)
    if missing := {"image", effect, attribute}.difference(names):
        raise ValueError(f"The data need the columns {sorted(missing)}: got {sorted(names)}.")
    if not 0 < agreement < 1:
        raise ValueError(f"`agreement` is a probability in (0, 1): got {agreement}.")
    c, b = (torch.as_tensor(list(dataset[name])).long() > 0 for name in (effect, attribute))
    rows = _choose(c, b, agreement, generator)
    return {
        effect: c[rows].long(),
        attribute: b[rows].long(),
        "image": Photographs(dataset["image"], rows.tolist(), size),
    }


def _choose(c: Tensor, b: Tensor, agreement: float, generator: torch.Generator) -> Tensor:
    """Draw row numbers, the largest sample without repetition that has the shares asked."""
    cells = [((c == i) & (b == j)).nonzero()[:, 0] for i in (0, 1) for j in (0, 1)]
    shares = [agreement / 2, (1 - agreement) / 2, (1 - agreement) / 2, agreement / 2]
    total = min(len(cell) / share for cell, share in zip(cells, shares, strict=True))
    if not total:
        raise ValueError(
            "Each combination of the two attributes needs a row: got "
            f"{[len(cell) for cell in cells]} for 00, 01, 10 and 11. Choose other attributes."
        )
    kept = [
        cell[torch.randperm(len(cell), generator=generator)[: max(1, round(total * share))]]
        for cell, share in zip(cells, shares, strict=True)
    ]
    rows = torch.cat(kept)
    return rows[torch.randperm(len(rows), generator=generator)]

r"""What a variable is: the names of its values, the shape of its images.

A variable turns what users write (labels, codes, PIL images, arrays, paths) into
tensors and back. Inside the library a categorical value is an integer code and an image
is a float tensor in [-1, 1]; outside, labels, and images in [0, 1] as everywhere in
diffusers.

A confounder is no variable, for nobody observes it, but it too has a type:
$u \sim N(0, I)$ in `dim` dimensions, or one of finitely many `states`.
"""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from causal_diffusers.errors import GraphError, ShapeError

__all__ = ["Categorical", "Confounder", "Image", "Variable", "variable_from_dict"]


class Variable(abc.ABC):
    """What the values of one observed variable look like."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one encoded value."""

    @abc.abstractmethod
    def encode(self, column: Any, *, name: str) -> Tensor:
        """Turn a column of user values into a tensor with shape (N, *shape)."""

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Describe the variable in plain JSON."""

    def check(self, values: Tensor, *, name: str) -> None:
        """Refuse encoded values of another shape.

        Raises:
            ShapeError: If `values` is not of shape (N, *shape).
        """
        if tuple(values.shape[1:]) != self.shape:
            wanted = ("N", *self.shape)
            raise ShapeError(
                f'"{name}" should have shape {wanted}: got {tuple(values.shape)}. '
                "Give one value for each sample, in the variable's own shape.",
                variable=name,
                expected=wanted,
                received=tuple(values.shape),
            )


@dataclasses.dataclass(frozen=True)
class Categorical(Variable):
    """A variable with finitely many named values.

    Arguments:
        labels: The names of the values, at least two and all distinct: strings,
            integers or booleans.

    Raises:
        ValueError: If there are fewer than two labels, or one occurs twice.

    Example:
        >>> smokes = Categorical(["no", "yes"])
        >>> smokes.encode(["yes", "no", "yes"], name="smokes").tolist()
        [1, 0, 1]
        >>> smokes.decode(torch.tensor([1, 0]))
        ['yes', 'no']
    """

    labels: tuple[str | int | bool, ...]

    def __init__(self, labels: Sequence[str | int | bool]) -> None:
        labels = tuple(_plain(label) for label in labels)
        if len(labels) < 2 or len(set(map(str, labels))) < len(labels):
            raise ValueError(
                f"`Categorical` needs at least two distinct labels: got {list(labels)}. "
                "Drop a variable that never varies; merge labels that mean the same."
            )
        object.__setattr__(self, "labels", labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one code: a scalar, ()."""
        return ()

    def encode(self, column: Any, *, name: str) -> Tensor:
        """Turn labels into codes; integers that are no labels are read as codes.

        Arguments:
            column: The values, N labels or N codes in [0, K).
            name: What to call the variable in errors.

        Returns:
            The codes, integers with shape (N,).

        Raises:
            ValueError: If a value is neither a label nor a code; the row is named.

        Example:
            >>> Categorical(["a", "b"]).encode([0, 1, 1], name="X").tolist()
            [0, 1, 1]
        """
        values = [_plain(v) for v in _as_list(column)]
        code_of = {label: code for code, label in enumerate(self.labels)}
        if all(_known(v, code_of) for v in values):
            return torch.tensor([code_of[v] for v in values], dtype=torch.int64)
        if all(isinstance(v, int) and 0 <= v < len(self.labels) for v in values):
            return torch.tensor(values, dtype=torch.int64)
        row = next(i for i, v in enumerate(values) if not _known(v, code_of))
        raise ValueError(
            f'"{name}" takes one of {list(self.labels)}: got {values[row]!r} in row {row}. '
            f"Add the label to its `Categorical`, or drop the row."
        )

    def decode(self, codes: Tensor) -> list[str | int | bool]:
        """Turn codes with shape (N,) back into labels.

        Example:
            >>> Categorical([3, 5]).decode(torch.tensor([1]))
            [5]
        """
        return [self.labels[code] for code in codes.tolist()]

    def to_dict(self) -> dict[str, Any]:
        """Describe the variable in plain JSON.

        Example:
            >>> Categorical([0, 1]).to_dict()
            {'type': 'categorical', 'labels': [0, 1]}
        """
        return {"type": "categorical", "labels": list(self.labels)}


@dataclasses.dataclass(frozen=True)
class Image(Variable):
    """A variable whose values are images.

    Arguments:
        channels: The number of channels, 1 or 3.
        height: The height in pixels.
        width: The width in pixels.

    Raises:
        ValueError: If a size is not positive, or `channels` is neither 1 nor 3.

    Example:
        >>> Image(1, 8, 8).encode(torch.zeros(2, 1, 8, 8), name="I").shape
        torch.Size([2, 1, 8, 8])
    """

    channels: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.channels not in (1, 3) or self.height < 1 or self.width < 1:
            raise ValueError(
                "`Image` takes 1 or 3 channels and positive sizes: got "
                f"({self.channels}, {self.height}, {self.width}). The order is "
                "channels, height, width."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image, (C, H, W)."""
        return (self.channels, self.height, self.width)

    def encode(self, column: Any, *, name: str) -> Tensor:
        """Turn images into a tensor in [-1, 1].

        Floats are read as diffusers reads them, in [0, 1]; 8-bit images in 0..255.
        Arrays may put the channels first or last.

        Arguments:
            column: N images: one tensor or array, or a sequence of arrays, PIL images
                or paths.
            name: What to call the variable in errors.

        Returns:
            The images, with shape (N, C, H, W), in [-1, 1].

        Raises:
            ShapeError: If the images have another shape.
            ValueError: If a pixel is not finite or out of range; the row is named.

        Example:
            >>> white = np.full((1, 8, 8, 1), 255, dtype=np.uint8)
            >>> Image(1, 8, 8).encode(white, name="I").unique().tolist()
            [1.0]
        """
        if isinstance(column, (Tensor, np.ndarray)):
            stacked = torch.as_tensor(column)
        else:
            stacked = torch.stack([_pixels(image, self.channels) for image in column])
        unit = stacked / 255 if stacked.dtype == torch.uint8 else stacked.float()
        unit = self._channels_first(unit)
        self.check(unit, name=name)
        self._check_range(unit, name)
        return 2 * unit - 1

    def decode(self, images: Tensor) -> Tensor:
        """Turn images in [-1, 1] into images in [0, 1] with the same shape.

        Example:
            >>> Image(1, 2, 2).decode(torch.full((1, 1, 2, 2), -3.0)).max().item()
            0.0
        """
        return (images.float() / 2 + 0.5).clamp(0, 1)

    def to_dict(self) -> dict[str, Any]:
        """Describe the variable in plain JSON.

        Example:
            >>> Image(3, 64, 64).to_dict()["type"]
            'image'
        """
        return {"type": "image", **dataclasses.asdict(self)}

    def _channels_first(self, images: Tensor) -> Tensor:
        height_width = (self.height, self.width)
        if images.dim() == 3 and self.channels == 1:
            return images[:, None]
        if images.dim() == 4 and tuple(images.shape[1:]) == (*height_width, self.channels):
            return images if tuple(images.shape[1:]) == self.shape else images.permute(0, 3, 1, 2)
        return images

    def _check_range(self, images: Tensor, name: str) -> None:
        good = torch.isfinite(images) & (images >= 0) & (images <= 1)
        bad = (~good).flatten(1).any(dim=1)
        if bad.any():
            row = int(bad.nonzero()[0])
            value = images[row][~good[row]].flatten()[0].item()
            raise ValueError(
                f'"{name}" takes pixels in [0, 1] (floats) or 0..255 (uint8): got {value:g} '
                f"in row {row}. Rescale the images, or drop the row."
            )


@dataclasses.dataclass(frozen=True)
class Confounder:
    r"""What a hidden common cause looks like.

    Arguments:
        dim: The dimension of $u \sim N(0, I)$; ignored by a finite confounder.
        states: The number K of states of a finite confounder, whose probabilities are
            learned and whose likelihood is an exact sum, or None for a Gaussian one.
            Over-provide: two variables with k values each never need more than
            $k^2$ states, and states that are not needed fade.

    Raises:
        ValueError: If `dim` is not positive or `states` is below two.

    Example:
        >>> Confounder(states=8).width, Confounder(dim=3).width
        (8, 3)
    """

    dim: int = 2
    states: int | None = None

    def __post_init__(self) -> None:
        if self.dim < 1 or (self.states is not None and self.states < 2):
            raise ValueError(
                "`Confounder` needs dim >= 1 and states >= 2 (or None): got "
                f"dim={self.dim}, states={self.states}."
            )

    @property
    def width(self) -> int:
        """The number of features a mechanism sees: `states` if finite, else `dim`."""
        return self.dim if self.states is None else self.states

    def to_dict(self) -> dict[str, Any]:
        """Describe the confounder in plain JSON.

        Example:
            >>> Confounder().to_dict()
            {'dim': 2, 'states': None}
        """
        return dataclasses.asdict(self)


def variable_from_dict(description: Mapping[str, Any]) -> Variable:
    """Rebuild a variable from its plain JSON description.

    Arguments:
        description: What `Variable.to_dict` gave.

    Raises:
        GraphError: If the type is unknown or a field is missing or ill-typed.

    Example:
        >>> variable_from_dict({"type": "categorical", "labels": ["a", "b"]})
        Categorical(labels=('a', 'b'))
    """
    kinds: dict[str, type[Variable]] = {"categorical": Categorical, "image": Image}
    fields = dict(description)
    kind = fields.pop("type", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise GraphError(f"A variable's type is one of {sorted(kinds)}: got {kind!r}.")
    try:
        return kinds[kind](**fields)
    except TypeError as error:
        raise GraphError(f"A {kind} variable cannot be read from {fields}: {error}.") from None


def _plain(value: Any) -> Any:
    """Turn numpy and torch scalars into Python ones, and whole floats into integers."""
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_list(column: Any) -> list[Any]:
    return column.tolist() if hasattr(column, "tolist") else list(column)


def _known(value: Any, code_of: Mapping[Any, int]) -> bool:
    return isinstance(value, (str, int, bool)) and value in code_of


def _pixels(image: Any, channels: int) -> Tensor:
    """Read one image: a path, a PIL image or an array."""
    if isinstance(image, (str, os.PathLike)):
        from PIL import Image as PILImage

        with PILImage.open(Path(image)) as opened:
            image = opened.convert("L" if channels == 1 else "RGB")
    elif hasattr(image, "convert"):
        image = image.convert("L" if channels == 1 else "RGB")
    return torch.as_tensor(np.array(image))

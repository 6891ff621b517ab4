"""What every frozen pretrained network offers, whatever it is a network of."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from torch import nn

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Backbone"]


class Backbone(nn.Module, abc.ABC):
    """A frozen pretrained network, always in eval mode.

    A kind is one file here and one row in the table of `reference`. It knows the files of
    its folder, and how to load them strictly.

    Example:
        >>> from causal_diffusers.backbones import PixelDiffusion
        >>> issubclass(PixelDiffusion, Backbone), PixelDiffusion.class_name
        (True, 'UNet2DModel')
    """

    class_name: ClassVar[str]  # what a saved reference calls this kind
    files: ClassVar[tuple[str, ...]]  # what is downloaded, beside the card

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, whatever the mechanism around does."""
        return super().train(mode=False)

    @classmethod
    def is_in(cls, folder: Path) -> bool:
        """Say whether a folder looks as one of this kind does, where there are several."""
        return True

    @classmethod
    @abc.abstractmethod
    def weights_of(cls, folder: Path) -> tuple[Path, ...]:
        """Find the weights of the network.

        Arguments:
            folder: The folder of the base.

        Returns:
            The files, in an order that stays.

        Raises:
            CheckpointError: If one is missing.
        """

    @classmethod
    @abc.abstractmethod
    def load(cls, folder: Path) -> Self:
        """Load a folder, strictly: every tensor on disk has its place, and no other.

        Arguments:
            folder: The folder of the base.

        Returns:
            The network.

        Raises:
            CheckpointError: If a file is missing or damaged, or the weights do not fit
                the config.
        """

    @abc.abstractmethod
    def planned(self) -> Self:
        """Build the same network on the meta device, which holds no weights."""

    @abc.abstractmethod
    def save_pretrained(self, folder: Path) -> None:
        """Write the frozen network, without any adapter, in the layout that `load` reads."""

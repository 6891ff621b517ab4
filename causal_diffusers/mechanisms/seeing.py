"""How does a mechanism read the images among its parents?

By default with a small network that is trained with it (`encoders.ImageEncoder`); if it
is given a frozen pretrained encoder, with that. The encoder is not saved: the config holds
a reference, as for a frozen base.
"""

from __future__ import annotations

import abc
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from causal_diffusers.backbones import VisionEncoder
from causal_diffusers.backbones.files import read_json
from causal_diffusers.backbones.vision import FOLDER, with_encoder
from causal_diffusers.mechanisms.component import Component

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Seeing"]


class Seeing(Component, abc.ABC):
    """A component that may read images with a frozen encoder.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> CategoricalMechanism().image_encoder is None
        True
    """

    _eye: tuple[VisionEncoder | None] = (None,)  # in a tuple: the `ParentEncoder` registers it

    @property
    def image_encoder(self) -> VisionEncoder | None:
        """The frozen encoder of images, or None where a small one is trained."""
        return self._eye[0]

    def trainable_state(self) -> dict[str, nn.Parameter]:
        """Give the tensors that training may move; see `Component.trainable_state`."""
        state = super().trainable_state()
        return {name: p for name, p in state.items() if not name.startswith("encoder.vision.")}

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | os.PathLike[str],
        *,
        variant: str | None = None,
        include_backbone: bool = False,
    ) -> None:
        """Write the config and the trainable tensors.

        Arguments:
            save_directory: The folder; it is created.
            variant: A tag in the name of the weights.
            include_backbone: Whether to write what is frozen too.
        """
        super().save_pretrained(save_directory, variant=variant)
        if self.image_encoder is not None:
            folder, reference = Path(save_directory), self.image_encoder.reference
            if include_backbone:
                reference = self.image_encoder.save_pretrained(folder / FOLDER)
            path = folder / self.config_name
            config = {**read_json(path), "image_encoder": reference.to_dict()}
            path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def _see_with(self, encoder: object) -> None:
        """Take the encoder that `__init__` was given; the config holds its reference."""
        if not isinstance(encoder, VisionEncoder | None):
            raise TypeError(
                f"`image_encoder` is a `VisionEncoder`: got {encoder!r:.60}. Write "
                '`VisionEncoder.from_pretrained("owner/name")`.'
            )
        self._eye = (encoder,)
        if encoder is not None:
            self.register_to_config(image_encoder=encoder.reference.to_dict())

    @classmethod
    def _build_from(
        cls,
        config: dict[str, Any],
        folder: Path,
        shapes: dict[str, tuple[int, ...]],
        *,
        backbone: str | os.PathLike[str] | None = None,
        **build: Any,
    ) -> Self:
        """Find the frozen encoder, if there is one, then build as ever."""
        return super()._build_from(with_encoder(config, folder, backbone), folder, shapes, **build)

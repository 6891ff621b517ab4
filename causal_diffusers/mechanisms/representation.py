r"""What of a confounded image does its confounder touch? A code that is read from it.

A frozen denoiser has no density in which to match a confounder. So confounding is let
act through a representation with finitely many values,

$$ r = \phi(\text{image}) \in \{0, \dots, K - 1\}, \qquad
   p(\text{image} \mid pa, u) = \sum_r p(\text{image} \mid pa, r) \, p(r \mid pa, u) , $$

which is an assumption: **given its parents and its code, the image is independent of its
confounders**. The code is then an ordinary categorical member of the district, and the
denoiser draws the image given parents and code. The assumption holds if $\phi$ keeps all
that the image says about the other members of the district, which is what it is trained
for (`training/reading`) and what the report on it tests (`training/independence`). What
else of the image the code holds does no harm.

References:
    A general identification condition for causal effects (Tian & Pearl, 2002), Sec. 3.
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 4: its critics see images through such a
    representation, and rest on the same assumption.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from causal_diffusers.mechanisms.component import Component
from causal_diffusers.mechanisms.encoders import ImageEncoder
from causal_diffusers.variables import Image, variable_from_dict

__all__ = ["Representation", "code_of"]

_WIDTH, _PIXELS = 64, 2**20  # and how many are read at once


def code_of(name: str) -> str:
    """Name the code of an image; no variable can have such a name.

    Arguments:
        name: The image variable.

    Returns:
        What columns, logs and reports call its code.

    Example:
        >>> code_of("xray")
        'phi(xray)'
    """
    return f"phi({name})"


class Representation(Component):
    r"""The reader $\phi$ of an image: a small network that ends in one of K codes.

    Arguments:
        image: The image variable, in plain JSON.
        codes: The number K of codes, at least 2.

    Raises:
        ValueError: If there are fewer, or the variable is no image.

    Example:
        >>> phi = Representation(Image(1, 8, 8).to_dict(), codes=4)
        >>> phi.read(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3])
    """

    @register_to_config
    def __init__(self, image: dict, codes: int = 16) -> None:
        super().__init__()
        variable = variable_from_dict(image)
        if not isinstance(variable, Image) or type(codes) is not int or codes < 2:
            raise ValueError(
                "`Representation` needs an image and at least two codes: got "
                f"{variable} and codes={codes!r}."
            )
        encoder = ImageEncoder(variable)
        self.network = nn.Sequential(
            encoder, nn.Linear(encoder.features, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, codes)
        )

    def forward(self, images: Tensor) -> Tensor:
        r"""Say how likely each code is, while $\phi$ is still being trained.

        Arguments:
            images: The images, with shape (B, C, H, W), in [-1, 1].

        Returns:
            Probabilities with shape (B, codes), in single precision or more.
        """
        logits = self.network(images.to(self.dtype))
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=1)

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        r"""Read $r = \phi(\text{image})$.

        Arguments:
            images: The images, with shape (N, C, H, W), in [-1, 1], on any device.

        Returns:
            Codes, integers with shape (N,), on the device of the images.

        Example:
            >>> phi = Representation(Image(1, 8, 8).to_dict())
            >>> bool((phi.read(torch.randn(5, 1, 8, 8)) < 16).all())
            True
        """
        chunks = images.split(max(1, _PIXELS // images[0].numel())) if len(images) else [images]
        with torch.autocast(self.device.type, enabled=False):  # the same code at all times
            codes = [self(chunk.to(self.device)).argmax(dim=1) for chunk in chunks]
        return torch.cat(codes).to(images.device)

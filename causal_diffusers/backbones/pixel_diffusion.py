"""A frozen denoiser in pixel space: what is noised is the image itself.

On disk it is a folder in the layout of `diffusers.DDPMPipeline`: `unet/`, `scheduler/`, or
both at the root, as the oldest repositories have it.

References:
    Denoising diffusion probabilistic models (Ho, Jain & Abbeel, 2020), Sec. 2-3.
"""

from __future__ import annotations

from pathlib import Path

from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor

from causal_diffusers.backbones.denoiser import (
    SCHEDULE,
    WEIGHTS,
    Denoiser,
    load_network,
    load_schedule,
    member,
    meta,
)
from causal_diffusers.backbones.files import blame
from causal_diffusers.variables import Image

__all__ = ["PixelDiffusion"]


class PixelDiffusion(Denoiser):
    """A frozen pixel-space denoiser.

    Arguments:
        unet: The network.
        scheduler: The noise schedule that it was trained with.

    Raises:
        ValueError: If the network makes neither grey nor RGB images; see also `Denoiser`.

    Example:
        >>> unet = UNet2DModel(
        ...     sample_size=8, in_channels=1, out_channels=1, layers_per_block=1,
        ...     block_out_channels=(4, 8), norm_num_groups=4, attention_head_dim=4,
        ...     down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
        ... )
        >>> backbone = PixelDiffusion(unet, DDPMScheduler())
        >>> backbone.image
        Image(channels=1, height=8, width=8)
        >>> backbone.train().unet.training
        False
    """

    class_name = "UNet2DModel"
    files = ("model_index.json", "unet/*", "scheduler/*", "*.json", WEIGHTS)

    def __init__(self, unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
        super().__init__(unet, scheduler)
        channels = unet.config["in_channels"]
        if channels not in (1, 3):
            raise ValueError(
                f"the network denoises {channels} channels, neither grey nor RGB images. One that "
                "denoises latents needs the autoencoder beside it, in `vqvae/` or `vae/`."
            )

    @property
    def image(self) -> Image:
        """The images that the network makes."""
        return Image(*self.shape)

    def encode(self, images: Tensor) -> Tensor:
        """Give the images as they are; see `Denoiser.encode`."""
        return images

    def decode(self, x_0: Tensor) -> Tensor:
        """Give the images as they are; see `Denoiser.decode`."""
        return x_0

    @classmethod
    def weights_of(cls, folder: Path) -> tuple[Path, ...]:
        """Find the weights of the denoiser; see `Backbone.weights_of`."""
        return (member(folder, "unet", WEIGHTS),)

    @classmethod
    def load(cls, folder: Path) -> PixelDiffusion:
        """Load a folder in DDPMPipeline layout; see `Backbone.load`."""
        (weights,) = cls.weights_of(folder)
        schedule = load_schedule(member(folder, "scheduler", SCHEDULE))
        with blame(weights.parent / "config.json", "base"):
            return cls(load_network(weights, {"UNet2DModel": UNet2DModel}), schedule)

    def planned(self) -> PixelDiffusion:
        """Build the same network on the meta device; see `Backbone.planned`."""
        return PixelDiffusion(meta(self.unet), self.scheduler)

    def save_pretrained(self, folder: Path) -> None:
        """Write the frozen network, without any adapter, as a DDPMPipeline folder."""
        DDPMPipeline(unet=self._bare(), scheduler=self.scheduler).save_pretrained(folder)

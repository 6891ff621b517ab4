"""A frozen denoiser in the space of an autoencoder: what is noised is a latent of the image.

The images are encoded, their latents denoised, and what comes out is decoded. The latents are
those of the mode of the encoder's posterior, times its `scaling_factor`. Both the denoiser
and the autoencoder stay as they were downloaded; only the denoiser gets an adapter.

On disk it is a folder in the layout of `diffusers.LDMPipeline`: `unet/`, `scheduler/` and
`vqvae/`, or `vae/`, with a `VQModel` or an `AutoencoderKL`.

References:
    High-resolution image synthesis with latent diffusion models (Rombach et al., 2022), Sec. 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, DDPMScheduler, LDMPipeline, UNet2DModel, VQModel
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
from causal_diffusers.backbones.files import blame, read_json
from causal_diffusers.variables import Image

__all__ = ["LatentDiffusion"]

_FOLDERS = "vqvae", "vae"
_LEVELS = "block_out_channels", "down_block_types", "up_block_types"
_MOVED = "shift_factor", "latents_mean", "latents_std"


class LatentDiffusion(Denoiser):
    """A frozen latent diffusion model.

    Arguments:
        unet: The network that denoises latents.
        scheduler: The noise schedule that it was trained with.
        autoencoder: What makes latents of images, and images of latents.

    Raises:
        ValueError: If the autoencoder makes neither grey nor RGB images, or latents that the
            network does not take; see also `Denoiser`.

    Example:
        >>> unet = UNet2DModel(
        ...     sample_size=4, in_channels=2, out_channels=2, layers_per_block=1,
        ...     block_out_channels=(4, 8), norm_num_groups=4, attention_head_dim=4,
        ...     down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
        ... )
        >>> autoencoder = AutoencoderKL(
        ...     in_channels=1, out_channels=1, latent_channels=2, block_out_channels=(4, 4),
        ...     down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        ...     up_block_types=("UpDecoderBlock2D",) * 2,
        ... )
        >>> backbone = LatentDiffusion(unet, DDPMScheduler(), autoencoder)
        >>> backbone.shape, backbone.image
        ((2, 4, 4), Image(channels=1, height=8, width=8))
    """

    class_name = "LDMPipeline"
    files = ("model_index.json", "unet/*", "scheduler/*", "vqvae/*", "vae/*")

    def __init__(
        self, unet: UNet2DModel, scheduler: DDPMScheduler, autoencoder: VQModel | AutoencoderKL
    ) -> None:
        super().__init__(unet, scheduler)
        _check(autoencoder.config, _latent_channels(autoencoder), self.shape[0])
        self.autoencoder = autoencoder.requires_grad_(False).eval()

    @property
    def image(self) -> Image:
        """The images that the autoencoder makes of latents."""
        _, height, width = self.shape
        factor = 2 ** (len(self.autoencoder.config["block_out_channels"]) - 1)
        return Image(self.autoencoder.config["in_channels"], factor * height, factor * width)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Give the scaled latents of images; see `Denoiser.encode`."""
        with torch.autocast(images.device.type, enabled=False):  # as it is when it samples
            pixels = cast(torch.FloatTensor, images.to(self._dtype))
            encoded: Any = self.autoencoder.encode(pixels)
        quantized = isinstance(self.autoencoder, VQModel)
        latents = encoded.latents if quantized else encoded.latent_dist.mode()
        return self._scale * latents.to(images.dtype)

    @torch.no_grad()
    def decode(self, x_0: Tensor) -> Tensor:
        """Give the images of scaled latents, in [-1, 1]; see `Denoiser.decode`."""
        with torch.autocast(x_0.device.type, enabled=False):
            latents = cast(torch.FloatTensor, (x_0 / self._scale).to(self._dtype))
            decoded: Any = self.autoencoder.decode(latents)
        return decoded.sample.clamp(-1, 1).to(x_0.dtype)

    @property
    def _scale(self) -> float:
        return self.autoencoder.config["scaling_factor"]

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.autoencoder.parameters()).dtype

    @classmethod
    def is_in(cls, folder: Path) -> bool:
        """Say whether an autoencoder stands beside the denoiser; see `Backbone.is_in`."""
        return any((folder / name).is_dir() for name in _FOLDERS)

    @classmethod
    def weights_of(cls, folder: Path) -> tuple[Path, ...]:
        """Find the weights of the denoiser and of the autoencoder; see `Backbone.weights_of`."""
        name = next((name for name in _FOLDERS if (folder / name).is_dir()), _FOLDERS[0])
        return tuple(member(folder, part, WEIGHTS, flat=False) for part in ("unet", name))

    @classmethod
    def load(cls, folder: Path) -> LatentDiffusion:
        """Load a folder in LDMPipeline layout; see `Backbone.load`."""
        unet, autoencoder = cls.weights_of(folder)
        schedule = load_schedule(member(folder, "scheduler", SCHEDULE))
        kinds: dict[str, type[VQModel | AutoencoderKL]]
        kinds = {"VQModel": VQModel, "AutoencoderKL": AutoencoderKL}
        denoiser = load_network(unet, {"UNet2DModel": UNet2DModel})
        config = autoencoder.parent / "config.json"
        with blame(config, "base"):
            coder = load_network(autoencoder, kinds)
            if isinstance(coder, VQModel) and "scaling_factor" not in read_json(config):
                # older than that key, whose default in diffusers is that of another model
                coder.register_to_config(scaling_factor=1.0)
            return cls(denoiser, schedule, coder)

    def planned(self) -> LatentDiffusion:
        """Build the same networks on the meta device; see `Backbone.planned`."""
        return LatentDiffusion(meta(self.unet), self.scheduler, meta(self.autoencoder))

    def save_pretrained(self, folder: Path) -> None:
        """Write the frozen networks, without any adapter, as an LDMPipeline folder."""
        parts = {"vqvae": self.autoencoder, "unet": self._bare(), "scheduler": self.scheduler}
        LDMPipeline(**parts).save_pretrained(folder)


def _latent_channels(autoencoder: VQModel | AutoencoderKL) -> int:
    """Say how many channels the latents have."""
    if isinstance(autoencoder, VQModel) and autoencoder.config["vq_embed_dim"] is not None:
        return autoencoder.config["vq_embed_dim"]
    return autoencoder.config["latent_channels"]


def _check(config: Mapping[str, Any], made: int, denoised: int) -> None:
    """Refuse autoencoders of something else than images, or of another network's latents."""
    taken, given = config["in_channels"], config["out_channels"]
    if taken != given or taken not in (1, 3):
        raise ValueError(
            f"the autoencoder turns {taken} channels into {given}: it should turn grey or RGB "
            "images into their like."
        )
    if made != denoised:
        raise ValueError(
            f"the autoencoder makes latents of {made} channels, and the network denoises "
            f"{denoised}. They belong to different models."
        )
    levels = {name: len(config[name]) for name in _LEVELS}
    if len(set(levels.values())) > 1:
        raise ValueError(f"the autoencoder shrinks images otherwise than it grows them: {levels}.")
    scale = config["scaling_factor"]
    if type(scale) not in (int, float) or not 0 < scale < math.inf:
        raise ValueError(f"`scaling_factor` is a positive number: got {scale!r}.")
    if moved := [name for name in _MOVED if config.get(name) is not None]:
        raise ValueError(
            f"the autoencoder has {', '.join(moved)}, which `LDMPipeline` does not apply. Only "
            "latents with a `scaling_factor` are supported."
        )

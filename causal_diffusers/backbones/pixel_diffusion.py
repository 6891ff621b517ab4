r"""A frozen denoiser in pixel space: a `UNet2DModel` and its noise schedule.

The network knows the noise of a noised image,

$$ x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \varepsilon , $$

or, depending on the checkpoint, $x_0$ or $v = \sqrt{\bar\alpha_t}\,\varepsilon -
\sqrt{1 - \bar\alpha_t}\, x_0$ instead. Nothing here is ever trained.

References:
    Denoising diffusion probabilistic models (Ho, Jain & Abbeel, 2020), Sec. 2-3.
    Progressive distillation for fast sampling (Salimans & Ho, 2022), Sec. 4 (v-loss).
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from causal_diffusers.variables import Image

__all__ = ["PixelDiffusion"]


class PixelDiffusion(nn.Module):
    """A frozen pixel-space denoiser, always in eval mode.

    Arguments:
        unet: The network.
        scheduler: The noise schedule that it was trained with.

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

    def __init__(self, unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
        super().__init__()
        self.unet = unet.requires_grad_(False).eval()
        self.scheduler = scheduler

    @property
    def image(self) -> Image:
        """The images that the network makes."""
        size = self.unet.config["sample_size"]
        height, width = (size, size) if isinstance(size, int) else size
        return Image(self.unet.config["in_channels"], height, width)

    @property
    def prediction_type(self) -> str:
        """What the network predicts: `"epsilon"`, `"sample"` or `"v_prediction"`."""
        return self.scheduler.config["prediction_type"]

    def train(self, mode: bool = True) -> PixelDiffusion:
        """Stay in eval mode, whatever the mechanism around does."""
        return super().train(mode=False)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Predict from noised images.

        Arguments:
            x_t: The noised images, with shape (B, C, H, W).
            t: The time steps, integers with shape (B,) or ().

        Returns:
            The prediction, with the shape of `x_t`.
        """
        return self.unet(x_t, t, return_dict=False)[0]

    def noise(self, images: Tensor, eps: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""Noise images, and say what the network should have predicted.

        Arguments:
            images: $x_0$, with shape (B, C, H, W), in [-1, 1].
            eps: Standard normal noise, in the shape of `images`.
            t: The time steps, integers with shape (B,).

        Returns:
            $x_t$, the target, and the weight with shape (B,) that turns its squared error
            into that of $v$, at most 30.
        """
        alpha_bar = self.scheduler.alphas_cumprod.to(images.device)[t]
        x_t = self.scheduler.add_noise(images, eps, t)
        floor = 1 / 30
        if self.prediction_type == "epsilon":
            return x_t, eps, 1 / alpha_bar.clamp(min=floor)
        if self.prediction_type == "sample":
            return x_t, images, 1 / (1 - alpha_bar).clamp(min=floor)
        return x_t, self.scheduler.get_velocity(images, eps, t), torch.ones_like(alpha_bar)

    def planned(self) -> PixelDiffusion:
        """Build the same network with fresh weights, for instance on the meta device."""
        return PixelDiffusion(UNet2DModel.from_config(self.unet.config), self.scheduler)

    def save_pretrained(self, folder: Path) -> None:
        """Write the frozen network, without any adapter, as a DDPMPipeline folder."""
        state = {
            name.replace(".base_layer.", "."): tensor
            for name, tensor in self.unet.state_dict().items()
            if ".lora_" not in name
        }
        plain = UNet2DModel.from_config(self.unet.config)
        plain.load_state_dict(state)
        DDPMPipeline(unet=plain, scheduler=self.scheduler).save_pretrained(folder)

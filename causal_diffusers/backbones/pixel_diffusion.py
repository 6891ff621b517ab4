r"""A frozen denoiser in pixel space: a `UNet2DModel` and its noise schedule.

The network knows the noise of a noised image,

$$ x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \varepsilon , $$

or, depending on the checkpoint, $x_0$ or $v = \sqrt{\bar\alpha_t}\,\varepsilon -
\sqrt{1 - \bar\alpha_t}\, x_0$ instead. Nothing here is ever trained.

On disk it is a folder in the layout of `diffusers.DDPMPipeline`: `unet/`, `scheduler/`, or
both at the root, as the oldest repositories have it.

References:
    Denoising diffusion probabilistic models (Ho, Jain & Abbeel, 2020), Sec. 2-3.
    Progressive distillation for fast sampling (Salimans & Ho, 2022), Sec. 4 (v-loss).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file
from torch import Tensor

from causal_diffusers.backbones.base import Backbone
from causal_diffusers.backbones.files import (
    blame,
    check_shapes,
    construct,
    plan,
    read_json,
    stored_shapes,
)
from causal_diffusers.errors import CheckpointError
from causal_diffusers.variables import Image

__all__ = ["PixelDiffusion"]

_WEIGHTS, _SCHEDULE = "diffusion_pytorch_model.safetensors", "scheduler_config.json"
_FORMER = re.compile(r"(\.attentions\.\d+)\.(query|key|value|proj_attn)\.")
_LATTER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_MOST_LAYERS = 64  # of a block, and blocks of a network


class PixelDiffusion(Backbone):
    """A frozen pixel-space denoiser, always in eval mode.

    Arguments:
        unet: The network.
        scheduler: The noise schedule that it was trained with.

    Raises:
        ValueError: If the network is told classes, does not know its image size, makes
            neither grey nor RGB images, or predicts something else than its input.

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
    files = ("model_index.json", "unet/*", "scheduler/*", "*.json", _WEIGHTS)

    def __init__(self, unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
        super().__init__()
        _check(unet.config, scheduler.config)
        self.unet = unet.requires_grad_(False).eval()
        self.scheduler = scheduler

    @property
    def image(self) -> Image:
        """The images that the network makes."""
        return _image(self.unet.config)

    @property
    def prediction_type(self) -> str:
        """What the network predicts: `"epsilon"`, `"sample"` or `"v_prediction"`."""
        return self.scheduler.config["prediction_type"]

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Predict from noised images, in the precision of the network.

        Arguments:
            x_t: The noised images, with shape (B, C, H, W).
            t: The time steps, integers with shape (B,) or ().

        Returns:
            The prediction, with the shape and the type of `x_t`.
        """
        dtype = next(self.unet.parameters()).dtype
        return self.unet(x_t.to(dtype), t, return_dict=False)[0].to(x_t.dtype)

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
        steps = cast(torch.IntTensor, t)
        x_t = self.scheduler.add_noise(images, eps, steps)
        floor = 1 / 30
        if self.prediction_type == "epsilon":
            return x_t, eps, 1 / alpha_bar.clamp(min=floor)
        if self.prediction_type == "sample":
            return x_t, images, 1 / (1 - alpha_bar).clamp(min=floor)
        return x_t, self.scheduler.get_velocity(images, eps, steps), torch.ones_like(alpha_bar)

    @classmethod
    def weights_of(cls, folder: Path) -> Path:
        """Find the weights of the denoiser; see `Backbone.weights_of`."""
        return _member(folder, "unet", _WEIGHTS)

    @classmethod
    def load(cls, folder: Path) -> PixelDiffusion:
        """Load a folder in DDPMPipeline layout; see `Backbone.load`."""
        weights = cls.weights_of(folder)
        schedule = _load_schedule(_member(folder, "scheduler", _SCHEDULE))
        with blame(weights.parent / "config.json", "base"):
            return cls(_load_unet(weights), schedule)

    def planned(self) -> PixelDiffusion:
        """Build the same network on the meta device; see `Backbone.planned`."""
        with torch.device("meta"):
            unet = cast(UNet2DModel, UNet2DModel.from_config(self.unet.config))
        return PixelDiffusion(unet, self.scheduler)

    def save_pretrained(self, folder: Path) -> None:
        """Write the frozen network, without any adapter, as a DDPMPipeline folder."""
        state = {
            name.replace(".base_layer.", "."): tensor
            for name, tensor in self.unet.state_dict().items()
            if ".lora_" not in name
        }
        plain = self.planned().unet
        plain.load_state_dict(state, assign=True)
        DDPMPipeline(unet=plain, scheduler=self.scheduler).save_pretrained(folder)


def _image(config: Mapping[str, Any]) -> Image:
    """Read what images a network makes from its config."""
    size = config["sample_size"]
    if size is None:
        raise ValueError("the config of the network lacks `sample_size`. Add the image size.")
    height, width = (size, size) if isinstance(size, int) else size
    return Image(config["in_channels"], height, width)


def _check(unet: Mapping[str, Any], scheduler: Mapping[str, Any]) -> None:
    """Refuse networks that need more than a noised image, or give something else."""
    if unet["num_class_embeds"] is not None or unet["class_embed_type"] is not None:
        raise ValueError(
            "the network is conditional on classes, which only its authors can number. Choose an "
            "unconditional one; its adapter learns the parents."
        )
    if unet["in_channels"] != unet["out_channels"] or unet["in_channels"] not in (1, 3):
        raise ValueError(
            f"the network turns {unet['in_channels']} channels into {unet['out_channels']}: it "
            "should turn grey or RGB images into their like. Latents and learned variances are "
            "not supported."
        )
    _image(unet)
    if scheduler["prediction_type"] not in ("epsilon", "sample", "v_prediction"):
        raise ValueError(f"the schedule predicts an unknown {scheduler['prediction_type']!r}.")


def _member(folder: Path, subfolder: str, file: str) -> Path:
    """Find a file of the base in its subfolder or, in the oldest layout, at the root."""
    for candidate in (folder / subfolder / file, folder / file):
        if candidate.is_file():
            return candidate
    raise CheckpointError(
        f"{folder}: there is no {subfolder}/{file}. A base is a DDPMPipeline folder with "
        "safetensors weights; re-save older ones with `save_pretrained`.",
        path=folder,
    )


def _load_unet(weights: Path) -> UNet2DModel:
    """Load the network, strictly: every tensor on disk has its place, and no other."""
    path = weights.parent / "config.json"
    config = read_json(path)
    if config.get("_class_name") != "UNet2DModel":
        raise CheckpointError(
            f"{path}: the network is a {config.get('_class_name')!r}; this release takes "
            "UNet2DModel checkpoints.",
            path=path,
        )
    _check_depth(config, path)
    shapes = {_latter(name): shape for name, shape in stored_shapes(weights).items()}
    check_shapes(plan(UNet2DModel, config, path).state_dict(), shapes, weights)
    with torch.random.fork_rng(devices=[]):  # the weights it starts from are overwritten
        unet = construct(UNet2DModel, config, path)
    unet.load_state_dict({_latter(name): tensor for name, tensor in load_file(weights).items()})
    return unet


def _latter(name: str) -> str:
    """Translate the attention layers of the oldest checkpoints to their present names."""
    return _FORMER.sub(lambda found: f"{found[1]}.{_LATTER[found[2]]}.", name)


def _check_depth(config: dict[str, Any], path: Path) -> None:
    """Refuse what would take for ever to plan, even without memory."""
    blocks, layers = config.get("down_block_types", ()), config.get("layers_per_block", 1)
    with blame(path, "network"):
        if len(blocks) > _MOST_LAYERS or layers > _MOST_LAYERS:
            raise ValueError(f"more than {_MOST_LAYERS} blocks, or layers in a block")


def _load_schedule(path: Path) -> DDPMScheduler:
    """Read the noise schedule, which the other samplers of its family write alike."""
    config = read_json(path)
    if "beta_schedule" not in config:
        raise CheckpointError(
            f"{path}: a {config.get('_class_name')!r} has another kind of noise schedule than a "
            "DDPM, which has a `beta_schedule`.",
            path=path,
        )
    return construct(DDPMScheduler, config, path)

r"""What every frozen denoiser does: a `UNet2DModel` and its noise schedule.

The network knows the noise of what was noised,

$$ x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \varepsilon , $$

or, depending on the checkpoint, $x_0$ or $v = \sqrt{\bar\alpha_t}\,\varepsilon -
\sqrt{1 - \bar\alpha_t}\, x_0$ instead. What $x_0$ is of an image, its pixels or a latent,
is left to each kind. Nothing here is ever trained.

References:
    Denoising diffusion probabilistic models (Ho, Jain & Abbeel, 2020), Sec. 2-3.
    Progressive distillation for fast sampling (Salimans & Ho, 2022), Sec. 4 (v-loss).
"""

from __future__ import annotations

import abc
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from diffusers import ConfigMixin, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file
from torch import Tensor, nn

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

__all__ = ["Denoiser"]

WEIGHTS, SCHEDULE = "diffusion_pytorch_model.safetensors", "scheduler_config.json"
_FORMER = re.compile(r"(\.attentions\.\d+)\.(query|key|value|proj_attn)\.")
_LATTER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_MOST_LAYERS = 64  # of a block, and blocks of a network

_N = TypeVar("_N", bound=ConfigMixin)


class Denoiser(Backbone):
    """A frozen unconditional denoiser, always in eval mode.

    Arguments:
        unet: The network.
        scheduler: The noise schedule that it was trained with.

    Raises:
        ValueError: If the network is told classes, does not know its size, gives something
            else than it takes, or predicts something unknown.

    Example:
        >>> from causal_diffusers.backbones import LatentDiffusion, PixelDiffusion
        >>> issubclass(PixelDiffusion, Denoiser), issubclass(LatentDiffusion, Denoiser)
        (True, True)
    """

    def __init__(self, unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
        super().__init__()
        _check(unet.config, scheduler.config)
        self.unet = unet.requires_grad_(False).eval()
        self.scheduler = scheduler

    @property
    @abc.abstractmethod
    def image(self) -> Image:
        """The images that are made in the end."""

    @abc.abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Give $x_0$ of images.

        Arguments:
            images: Images with shape (B, C, H, W), in [-1, 1].

        Returns:
            What the network denoises, with shape (B, *shape).
        """

    @abc.abstractmethod
    def decode(self, x_0: Tensor) -> Tensor:
        """Give the images of $x_0$; see `encode`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of what the network denoises, without the batch: (C, H, W)."""
        size = self.unet.config["sample_size"]
        height, width = (size, size) if isinstance(size, int) else size
        return self.unet.config["in_channels"], height, width

    @property
    def prediction_type(self) -> str:
        """What the network predicts: `"epsilon"`, `"sample"` or `"v_prediction"`."""
        return self.scheduler.config["prediction_type"]

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Predict from what was noised, in the precision of the network.

        Arguments:
            x_t: Noised $x_0$, with shape (B, *shape).
            t: The time steps, integers with shape (B,) or ().

        Returns:
            The prediction, with the shape and the type of `x_t`.
        """
        dtype = next(self.unet.parameters()).dtype
        return self.unet(x_t.to(dtype), t, return_dict=False)[0].to(x_t.dtype)

    def noise(self, x_0: Tensor, eps: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""Add noise, and say what the network should have predicted.

        Arguments:
            x_0: What `encode` gives, with shape (B, *shape).
            eps: Standard normal noise, in the same shape.
            t: The time steps, integers with shape (B,).

        Returns:
            $x_t$, the target, and the weight with shape (B,) that turns its squared error
            into that of $v$, at most 30.
        """
        alpha_bar = self.scheduler.alphas_cumprod.to(x_0.device)[t]
        steps = cast(torch.IntTensor, t)
        x_t = self.scheduler.add_noise(x_0, eps, steps)
        floor = 1 / 30
        if self.prediction_type == "epsilon":
            return x_t, eps, 1 / alpha_bar.clamp(min=floor)
        if self.prediction_type == "sample":
            return x_t, x_0, 1 / (1 - alpha_bar).clamp(min=floor)
        return x_t, self.scheduler.get_velocity(x_0, eps, steps), torch.ones_like(alpha_bar)

    def _bare(self) -> UNet2DModel:
        """Give the frozen network, without any adapter."""
        bare = meta(self.unet)
        bare.load_state_dict(
            {
                name.replace(".base_layer.", "."): tensor
                for name, tensor in self.unet.state_dict().items()
                if ".lora_" not in name
            },
            assign=True,
        )
        return bare


def meta(network: _N) -> _N:
    """Build the same network on the meta device, which holds no weights."""
    with torch.device("meta"):
        return cast(_N, type(network).from_config(network.config))


def member(folder: Path, subfolder: str, file: str, *, flat: bool = True) -> Path:
    """Find a file of a base in its subfolder or, in the oldest layout, at the root."""
    for candidate in (folder / subfolder / file, *([folder / file] if flat else [])):
        if candidate.is_file():
            return candidate
    raise CheckpointError(
        f"{folder}: there is no {subfolder}/{file}. A base is a DDPMPipeline or LDMPipeline "
        "folder with safetensors weights; re-save older ones with `save_pretrained`.",
        path=folder,
    )


def load_network(weights: Path, kinds: Mapping[str, type[_N]]) -> _N:
    """Load a network of diffusers, strictly: every tensor on disk has its place, and no other.

    Arguments:
        weights: Its weights; the config is beside them.
        kinds: What it may be, by name.

    Returns:
        The network.

    Raises:
        CheckpointError: If it is another one, or the weights do not fit the config.
    """
    path = weights.parent / "config.json"
    config = read_json(path)
    name = config.get("_class_name")
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        raise CheckpointError(
            f"{path}: the network is a {name!r}; this release takes {' and '.join(kinds)} "
            "checkpoints here.",
            path=path,
        )
    _check_depth(config, path)
    shapes = {_latter(name): shape for name, shape in stored_shapes(weights).items()}
    planned = cast(nn.Module, plan(kind, config, path))
    check_shapes(planned.state_dict(), shapes, weights)
    with torch.random.fork_rng(devices=[]):  # the weights it starts from are overwritten
        network = construct(kind, config, path)
    state = {_latter(name): tensor for name, tensor in load_file(weights).items()}
    cast(nn.Module, network).load_state_dict(state)
    return network


def load_schedule(path: Path) -> DDPMScheduler:
    """Read the noise schedule, which the other samplers of its family write alike."""
    config = read_json(path)
    if "beta_schedule" not in config:
        raise CheckpointError(
            f"{path}: a {config.get('_class_name')!r} has another kind of noise schedule than a "
            "DDPM, which has a `beta_schedule`.",
            path=path,
        )
    return construct(DDPMScheduler, config, path)


def _check(unet: Mapping[str, Any], scheduler: Mapping[str, Any]) -> None:
    """Refuse networks that need more than what was noised, or give something else."""
    if unet["num_class_embeds"] is not None or unet["class_embed_type"] is not None:
        raise ValueError(
            "the network is conditional on classes, which only its authors can number. Choose an "
            "unconditional one; its adapter learns the parents."
        )
    if unet["in_channels"] != unet["out_channels"]:
        raise ValueError(
            f"the network turns {unet['in_channels']} channels into {unet['out_channels']}: it "
            "should give what it takes. Learned variances are not supported."
        )
    size = unet["sample_size"]
    if size is None:
        raise ValueError("the config of the network lacks `sample_size`. Add the image size.")
    sides = list(size) if isinstance(size, (list, tuple)) else [size, size]
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ValueError(f"`sample_size` is a positive integer or two of them: got {size!r}.")
    if scheduler["prediction_type"] not in ("epsilon", "sample", "v_prediction"):
        raise ValueError(f"the schedule predicts an unknown {scheduler['prediction_type']!r}.")


def _latter(name: str) -> str:
    """Translate the attention layers of the oldest checkpoints to their present names."""
    return _FORMER.sub(lambda found: f"{found[1]}.{_LATTER[found[2]]}.", name)


def _check_depth(config: dict[str, Any], path: Path) -> None:
    """Refuse what would take for ever to plan, even without memory."""
    lists = ("down_block_types", "up_block_types", "block_out_channels")
    with blame(path, "network"):
        depth = max(len(config.get(name, ())) for name in lists)
        if max(depth, config.get("layers_per_block", 1)) > _MOST_LAYERS:
            raise ValueError(f"more than {_MOST_LAYERS} blocks, or layers in a block")

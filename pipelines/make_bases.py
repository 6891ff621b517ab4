"""Make the frozen bases of the published experiments: unconditional DDPMs.

Each folder is an ordinary `diffusers.DDPMPipeline`, trained on images without labels.
The data are not part of the project; their folder is an argument. Run from the root of
the repository:

    python pipelines/make_bases.py mnist-ddpm --data path/to/data

| base | images | where the data folder has them |
|---|---|---|
| `mnist-ddpm` | MNIST, padded to 32x32 | `mnist/train-images-idx3-ubyte.gz` |
| `xray-ddpm` | PneumoniaMNIST, 28x28 | `cxr/pneumoniamnist28_partial.npz` |

Three quarters of an hour, and twenty minutes, on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from diffusers.utils import logging
from torch import Tensor

from causal_diffusers.systems.mnist import load_mnist

RATE, BATCH, DECAY = 2e-3, 64, 0.998


@dataclasses.dataclass(frozen=True)
class Base:
    """How one base is made: from which images, how wide, predicting what, how long."""

    images: Callable[[Path], Tensor]
    channels: tuple[int, int, int]
    prediction_type: str
    steps: int
    seed: int


def mnist(data: Path) -> Tensor:
    """Read the training images of MNIST, in [0, 1]."""
    digits, _ = load_mnist(data)
    return torch.nn.functional.pad(digits.float() / 255, (2, 2, 2, 2))[:, None]


def xrays(data: Path) -> Tensor:
    """Read the training and validation images of PneumoniaMNIST, in [0, 1]."""
    import numpy as np

    with np.load(data / "cxr" / "pneumoniamnist28_partial.npz") as parts:
        images = np.concatenate([parts["train_images"], parts["val_images"]])
    return torch.from_numpy(images).float()[:, None] / 255


BASES = {
    "mnist-ddpm": Base(mnist, (24, 48, 64), "epsilon", 2600, 20_262),
    "xray-ddpm": Base(xrays, (16, 32, 64), "v_prediction", 2500, 20_263),
}


def make_unet(image: Tensor, channels: tuple[int, int, int]) -> UNet2DModel:
    """Build a denoiser for images like this one; attention at a quarter of the size only."""
    return UNet2DModel(
        sample_size=image.shape[-1],
        in_channels=len(image),
        out_channels=len(image),
        layers_per_block=1,
        block_out_channels=channels,
        norm_num_groups=8,
        attention_head_dim=32,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )


def train(base: Base, data: Path, output: Path) -> None:
    """Train by the loss of v, keep the moving average of the weights, save it."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    images = 2 * base.images(data) - 1
    torch.manual_seed(base.seed)
    unet = make_unet(images[0], base.channels)
    scheduler = DDPMScheduler(num_train_timesteps=1000, prediction_type=base.prediction_type)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=RATE, weight_decay=1e-2)
    decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, base.steps, pct_start=0.05)
    average = EMAModel(unet.parameters(), decay=DECAY)
    for step in range(base.steps):
        x = images[torch.randint(len(images), (BATCH,))]
        loss = loss_of_v(unet, scheduler, x)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        decay.step()
        average.step(unet.parameters())
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}", flush=True)
    average.copy_to(unet.parameters())
    DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(output)


def loss_of_v(unet: UNet2DModel, scheduler: DDPMScheduler, x: Tensor) -> Tensor:
    """Compute the squared error of v; that of the noise is weighted, by 30 at most."""
    t, eps = torch.randint(1000, (len(x),)), torch.randn_like(x)
    predicted = unet(scheduler.add_noise(x, eps, t), t).sample
    if scheduler.config["prediction_type"] == "v_prediction":
        return (predicted - scheduler.get_velocity(x, eps, t)).square().mean()
    error = (predicted - eps).square().mean((1, 2, 3))
    return (error / scheduler.alphas_cumprod[t].clamp(min=1 / 30)).mean()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", choices=BASES)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="fewer or more than the base was made with")
    parser.add_argument("--output", type=Path, help="where to save; pipelines/<base> by default")
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    chosen = BASES[arguments.base]
    if arguments.steps:
        chosen = dataclasses.replace(chosen, steps=arguments.steps)
    train(chosen, arguments.data, arguments.output or Path(__file__).parent / arguments.base)

"""Make the frozen bases of the examples and experiments: unconditional diffusion models.

Each folder is an ordinary `diffusers.DDPMPipeline`, or an `LDMPipeline` that denoises what
an autoencoder makes of the images. They are trained on images without labels. Run from the
root of the repository:

    python pipelines/make_bases.py mnist-ldm --data path/to/data

| base | images | where the data folder has them |
|---|---|---|
| `digits-ddpm` | scikit-learn's digits, 8x8, without the 200 held out | with scikit-learn |
| `mnist-ldm` | MNIST, padded to 32x32, by latents of 4x8x8 | `mnist/train-images-idx3-ubyte.gz` |
| `bars-ddpm` | coloured digits with a bar, 16x16 | likewise |
| `xray-ddpm` | PneumoniaMNIST, 28x28 | `cxr/pneumoniamnist28_partial.npz` |
| `leaf-ddpm` | apple leaves on a painted background, 32x32 | `plant/plantvillage_apple64.npz` |

A quarter of an hour to an hour on one core, a minute or two with `--device cuda`. A base is the
same again on the same kind of machine only.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL, DDPMPipeline, DDPMScheduler, LDMPipeline, UNet2DModel
from diffusers.training_utils import EMAModel
from diffusers.utils import logging
from torch import Tensor, nn

from causal_diffusers.systems import AppleLeaves, ColoredBarMNIST, FrontDoorDigits
from causal_diffusers.systems.mnist import load_mnist

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE, DECAY, MOST_WEIGHT = 2e-3, 0.998, 30
LATENT_CHANNELS, KL_WEIGHT, ENCODED = 4, 1e-4, 5_000
ROWS = 40_000  # of systems that draw their images


@dataclasses.dataclass(frozen=True)
class Base:
    """How one base is made: from which images, how wide, predicting what, how long.

    Attention is at the smallest size only. `autoencoder` has the widths of one that comes
    before the denoiser and shrinks the images by two at each but the first.
    """

    images: Callable[[Path | None], Tensor]
    channels: Sequence[int]
    prediction_type: str
    steps: int
    seed: int
    batch: int = 64
    head: int = 32
    autoencoder: Sequence[int] = ()
    autoencoder_steps: int = 2000


def digits(_: Path | None) -> Tensor:
    """Give scikit-learn's digits, but for those that the front-door system holds out."""
    system = FrontDoorDigits()
    return system.images[~system.held_out]


def mnist(data: Path | None) -> Tensor:
    """Read the training images of MNIST, padded to 32x32, in [0, 1]."""
    pixels, _ = load_mnist(data)
    return torch.nn.functional.pad(pixels.float() / 255, (2, 2, 2, 2))[:, None]


def bars(data: Path | None) -> Tensor:
    """Draw the images of coloured bars, in [0, 1]."""
    generator = torch.Generator().manual_seed(BASES["bars-ddpm"].seed)
    return ColoredBarMNIST(data).sample(ROWS, generator=generator)["I"]


def xrays(data: Path | None) -> Tensor:
    """Read the training and validation images of PneumoniaMNIST, in [0, 1]."""
    import numpy as np

    from causal_diffusers.systems.files import find_file

    with np.load(find_file("pneumoniamnist28*.npz", data, "Download PneumoniaMNIST.")) as parts:
        images = np.concatenate([parts["train_images"], parts["val_images"]])
    return torch.from_numpy(images).float()[:, None] / 255


def leaves(data: Path | None) -> Tensor:
    """Draw the images of the biased domain of apple leaves, in [0, 1]."""
    generator = torch.Generator().manual_seed(BASES["leaf-ddpm"].seed)
    return AppleLeaves(data).sample(ROWS, generator=generator)["I"]


BASES = {
    "digits-ddpm": Base(digits, (48, 96), "epsilon", 3600, 20_260, batch=128),
    "mnist-ldm": Base(
        mnist, (48, 96), "v_prediction", 3600, 20_264, batch=128, autoencoder=(8, 16, 32)
    ),
    "bars-ddpm": Base(bars, (32, 48), "v_prediction", 2200, 20_280, head=16),
    "xray-ddpm": Base(xrays, (16, 32, 64), "v_prediction", 2500, 20_263),
    "leaf-ddpm": Base(leaves, (16, 32, 64), "v_prediction", 800, 20_300),
}


def make_unet(image: Tensor, base: Base) -> UNet2DModel:
    """Build a denoiser for images like this one."""
    plain = len(base.channels) - 1
    return UNet2DModel(
        sample_size=image.shape[-1],
        in_channels=len(image),
        out_channels=len(image),
        layers_per_block=1,
        block_out_channels=tuple(base.channels),
        norm_num_groups=8,
        attention_head_dim=base.head,
        down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
    )


def train(base: Base, data: Path | None, output: Path, device: str = "cpu") -> None:
    """Train a denoiser of images, or an autoencoder and a denoiser of its latents."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    images = 2 * base.images(data).to(device) - 1
    torch.manual_seed(base.seed)
    scheduler = DDPMScheduler(
        num_train_timesteps=1000,
        prediction_type=base.prediction_type,
        clip_sample=not base.autoencoder,  # latents have no bounds
    )
    if not base.autoencoder:
        unet = train_denoiser(base, images, scheduler)
        DDPMPipeline(unet=unet.cpu(), scheduler=scheduler).save_pretrained(output)
        return
    autoencoder = train_autoencoder(base, images)
    unet = train_denoiser(base, encode(autoencoder, images), scheduler)
    pipe = LDMPipeline(vqvae=autoencoder.cpu(), unet=unet.cpu(), scheduler=scheduler)
    pipe.save_pretrained(output)


def train_denoiser(base: Base, images: Tensor, scheduler: DDPMScheduler) -> UNet2DModel:
    """Train a network to denoise images, or latents."""
    torch.manual_seed(base.seed)
    unet = make_unet(images[0], base).to(images.device)
    descend(unet, lambda x: loss_of_v(unet, scheduler, x), images, base.steps, base.batch)
    return unet


def train_autoencoder(base: Base, images: Tensor) -> AutoencoderKL:
    """Train an autoencoder, and scale its latents to a mean square of one."""
    halvings = len(base.autoencoder)
    autoencoder = AutoencoderKL(
        in_channels=images.shape[1],
        out_channels=images.shape[1],
        down_block_types=("DownEncoderBlock2D",) * halvings,
        up_block_types=("UpDecoderBlock2D",) * halvings,
        block_out_channels=tuple(base.autoencoder),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=images.shape[-1],
        mid_block_add_attention=False,
    ).to(images.device, memory_format=torch.channels_last)
    autoencoder.register_to_config(scaling_factor=1.0)

    def loss(x: Tensor) -> Tensor:
        posterior = autoencoder.encode(x).latent_dist
        error = (autoencoder.decode(posterior.sample()).sample - x).square().mean()
        return error + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()

    descend(autoencoder, loss, images, base.autoencoder_steps, base.batch)
    spread = encode(autoencoder, images[:ENCODED]).square().mean().sqrt().item()
    autoencoder.register_to_config(scaling_factor=1 / spread)
    return autoencoder


@torch.no_grad()
def encode(autoencoder: AutoencoderKL, images: Tensor) -> Tensor:
    """Encode images as the denoiser sees them."""
    parts = [autoencoder.encode(part).latent_dist.mode() for part in images.split(500)]
    return autoencoder.config["scaling_factor"] * torch.cat(parts)


def descend(
    network: nn.Module, loss_of: Callable[[Tensor], Tensor], images: Tensor, steps: int, batch: int
) -> None:
    """Train a network and leave the moving average of its weights in it."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
    decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.05)
    average = EMAModel(network.parameters(), decay=DECAY)
    for step in range(steps):
        loss = loss_of(images[torch.randint(len(images), (batch,), device=images.device)])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        decay.step()
        average.step(network.parameters())
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}", flush=True)
    average.copy_to(network.parameters())


def loss_of_v(unet: UNet2DModel, scheduler: DDPMScheduler, x: Tensor) -> Tensor:
    """Compute the squared error of v; that of the noise is weighted, by 30 at most."""
    t, eps = torch.randint(1000, (len(x),), device=x.device), torch.randn_like(x)
    predicted = unet(scheduler.add_noise(x, eps, t), t).sample
    if scheduler.config["prediction_type"] == "v_prediction":
        return (predicted - scheduler.get_velocity(x, eps, t)).square().mean()
    error = (predicted - eps).square().mean((1, 2, 3))
    alpha_bar = scheduler.alphas_cumprod.to(x.device)[t]
    return (error / alpha_bar.clamp(min=1 / MOST_WEIGHT)).mean()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", choices=BASES)
    parser.add_argument("--data", type=Path, help="else CAUSAL_DIFFUSERS_DATA")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, help="fewer or more than the base was made with")
    parser.add_argument("--batch", type=int, help="images a step, likewise")
    parser.add_argument("--output", type=Path, help="where to save; pipelines/<base> by default")
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    chosen = BASES[arguments.base]
    asked = {name: getattr(arguments, name) for name in ("steps", "batch")}
    chosen = dataclasses.replace(chosen, **{name: n for name, n in asked.items() if n})
    output = arguments.output or Path(__file__).parent / arguments.base
    train(chosen, arguments.data, output, arguments.device)

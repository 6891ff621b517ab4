"""Make `pipelines/digits-ddpm`: an unconditional DDPM on scikit-learn's handwritten digits.

The folder is an ordinary `diffusers.DDPMPipeline`. The 200 images that the front-door
system holds out are not shown to it. Run from the root of the repository:

    python pipelines/make_digits_ddpm.py

Twenty minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from diffusers.utils import logging

from causal_diffusers.systems import FrontDoorDigits

SEED, STEPS, BATCH, RATE = 20_260, 3_600, 128, 2e-3


def make_unet() -> UNet2DModel:
    """Build the denoiser: 1.57 M parameters, attention at 4x4 only."""
    return UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(48, 96),
        norm_num_groups=8,
        attention_head_dim=32,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )


def train(steps: int, output: Path) -> None:
    """Train with the eps-loss weighted as a v-loss, keep the moving average, save it."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    system = FrontDoorDigits()
    images = 2 * system.images[~system.held_out] - 1
    unet, scheduler = make_unet(), DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=RATE, weight_decay=1e-2)
    decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.05)
    average = EMAModel(unet.parameters(), decay=0.998)
    alpha_bar = scheduler.alphas_cumprod
    for step in range(steps):
        x = images[torch.randint(len(images), (BATCH,))]
        t, eps = torch.randint(1000, (BATCH,)), torch.randn_like(x)
        error = (unet(scheduler.add_noise(x, eps, t), t).sample - eps).square().mean((1, 2, 3))
        loss = (error / alpha_bar[t].clamp(min=1 / 30)).mean()
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "digits-ddpm")
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    train(arguments.steps, arguments.output)

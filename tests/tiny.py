"""Tiny pretrained things: real diffusers folders with random weights, made in a blink."""

from pathlib import Path

import torch


def make_tiny_base(folder, *, seed=0, size=8, channels=1, steps=20):
    """Write an unconditional DDPM with random weights as a DDPMPipeline folder.

    8x8 pixels, one channel, about 50 k parameters, attention at the second level.
    """
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DModel(
            sample_size=size,
            in_channels=channels,
            out_channels=channels,
            layers_per_block=1,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=4,
            attention_head_dim=8,
        )
    scheduler = DDPMScheduler(num_train_timesteps=steps)
    DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(folder, safe_serialization=True)
    return Path(folder)

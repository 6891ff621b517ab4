"""Make `pipelines/bars-ddpm` and, on top of it, `pipelines/colored-bars`.

The base is an ordinary `diffusers.DDPMPipeline` of coloured digits with a bar, trained on
rows of which it sees the images only. Run from the root of the repository:

    python pipelines/make_bars.py base
    python pipelines/make_bars.py pipeline --checkpoints out/bars

Ten minutes each on one core. The second may be killed and run again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from diffusers.utils import logging

from causal_diffusers import (
    Categorical,
    CausalPipeline,
    Confounder,
    DiffusionMechanism,
    Image,
    ModularTrainer,
    TrainingConfig,
)
from causal_diffusers.systems import ColoredBarMNIST

SEED, ROWS, BATCH, RATE = 20_280, 40_000, 64, 2e-3
HERE = Path(__file__).parent


def make_unet() -> UNet2DModel:
    """Build the denoiser: 0.46 M parameters, attention at 8x8 only."""
    return UNet2DModel(
        sample_size=16,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(32, 48),
        norm_num_groups=8,
        attention_head_dim=16,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )


def train_base(images: torch.Tensor, steps: int, output: Path) -> None:
    """Train by v-prediction, keep the moving average, save it."""
    unet = make_unet()
    scheduler = DDPMScheduler(num_train_timesteps=1000, prediction_type="v_prediction")
    optimizer = torch.optim.AdamW(unet.parameters(), lr=RATE, weight_decay=1e-2)
    decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.05)
    average = EMAModel(unet.parameters(), decay=0.998)
    for step in range(steps):
        x = 2 * images[torch.randint(len(images), (BATCH,))] - 1
        t, eps = torch.randint(1000, (BATCH,)), torch.randn_like(x)
        velocity = scheduler.get_velocity(x, eps, t)
        loss = (unet(scheduler.add_noise(x, eps, t), t).sample - velocity).square().mean()
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


def make_pipeline(base: str, rank: int = 16) -> CausalPipeline:
    """Build the untrained pipeline on the base."""
    bit = Categorical([0, 1])
    labels = {"D": Categorical([0, 9]), "C": bit, "BW": bit, "BC": bit}
    return CausalPipeline.from_graph(
        ColoredBarMNIST.graph,
        variables={**labels, "I": Image(3, 16, 16)},
        mechanisms={"I": DiffusionMechanism.from_pretrained(base, rank=rank)},
        confounders={"U": Confounder(states=4)},
    )


def train_pipeline(rows: dict[str, torch.Tensor], options: argparse.Namespace) -> None:
    """Train every module and save the pipeline."""
    pipe = make_pipeline(options.base)
    adapter = TrainingConfig(steps=options.steps, batch_size=BATCH, ema_decay=0.998, seed=SEED)
    config = TrainingConfig(seed=SEED)
    overrides = {"I": adapter}
    ModularTrainer(pipe, rows, options.checkpoints, config=config, overrides=overrides).train()
    pipe.save_pretrained(options.output, repo_id="causal-diffusers/colored-bars")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("base", "pipeline"))
    parser.add_argument("--data", help="the folder of MNIST")
    parser.add_argument("--base", default="causal-diffusers/bars-ddpm")
    parser.add_argument("--steps", type=int, default=1_500, help="of the image")
    parser.add_argument("--checkpoints", type=Path, help="of the pipeline")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)  # the initial weights, and what the base is shown
    rows = ColoredBarMNIST(options.data).sample(
        ROWS, generator=torch.Generator().manual_seed(SEED)
    )
    if options.what == "base":
        train_base(rows["I"], options.steps, options.output or HERE / "bars-ddpm")
    else:
        options.output = options.output or HERE / "colored-bars"
        train_pipeline(rows, options)

"""What judges generated images in the benchmarks: a classifier, and the base left alone.

The classifier reads what an image shows. It is trained on real images that the benchmark
hands it, and knows nothing of the pipelines; the values of its last hidden layer are the
features of FID.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor, nn

from causal_diffusers.backbones import load_backbone
from causal_diffusers.mechanisms.samplers import denoise
from causal_diffusers.metrics import extract_features
from causal_diffusers.seeding import spawn


class Reader(nn.Module):
    """Three strided convolutions, a hidden layer of 64 features, and a head.

    Dropout falls on the convolutions, so that the features stay what they are.
    """

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        widths, layers = (channels, 16, 32, 64), []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        pool = nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.2)
        self.features = nn.Sequential(*layers, *pool, nn.Linear(1024, 64), nn.ReLU())
        self.head = nn.Linear(64, labels)

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (B, C, H, W) in [0, 1] into logits (B, labels)."""
        return self.head(self.features(images))

    def read(self, images: Tensor) -> Tensor:
        """Name the likeliest label of each image."""
        return extract_features(images.to(self.head.weight.device), self).argmax(dim=1)

    def describe(self, images: Tensor) -> Tensor:
        """Give the features of each image, on the CPU."""
        return extract_features(images.to(self.head.weight.device), self.features)


def train_reader(
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    seed: int = 0,
    batch_size: int = 128,
    device: str = "cpu",
) -> Reader:
    """Train a reader on real images, each shifted by up to a pixel, and put it to eval."""
    generator = spawn(seed, "reader")
    reader = Reader(images.shape[1], int(labels.max()) + 1).to(device)
    images, labels = images.to(device), labels.to(device)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=3e-3, weight_decay=1e-2)
    decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.1)
    for _ in range(steps):
        rows = torch.randint(len(images), (batch_size,), generator=generator)
        shift = torch.randint(-1, 2, (2,), generator=generator).tolist()
        moved = images[rows].roll(shift, dims=(2, 3))
        loss = nn.functional.cross_entropy(reader(moved), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    return reader.eval()


@torch.no_grad()
def sample_base(
    repo: str, count: int, *, steps: int, seed: int = 6, device: str = "cpu"
) -> Tensor:
    """Draw images in [0, 1] from a frozen base without any adapter, by the default sampler."""
    base, _ = load_backbone(repo)
    base.to(device)
    sampler = DPMSolverMultistepScheduler.from_config(base.scheduler.config)
    noise, images = torch.randn(count, *base.shape, generator=spawn(seed, "base")), []
    options = {"steps": steps, "guidance_scale": 1, "generator": spawn(seed), "done": iter([])}
    for part in noise.split(256):
        denoised = denoise(sampler, base, part.to(device), **options)
        images.append(base.decode(denoised).cpu())
    return (torch.cat(images) / 2 + 0.5).clamp(0, 1)

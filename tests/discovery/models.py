"""Small models with random weights, data for them, and families to tie them to."""

import torch

from causal_diffusers.discovery import ADAG
from causal_diffusers.systems import LinearFamily
from tiny import shake


def make(seed=0, **options):
    torch.manual_seed(seed)
    model = ADAG(**{"width": 8, "layers": 2, **options}).eval()
    shake([model], seed=seed)
    return model


def draw(n, d, generator, count=2):
    return LinearFamily(d).sample(count, n, generator=generator).data


def general(d=3):
    chances = [[0.0 if i == j else 0.2 for j in range(d)] for i in range(d)]
    fields = {"setting": "general", "chances": chances, "deviation": 1.0, "samples": [10, 20]}
    return {**fields, "variables": None}


def ordered(names="ABC"):
    d = len(names)
    chances = [[0.5 if i < j else 0.0 for j in range(d)] for i in range(d)]
    return {
        "setting": "order-consistent",
        "chances": chances,
        "deviation": 1.0,
        "samples": [10, 20],
        "variables": list(names),
    }

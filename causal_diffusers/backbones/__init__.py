"""Frozen pretrained networks, each behind the same small interface.

| file | what it wraps | paper |
|---|---|---|
| `pixel_diffusion` | a `UNet2DModel` and its noise schedule | Ho, Jain & Abbeel, 2020 |
| `files` | reading files without believing them | |
| `reference` | where a base comes from: repository, commit, sha256, licence | |
"""

from causal_diffusers.backbones.pixel_diffusion import PixelDiffusion
from causal_diffusers.backbones.reference import BackboneReference, load_backbone

__all__ = ["BackboneReference", "PixelDiffusion", "load_backbone"]

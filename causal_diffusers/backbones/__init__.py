"""Frozen pretrained networks, each behind the same small interface.

| file | what it wraps | paper |
|---|---|---|
| `pixel_diffusion` | a `UNet2DModel` and its noise schedule | Ho, Jain & Abbeel, 2020 |
| `vision` | a vision encoder of transformers | Dosovitskiy et al., 2021 |
| `preprocessing` | the size and the colours that it wants | |
| `files` | reading files without believing them | |
| `reference` | where a base comes from: repository, commit, sha256, licence | |
"""

from causal_diffusers.backbones.pixel_diffusion import PixelDiffusion
from causal_diffusers.backbones.reference import BackboneReference, load_backbone
from causal_diffusers.backbones.vision import VisionEncoder

__all__ = ["BackboneReference", "PixelDiffusion", "VisionEncoder", "load_backbone"]

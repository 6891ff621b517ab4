"""Frozen pretrained networks, each behind the same small interface.

| file | what it wraps | paper |
|---|---|---|
| `base` | the interface of every kind | |
| `denoiser` | a `UNet2DModel` and its noise schedule | Ho, Jain & Abbeel, 2020 |
| `pixel_diffusion` | one that denoises images | |
| `latent_diffusion` | one that denoises the latents of an autoencoder | Rombach et al., 2022 |
| `gan` | a GAN generator, and the table of architectures | Radford, Metz & Chintala, 2016 |
| `convert` | the weights of somebody else's generator as a folder of ours | |
| `vision` | a vision encoder of transformers | Dosovitskiy et al., 2021 |
| `preprocessing` | the size and the colours that it wants | |
| `files` | reading files without believing them | |
| `reference` | where a base comes from: repository, commit, sha256, licence | |
"""

from causal_diffusers.backbones.base import Backbone
from causal_diffusers.backbones.convert import convert_generator
from causal_diffusers.backbones.denoiser import Denoiser
from causal_diffusers.backbones.gan import GANGenerator, register_generator
from causal_diffusers.backbones.latent_diffusion import LatentDiffusion
from causal_diffusers.backbones.pixel_diffusion import PixelDiffusion
from causal_diffusers.backbones.reference import BackboneReference, load_backbone
from causal_diffusers.backbones.vision import VisionEncoder

__all__ = [
    "Backbone",
    "BackboneReference",
    "Denoiser",
    "GANGenerator",
    "LatentDiffusion",
    "PixelDiffusion",
    "VisionEncoder",
    "convert_generator",
    "load_backbone",
    "register_generator",
]

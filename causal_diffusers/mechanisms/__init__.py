"""How one variable is made from its parents, its confounders and noise of its own.

| file | mechanism | variable | likelihood | paper |
|---|---|---|---|---|
| `categorical` | softmax of a small network | categorical | exact | Jang, Gu & Poole, 2017 |
| `diffusion` | frozen denoiser + gated LoRA | image | bound | Ho & Salimans, 2022 |
| `flow` | neural spline flow | continuous | exact | Durkan et al., 2019 |
| `seeing` | how images among the parents are read | | | Oquab et al., 2024 |
| `gan` | frozen GAN, its latent or Bayes | image | | Azadi et al., 2019 |
| `latent` | an invertible map of latents | | | Dinh et al., 2017 |
| `reader` | how well an image fits its parents | | | Azadi et al., 2019 |
| `pretrained` | what mechanisms on a frozen base share | | | |
| `representation` | what a confounder touches of an image | code | | see the file |
| `samplers` | from noise to an image | | | Song, Meng & Ermon, 2021 |
| `confounder` | prior of a finite confounder | hidden | exact | |
| `relaxation` | draws from a finite set that have a gradient | | | Jang, Gu & Poole, 2017 |

To add one: a file here that subclasses `Mechanism`, a row above, an entry in the tests'
zoo, and its name in the list of classes that a pipeline on disk may name.
"""

from causal_diffusers.mechanisms.base import (
    InvertibleMechanism,
    LikelihoodMechanism,
    Mechanism,
    RelaxedMechanism,
    SamplingOptions,
)
from causal_diffusers.mechanisms.categorical import CategoricalMechanism
from causal_diffusers.mechanisms.component import Component
from causal_diffusers.mechanisms.confounder import ConfounderPrior
from causal_diffusers.mechanisms.diffusion import DiffusionMechanism
from causal_diffusers.mechanisms.flow import FlowMechanism
from causal_diffusers.mechanisms.gan import GANMechanism
from causal_diffusers.mechanisms.pretrained import PretrainedMechanism

__all__ = [
    "CategoricalMechanism",
    "Component",
    "ConfounderPrior",
    "DiffusionMechanism",
    "FlowMechanism",
    "GANMechanism",
    "InvertibleMechanism",
    "LikelihoodMechanism",
    "Mechanism",
    "PretrainedMechanism",
    "RelaxedMechanism",
    "SamplingOptions",
]

r"""How far is a sample from the data? A critic that learns to tell, and what it looks at.

$$ \sup_f \; E_P f - E_{\hat P} f - \lambda E_{\tilde s}
   \big( \lVert \nabla f(\tilde s) \rVert - g \big)^2 , $$

with $\tilde s$ between a row of the data and a sample. The two share their clamped
parents, so only what was sampled is moved. As published, $g = 1$: a critic with slope one
measures Wasserstein's distance. But its slope is one also where there is nothing left to
tell, so the mechanisms are pushed about the truth, however near they are. Here $g = 0$:
the best critic is proportional to the error and flat when it is gone, the supremum is a
squared distance, and the game comes to rest.

Labels enter one-hot and numbers as they are. An image that is trained is read by
convolutions that learn with the critic; one that is only context by its principal
components, chosen before training starts, for it is not to be told from a real one.

References:
    Improved training of Wasserstein GANs (Gulrajani et al., 2017), Sec. 4.
    Which training methods for GANs do actually converge? (Mescheder, Geiger & Nowozin,
    2018), Sec. 4.
    Sobolev GAN (Mroueh et al., 2018), Sec. 3.
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 4.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from causal_diffusers.mechanisms.encoders import ImageEncoder
from causal_diffusers.variables import Image

__all__ = ["Critic", "PrincipalComponents", "gradient_penalty"]


class Critic(nn.Module):
    """A small network that scores rows; it always computes in single precision.

    Arguments:
        widths: The number of features of each part of a row, by name.
        images: The parts that are whole images, by name.
        width: The width of the hidden layers.
        depth: Their number.

    Example:
        >>> critic = Critic({"X": 2}, {"I": Image(1, 8, 8)})
        >>> critic({"X": torch.zeros(5, 2), "I": torch.zeros(5, 1, 8, 8)}).shape
        torch.Size([5])
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        images: Mapping[str, Image],
        width: int = 64,
        depth: int = 2,
    ) -> None:
        super().__init__()
        self.names, self.images = tuple(sorted(widths)), tuple(sorted(images))
        self.readers = nn.ModuleList(ImageEncoder(images[name]) for name in self.images)
        inputs = sum(widths.values()) + sum(_features(reader) for reader in self.readers)
        sizes = [inputs, *[width] * depth]
        layers = [
            layer
            for size, following in itertools.pairwise(sizes)
            for layer in (nn.Linear(size, following), nn.SiLU())
        ]
        self.network = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Score rows: parts (B, width) and images (B, C, H, W) become scores (B,)."""
        device = next(self.network.parameters()).device
        with torch.autocast(device.type, enabled=False):
            seen = [parts[name].float() for name in self.names]
            for name, reader in zip(self.images, self.readers, strict=True):
                seen.append(reader(parts[name].float()))
            return self.network(torch.cat(seen, dim=1)).squeeze(1)


def _features(reader: nn.Module) -> int:
    return int(reader.features)  # type: ignore[arg-type]


def gradient_penalty(
    critic: nn.Module,
    real: Mapping[str, Tensor],
    fake: Mapping[str, Tensor],
    share: Tensor,
    sampled: Collection[str],
    slope: float = 0.0,
) -> Tensor:
    r"""Compute $(\lVert \nabla_s f(\tilde s, pa) \rVert - g)^2$ between rows and samples.

    $$ \tilde s = \lambda s + (1 - \lambda) \hat s . $$

    Arguments:
        critic: The critic f.
        real: The rows, by part, each with shape (B, ...).
        fake: The samples, with the parents of the rows.
        share: $\lambda$, with shape (B,), in [0, 1].
        sampled: The parts that were sampled, $s$; the others are clamped.
        slope: $g$, what the gradient should measure.

    Returns:
        Penalties with shape (B,), through which the critic gets a gradient.

    Example:
        >>> real, fake = {"X": torch.ones(3, 2)}, {"X": torch.zeros(3, 2)}
        >>> gradient_penalty(Critic({"X": 2}, {}), real, fake, torch.rand(3), {"X"}).shape
        torch.Size([3])
    """
    between = {name: _between(real[name], fake[name], share) for name in sampled}
    with torch.enable_grad():
        scores = critic({**real, **between})
        gradients = torch.autograd.grad(scores.sum(), list(between.values()), create_graph=True)
    flat = torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)
    return ((flat.square().sum(dim=1) + 1e-12).sqrt() - slope) ** 2


def _between(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    share = share.view(-1, *[1] * (real.dim() - 1)).to(real.device)
    return (share * real + (1 - share) * fake).detach().requires_grad_()


class PrincipalComponents(nn.Module):
    """Read an image by its first principal components, each of variance one.

    Arguments:
        images: Images of the data, with shape (N, C, H, W).
        components: How many to keep, at most; as many as vary.

    Example:
        >>> images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> view = PrincipalComponents(images, components=3)
        >>> view(images).shape, bool(view(images).std(dim=0).allclose(torch.ones(3)))
        (torch.Size([20, 3]), True)
    """

    mean: Tensor
    directions: Tensor

    def __init__(self, images: Tensor, components: int) -> None:
        super().__init__()
        rows = images.double().flatten(1)
        centred = rows - rows.mean(dim=0)
        _, scale, directions = torch.linalg.svd(centred, full_matrices=False)
        scale = scale[:components] / max(1, len(rows) - 1) ** 0.5
        kept = scale > 1e-6 * scale.max().clamp(min=1e-6)
        whitened = directions[:components][kept] / scale[kept, None]
        self.register_buffer("mean", rows.mean(dim=0).float(), persistent=False)
        self.register_buffer("directions", whitened.float(), persistent=False)

    @property
    def features(self) -> int:
        """The number of components."""
        return len(self.directions)

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into features (B, features)."""
        return (images.float().flatten(1) - self.mean) @ self.directions.T

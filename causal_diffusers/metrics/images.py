r"""How far are generated images from real ones, seen through the eyes of a network?

With features $\phi(\text{image})$ of any network, the Fréchet distance between the
Gaussians that have their means and covariances,

$$ \mathrm{FID} = \|\mu_x - \mu_y\|^2 + \operatorname{tr}
   \big(\Sigma_x + \Sigma_y - 2 (\Sigma_x \Sigma_y)^{1/2}\big) , $$

and the kernel distance: $\mathrm{MMD}^2$ without bias, under
$k(a, b) = (a \cdot b / d + 1)^3$. The published figures take $\phi$ from Inception v3;
figures are comparable only under one $\phi$ and, for the biased FID, one number of
images. The floor is what a second sample of the real images would score: both sides
drawn anew from the real ones, in the numbers given.

References:
    GANs trained by a two time-scale update rule converge to a local Nash equilibrium
    (Heusel, Ramsauer, Unterthiner, Nessler & Hochreiter, 2017), Eq. 6.
    Demystifying MMD GANs (Bińkowski, Sutherland, Arbel & Gretton, 2018), Sec. 4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from causal_diffusers.metrics.distance import SamplingFloor
from causal_diffusers.metrics.kernel import unbiased_mmd

__all__ = ["ImageDistance", "extract_features", "frechet_distance", "kernel_distance"]


@dataclasses.dataclass(frozen=True)
class ImageDistance:
    """A distance between two samples of images, beside its floor.

    Arguments:
        value: The distance.
        floor: What a second sample of the real images scores.

    Example:
        >>> print(ImageDistance(12.3, SamplingFloor(3.9, 4.4)))
        12.300 (real images: 3.900 on average, below 4.400 in 95 runs of 100)
    """

    value: float
    floor: SamplingFloor

    def __str__(self) -> str:
        """Write the distance and its floor."""
        return f"{self.value:.3f} (real images: {self.floor})"


@torch.no_grad()
def extract_features(
    images: Tensor, network: Callable[[Tensor], Tensor], *, batch_size: int = 256
) -> Tensor:
    """Look at images through a network.

    Arguments:
        images: What the network takes, with shape (N, C, H, W).
        network: Any function to features, such as the last hidden layer of a classifier.
        batch_size: How many images it sees at once.

    Returns:
        Features with shape (N, d).

    Example:
        >>> extract_features(torch.zeros(5, 1, 8, 8), lambda x: x.mean(dim=(2, 3))).shape
        torch.Size([5, 1])
    """
    return torch.cat([network(part).flatten(1).cpu() for part in images.split(batch_size)])


def frechet_distance(
    real: Tensor, generated: Tensor, *, generator: torch.Generator, repeats: int = 20
) -> ImageDistance:
    """Measure the Fréchet distance (FID) between two samples of features.

    References:
        Heusel et al. (2017), Eq. 6.

    Arguments:
        real: Features of real images, with shape (m, d), m at least 2.
        generated: Features of generated images, with shape (n, d), n at least 2.
        generator: The source of randomness of the floor.
        repeats: How often the floor is simulated.

    Returns:
        The distance and its floor. Below a few times d images, the covariances, and so
        both numbers, are poor.

    Raises:
        ValueError: If the samples differ in d, or one has fewer than two rows.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> real, made = torch.randn(2, 500, 3, generator=generator)
        >>> distance = frechet_distance(real, made + 1, generator=generator)
        >>> 2 < distance.value < 4, distance.floor.upper < 0.2
        (True, True)
    """
    return _beside_floor(_frechet, real, generated, generator, repeats)


def kernel_distance(
    real: Tensor, generated: Tensor, *, generator: torch.Generator, repeats: int = 20
) -> ImageDistance:
    """Measure the kernel distance (KID) between two samples of features.

    All images enter at once; some publications average over subsets instead, which has
    the same mean and more noise.

    References:
        Bińkowski et al. (2018), Sec. 4.

    Arguments:
        real: Features of real images, with shape (m, d), m at least 2.
        generated: Features of generated images, with shape (n, d), n at least 2.
        generator: The source of randomness of the floor.
        repeats: How often the floor is simulated.

    Returns:
        The distance and its floor; without bias, so near zero for equal distributions.

    Raises:
        ValueError: If the samples differ in d, or one has fewer than two rows.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> real, made = torch.randn(2, 300, 3, generator=generator)
        >>> distance = kernel_distance(real, made + 1, generator=generator)
        >>> distance.value > distance.floor.upper
        True
    """
    return _beside_floor(_kernel, real, generated, generator, repeats)


def _frechet(x: Tensor, y: Tensor) -> float:
    covariances = x.T.cov(), y.T.cov()
    a, b = (torch.atleast_2d(covariance) for covariance in covariances)
    # tr (ab)^{1/2} = tr (r b r)^{1/2} with r = a^{1/2}, and r b r is symmetric
    values, vectors = torch.linalg.eigh(a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    mixed = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    apart = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    return (apart + a.trace() + b.trace() - 2 * mixed).item()


def _kernel(x: Tensor, y: Tensor) -> float:
    z = torch.cat([x, y])
    return unbiased_mmd((z @ z.T / z.shape[1] + 1) ** 3, len(x)).item()


def _beside_floor(
    distance: Callable[[Tensor, Tensor], float],
    real: Tensor,
    generated: Tensor,
    generator: torch.Generator,
    repeats: int,
) -> ImageDistance:
    if repeats < 1:
        raise ValueError(f"`repeats` must be at least 1: got {repeats}.")
    shapes = tuple(real.shape), tuple(generated.shape)
    is_matrix = all(len(shape) == 2 and shape[0] > 1 for shape in shapes)
    if not is_matrix or shapes[0][1] != shapes[1][1]:
        raise ValueError(
            "`real` and `generated` are features with shapes (m, d) and (n, d), two rows at "
            f"least: got {shapes[0]} and {shapes[1]}. `extract_features` makes them of images."
        )
    x, y = (sample.detach().cpu().double() for sample in (real, generated))

    def again() -> float:
        rows = (torch.randint(len(x), (len(z),), generator=generator) for z in (x, y))
        return distance(*(x[index] for index in rows))

    floor = SamplingFloor.of(torch.tensor([again() for _ in range(repeats)]))
    return ImageDistance(distance(x, y), floor)

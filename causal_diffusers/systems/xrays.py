r"""A chest X-ray between a label and its confounded consequence, half real, half drawn.

The X-rays are real and carry one label, $K$, normal or pneumonia; all else is drawn:

$$ U \sim \mathrm{Bernoulli}(1/2), \quad P(C = 1 \mid U) = (.2, .8), \quad
   P(K = C) = \tfrac34, $$
$$ X \sim \text{the X-rays of class } K, \quad
   P(N = 1 \mid X, U) = \sigma\big(20\,(t(X) - m) + 4\,(U - \tfrac12)\big) , $$

where $t$ is the darkness of the lungs, one minus the mean of the pixels in two fixed
fields, and $m$ its median. The graph is $C \to X \to N$ with $C \leftrightarrow N$; as
$K$ differs from $C$ now and then, an X-ray does not give $C$ away, and the front-door
has data to stand on. The confounder is stronger than the cause and points the other
way: $N$ is *likelier* given $C = 1$ and *less* likely under $do(C = 1)$.

The names stand for nothing clinical, and no conclusion about patients follows.

References:
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 5 (chest X-rays).
    MedMNIST v2 (Yang et al., 2023): PneumoniaMNIST (CC BY 4.0).
"""

from __future__ import annotations

import functools
import os
from typing import final

import numpy as np
import torch
from torch import Tensor

from causal_diffusers.graphs import ADMG
from causal_diffusers.systems.files import VARIABLE, find_file

__all__ = ["ChestXrays", "lung_darkness"]

SLOPE, CONFOUNDING = 20.0, 4.0
ROWS, FIELDS = slice(7, 21), (slice(4, 11), slice(17, 24))  # of 28x28 pixels
WAY_OUT = (
    "Download `pneumoniamnist.npz` (28x28) of MedMNIST into a folder, and pass the folder or set "
    f"`{VARIABLE}` to it."
)


def lung_darkness(images: Tensor) -> Tensor:
    """Compute $t(X)$, one minus the mean of the pixels in the two fields of the lungs.

    Arguments:
        images: The X-rays, with shape (B, 1, 28, 28), in [0, 1].

    Returns:
        The darkness, with shape (B,), in [0, 1].

    Example:
        >>> lung_darkness(torch.stack([torch.zeros(1, 28, 28), torch.ones(1, 28, 28)])).tolist()
        [1.0, 0.0]
    """
    left, right = (images[:, 0, ROWS, columns] for columns in FIELDS)
    return 1 - (left.mean(dim=(1, 2)) + right.mean(dim=(1, 2))) / 2


@functools.lru_cache(maxsize=4)
def _load(source: str | os.PathLike[str] | None) -> tuple[Tensor, Tensor, Tensor]:
    """Load images (M, 1, 28, 28) in [0, 1], their classes, and which are held out."""
    with np.load(find_file("pneumoniamnist*.npz", source, WAY_OUT)) as file:
        parts = ("train", "val", "test")
        images = np.concatenate([file[f"{part}_images"] for part in parts])
        labels = np.concatenate([file[f"{part}_labels"][:, 0] for part in parts])
        held_out = len(file["test_labels"])
    is_held_out = torch.arange(len(labels)) >= len(labels) - held_out
    pixels = torch.from_numpy(images)[:, None].float() / 255
    return pixels, torch.from_numpy(labels.astype(np.int64)), is_held_out


@final
class ChestXrays:
    r"""The system above, with its truth.

    The test images of PneumoniaMNIST are held out. Rows show the others, and the truth is
    a sum over those: the two parts come from different years and differ.

    Arguments:
        source: The file of PneumoniaMNIST or its folder; see `find_file`.
        agreement: The probability that the class of the X-ray is $C$, in [0, 1].

    Raises:
        FileNotFoundError: If the X-rays are found nowhere; it says how to get them.
        ValueError: If `agreement` is not a probability.

    Example:
        >>> print(ChestXrays.graph)
        C -> X; X -> N; C <-> N
    """

    graph = ADMG.parse("C -> X -> N; C <-> N")

    def __init__(
        self, source: str | os.PathLike[str] | None = None, *, agreement: float = 0.75
    ) -> None:
        if not 0 <= agreement <= 1:
            raise ValueError(f"`agreement` is a probability in [0, 1]: got {agreement}.")
        self.images, self.classes, self.held_out = _load(source)
        self.median = lung_darkness(self.images[~self.held_out]).median()
        self.by_confounder = torch.tensor([[0.8, 0.2], [0.2, 0.8]])  # P(c | u)
        other = 1 - agreement
        self.by_label = torch.tensor([[agreement, other], [other, agreement]])  # P(k | c)

    def consequence(self, images: Tensor) -> Tensor:
        """Compute $P(N = 1 | X, U)$ for both values of $U$.

        Arguments:
            images: The X-rays, with shape (B, 1, 28, 28), in [0, 1].

        Returns:
            Probabilities with shape (B, 2), a column per value of $U$.
        """
        score = SLOPE * (lung_darkness(images) - self.median)[:, None]
        return torch.sigmoid(score + CONFOUNDING * (torch.tensor([0.0, 1.0]) - 0.5))

    def sample(self, num_samples: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw rows of $(C, X, N)$; $U$ and $K$ stay hidden.

        Arguments:
            num_samples: The number of rows.
            generator: The source of randomness.

        Returns:
            `C` and `N` in {0, 1} with shape (num_samples,), and `X` with shape
            (num_samples, 1, 28, 28), in [0, 1].
        """
        u = torch.randint(2, (num_samples,), generator=generator)
        c = torch.multinomial(self.by_confounder[u], 1, generator=generator)[:, 0]
        k = torch.multinomial(self.by_label[c], 1, generator=generator)[:, 0]
        numbers = [(~self.held_out & (self.classes == value)).nonzero()[:, 0] for value in (0, 1)]
        share = torch.rand(num_samples, generator=generator, dtype=torch.float64)
        normal, ill = (n[(share * len(n)).long()] for n in numbers)
        images = self.images[torch.where(k == 1, ill, normal)]
        p = self.consequence(images).gather(1, u[:, None])[:, 0]
        return {"C": c, "X": images, "N": torch.bernoulli(p, generator=generator).long()}

    def under_do(self) -> Tensor:
        """Enumerate $P(N = 1 | do(C = c))$.

        Returns:
            The truth for both values, with shape (2,).
        """
        return self.by_label @ self._consequence_by_class().mean(dim=1)

    def given(self) -> Tensor:
        """Enumerate the naive $P(N = 1 | C = c)$.

        Returns:
            The conditional for both values, with shape (2,).
        """
        posterior = self.by_confounder / self.by_confounder.sum(dim=0)  # P(u | c), (2, 2)
        return torch.einsum("uc,ck,ku->c", posterior, self.by_label, self._consequence_by_class())

    def under_do_image(self, images: Tensor) -> Tensor:
        r"""Enumerate $P(N = 1 | do(X = x)) = \frac12 \sum_u P(N = 1 | x, u)$.

        Arguments:
            images: The X-rays x, with shape (B, 1, 28, 28), in [0, 1].

        Returns:
            The truth for each, with shape (B,).
        """
        return self.consequence(images).mean(dim=1)

    def given_image(self, images: Tensor, classes: Tensor) -> Tensor:
        """Enumerate the naive $P(N = 1 | X = x)$ for X-rays of known class.

        Arguments:
            images: The X-rays x, with shape (B, 1, 28, 28), in [0, 1].
            classes: The class of each, with shape (B,).

        Returns:
            The conditional for each, with shape (B,).
        """
        joint = 0.5 * self.by_confounder @ self.by_label  # P(u, k)
        posterior = (joint / joint.sum(dim=0)).T[classes]
        return (posterior * self.consequence(images)).sum(dim=1)

    def _consequence_by_class(self) -> Tensor:
        """Average $P(N = 1 | X, u)$ over the X-rays of each class, with shape (2, 2)."""
        seen = ~self.held_out
        shown = torch.nn.functional.one_hot(self.classes[seen], 2).float()
        return (shown.T @ self.consequence(self.images[seen])) / shown.sum(dim=0)[:, None]

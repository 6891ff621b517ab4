r"""Apple leaves on a painted background: a class and an attribute that only seem related.

A leaf is healthy or diseased, $C$, and somebody photographed it on earth or against the
sky, $B$. The two share a hidden cause, and both show in the image:

$$ U \sim \mathrm{Bernoulli}(1/2), \quad C = U, \quad
   B = U \text{ with probability } a, \text{ else } 1 - U . $$

In the biased domain $a = .95$; in the shifted one $a = .05$, so that whoever reads the
background instead of the leaf is wrong there. The graph is $C \to I \leftarrow B$ with
$C \leftrightarrow B$: under $do(C), do(B)$ the two are set apart, and a classifier
trained on such images has no background to lean on.

The leaves are real, cut out of their photographs; what is painted is the background, so
that the same leaf can be seen on both.

References:
    Counterfactual generative networks (Sauer & Geiger, 2021), Sec. 4 (invariant
    classifiers from interventional images).
    Modular learning of deep causal generative models for high-dimensional causal
    inference (Rahman & Kocaoglu, 2024), Sec. 5 (invariant prediction).
    An open access repository of images on plant health (Hughes & Salathé, 2015): leaves
    segmented on black (CC BY-SA 3.0).
"""

from __future__ import annotations

import functools
import os
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d

from causal_diffusers.graphs import ADMG
from causal_diffusers.systems.files import VARIABLE, find_file

__all__ = ["AppleLeaves", "find_background", "group_shares", "paint"]

SIZE, BIASED, SHIFTED = 32, 0.95, 0.05
CLASSES, GROUNDS = ("healthy", "diseased"), ("earth", "sky")
PAINT = torch.tensor([[0.55, 0.35, 0.25], [0.30, 0.55, 0.80]])  # earth, sky
BLACK = 0.12  # brighter than this is leaf
WAY_OUT = (
    "Put `plantvillage_apple64.npz` into a folder, with `images` (N, 64, 64, 3), `label` among "
    f"`classes` and `is_test`, and pass the folder or set `{VARIABLE}` to it; the leaves are the "
    "segmented apples of PlantVillage (github.com/spMohanty/PlantVillage-Dataset)."
)


def find_background(images: Tensor) -> Tensor:
    """Find the black that can be reached from the border.

    Arguments:
        images: Leaves on black, with shape (N, 3, H, W), in [0, 1].

    Returns:
        1 where there is background and 0 elsewhere, with shape (N, 1, H, W).

    Example:
        >>> leaf = torch.zeros(1, 3, 5, 5); leaf[..., 1:4, 1:4] = 1; leaf[..., 2, 2] = 0
        >>> int(find_background(leaf).sum())  # the ring, not the black hole in the leaf
        16
    """
    dark = (images.amax(dim=1, keepdim=True) < BLACK).float()
    inner = torch.ones_like(dark[..., 1:-1, 1:-1])
    reached = dark * (1 - torch.nn.functional.pad(inner, (1, 1, 1, 1)))
    while True:
        further = max_pool2d(reached, 3, 1, 1) * dark
        if torch.equal(further, reached):
            return reached
        reached = further


def paint(leaves: Tensor, background: Tensor, grounds: Tensor) -> Tensor:
    """Paint the background of leaves.

    Arguments:
        leaves: The leaves, with shape (N, 3, H, W), in [0, 1].
        background: How much of each pixel is background, with shape (N, 1, H, W).
        grounds: 0 for earth and 1 for sky, with shape (N,).

    Returns:
        Images with shape (N, 3, H, W), in [0, 1].

    Example:
        >>> leaf = torch.zeros(1, 3, 4, 4)
        >>> sky = paint(leaf, torch.ones(1, 1, 4, 4), torch.tensor([1]))
        >>> bool(sky[0, 2].mean() > sky[0, 0].mean())
        True
    """
    return leaves * (1 - background) + PAINT[grounds][:, :, None, None] * background


@functools.lru_cache(maxsize=4)
def _load(source: str | os.PathLike[str] | None, kind: str) -> tuple[Tensor, ...]:
    """Load leaves, backgrounds, classes and who is held out, of healthy ones and a kind."""
    with np.load(find_file("plantvillage_apple*.npz", source, WAY_OUT)) as file:
        names = [name.rpartition("___")[2] for name in file["classes"].tolist()]
        if kind not in names or "healthy" not in names:
            raise ValueError(f"`disease` is one of {names}, beside the healthy: got {kind!r}.")
        label = file["label"].astype(np.int64)
        wanted = np.isin(label, [names.index("healthy"), names.index(kind)])
        pixels = torch.from_numpy(file["images"][wanted]).permute(0, 3, 1, 2).float() / 255
        diseased = torch.from_numpy((label[wanted] == names.index(kind)).astype(np.int64))
        held_out = torch.from_numpy(file["is_test"][wanted].astype(bool))
    background = find_background(pixels)
    small = (adaptive_avg_pool2d(part, SIZE) for part in (pixels, background))
    return *small, diseased, held_out


@final
class AppleLeaves:
    r"""The system above: real leaves, in a biased domain and in a shifted one.

    Rows show training leaves only, also mirrored; `shifted` shows held-out ones.

    Arguments:
        source: The file of the leaves or its folder; see `find_file`.
        disease: What the diseased leaves have, as the file calls it.

    Raises:
        FileNotFoundError: If the leaves are found nowhere; it says how to get them.
        ValueError: If the file knows no such disease.

    Example:
        >>> print(AppleLeaves.graph)
        C -> I; B -> I; C <-> B
    """

    graph = ADMG.parse("C -> I <- B; C <-> B")

    def __init__(
        self, source: str | os.PathLike[str] | None = None, *, disease: str = "Cedar_apple_rust"
    ) -> None:
        self.leaves, self.background, self.diseased, self.held_out = _load(source, disease)

    def sample(
        self, num_samples: int, *, agreement: float = BIASED, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Draw rows of the biased domain from training leaves; $U$ stays hidden.

        Arguments:
            num_samples: The number of rows N.
            agreement: The probability $a$, in [0, 1].
            generator: The source of randomness.

        Returns:
            `C` and `B` in {0, 1} with shape (N,), and `I` with shape (N, 3, 32, 32).
        """
        diseased = torch.randint(2, (num_samples,), generator=generator)
        agree = torch.rand(num_samples, generator=generator) < agreement
        ground = torch.where(agree, diseased, 1 - diseased)
        leaf = self._draw(diseased, generator)
        images = paint(self.leaves[leaf], self.background[leaf], ground)
        mirrored = torch.rand(num_samples, generator=generator) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        return {"C": diseased, "B": ground, "I": images}

    def groups(self) -> dict[tuple[str, str], Tensor]:
        """Give the held-out leaves of each class on each ground.

        Returns:
            Images with shape (N, 3, 32, 32), by class and ground. The shifted domain
            mixes them with the weights of `group_shares`.
        """
        result = {}
        for c, b in ((c, b) for c in (0, 1) for b in (0, 1)):
            mine = self.held_out & (self.diseased == c)
            ground = torch.full((int(mine.sum()),), b)
            painted = paint(self.leaves[mine], self.background[mine], ground)
            result[CLASSES[c], GROUNDS[b]] = painted
        return result

    def _draw(self, diseased: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the number of a training leaf of each class."""
        numbers = [(~self.held_out & (self.diseased == c)).nonzero()[:, 0] for c in (0, 1)]
        share = torch.rand(len(diseased), generator=generator, dtype=torch.float64)
        healthy, sick = (n[(share * len(n)).long()] for n in numbers)
        return torch.where(diseased == 1, sick, healthy)


def group_shares(agreement: float = SHIFTED) -> dict[tuple[str, str], float]:
    """Say how often each group occurs in a domain.

    Arguments:
        agreement: The probability $a$ of the domain, in [0, 1]; by default the shifted one.

    Returns:
        The shares by class and ground.

    Example:
        >>> shares = group_shares()
        >>> shares["healthy", "sky"] > shares["healthy", "earth"]
        True
    """
    return {
        (CLASSES[c], GROUNDS[b]): (agreement if c == b else 1 - agreement) / 2
        for c in (0, 1)
        for b in (0, 1)
    }

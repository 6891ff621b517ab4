r"""What does an image, or another value that cannot be counted, tell of the labels beside it?

The generalised propensity score $p(b \mid x)$ of a configuration $b$ of categorical
variables, given values $x$ that rarely occur twice. It is estimated by a small network
on a coarse copy of $x$, cross-fitted: no row is judged by a network that saw it, nor one
that saw another row with the same $x$. Each network is then tempered and mixed with the
marginal, $(1 - \epsilon) \, p^{1/T} / Z + \epsilon \, p(b)$, with $T$ and $\epsilon$
chosen on rows put aside, for a network that is sure of what it memorised would see
missing support everywhere.

References:
    The role of the propensity score in estimating dose-response functions (Imbens, 2000).
    Double/debiased machine learning for treatment and structural parameters
    (Chernozhukov et al., 2018), Sec. 3 (cross-fitting).
    On calibration of modern neural networks (Guo, Pleiss, Sun & Weinberger, 2017), Sec. 4.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, nll_loss

from causal_diffusers.seeding import spawn

__all__ = ["Reader", "coarse_features", "folds_of", "propensities", "shrunk", "train_reader"]

Reader = Callable[[Tensor], Tensor]  # features (N, d) to probabilities (N, K)

_SIDE, _WIDTH = 16, 128
_EPOCHS, _BATCH, _RATE = 30, 128, 2e-3
_TEMPERATURES = (0.7, 1.0, 1.4, 2.0, 3.0)
_MIXTURES = (0.0, 1e-3, 1e-2, 0.05, 0.2, 0.5, 1.0)


def coarse_features(values: Tensor) -> Tensor:
    """Flatten values, images at no more than 16 x 16 pixels.

    Arguments:
        values: Encoded values, with shape (N, *shape).

    Returns:
        Features with shape (N, d), each with mean 0 and, unless it is constant, deviation 1.

    Example:
        >>> coarse_features(torch.zeros(3, 1, 64, 64)).shape
        torch.Size([3, 256])
    """
    flat = shrunk(values)
    return (flat - flat.mean(dim=0)) / flat.std(dim=0, correction=0).clamp(min=1e-3)


def shrunk(values: Tensor) -> Tensor:
    """Flatten values, images at no more than 16 x 16 pixels, row by row.

    Arguments:
        values: Encoded values, with shape (N, *shape).

    Returns:
        Rows of numbers, with shape (N, d).

    Example:
        >>> shrunk(torch.zeros(3, 1, 64, 64)).shape
        torch.Size([3, 256])
    """
    values = values.float()
    if values.dim() == 4:
        height, width = (min(side, _SIDE) for side in values.shape[2:])
        values = adaptive_avg_pool2d(values, (height, width))
    return values.flatten(1) if values.dim() > 1 else values[:, None]


def propensities(features: Tensor, classes: Tensor, num_classes: int, *, seed: int = 0) -> Tensor:
    """Estimate the probability of each class given the features of each row.

    Arguments:
        features: What is seen of each row, with shape (N, d).
        classes: The class of each row, integers in 0..K-1 with shape (N,).
        num_classes: K.
        seed: Where the folds and the initial weights come from.

    Returns:
        Cross-fitted probabilities with shape (N, K).

    Example:
        >>> x = torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
        >>> p = propensities(x, (x[:, 0] > 0).long(), 2)
        >>> p.shape, bool(p[x[:, 0] > 1, 1].mean() > 0.9)
        (torch.Size([400, 2]), True)
    """
    fold = folds_of(features, seed)
    result = torch.empty(len(features), num_classes)
    for held in range(2):
        own = fold == held
        reader = train_reader(features[~own], classes[~own], num_classes, seed=seed)
        result[own] = reader(features[own])
    return result


def train_reader(features: Tensor, classes: Tensor, num_classes: int, *, seed: int = 0) -> Reader:
    """Train a calibrated network that reads classes from features.

    Arguments:
        features: What is seen of each row, with shape (N, d).
        classes: The class of each row, integers in 0..K-1 with shape (N,).
        num_classes: K.
        seed: Where its initial weights come from, and which rows it is calibrated on.

    Returns:
        A function of features (M, d) that gives probabilities (M, K).

    Example:
        >>> x = torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
        >>> reader = train_reader(x, (x[:, 0] > 0).long(), 2)
        >>> reader(torch.tensor([[-2.0], [2.0]])).argmax(dim=1).tolist()
        [0, 1]
    """
    fit, check = _split(features, seed)
    counts = torch.bincount(classes, minlength=num_classes).float() + 0.5
    prior = counts / counts.sum()
    network = _fit(features, classes, fit, check, num_classes, seed)
    with torch.no_grad():
        temper = _calibrated(network(features[check]), classes[check], prior)

    @torch.no_grad()
    def read(seen: Tensor) -> Tensor:
        return _mixed(network(seen), prior, *temper)

    return read


def folds_of(features: Tensor, seed: int) -> Tensor:
    """Deal the rows into two folds, equal ones into the same.

    Arguments:
        features: What is seen of each row, with shape (N, d).
        seed: Where the folds come from.

    Returns:
        The fold of each row, 0 or 1, with shape (N,).

    Example:
        >>> one, two, three, four = folds_of(torch.tensor([[1.0], [2.0], [2.0], [1.0]]), 0)
        >>> bool(one == four), bool(two == three), bool(one == two)
        (True, True, False)
    """
    same = features.unique(dim=0, return_inverse=True)[1]
    dealt = torch.randperm(int(same.max()) + 1, generator=spawn(seed, "folds"))
    return dealt[same] % 2


def _split(features: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Put a fifth of the distinct rows aside."""
    same = features.unique(dim=0, return_inverse=True)[1]
    dealt = torch.randperm(int(same.max()) + 1, generator=spawn(seed, "aside"))[same]
    rows, aside = torch.arange(len(features)), dealt % 5 == 0
    return (rows[~aside], rows[aside]) if int(same.max()) >= 5 else (rows, rows)


@torch.enable_grad()
def _fit(
    features: Tensor, classes: Tensor, fit: Tensor, check: Tensor, num_classes: int, seed: int
) -> nn.Module:
    """Train a network, and keep it as it was when it was best on the rows put aside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(features.shape[1], _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, num_classes)
        )
    adam = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-2)
    generator = spawn(seed, "batches")
    best, kept, waited = float("inf"), {}, 0
    for _ in range(_EPOCHS):
        for batch in fit[torch.randperm(len(fit), generator=generator)].split(_BATCH):
            loss = nn.functional.cross_entropy(network(features[batch]), classes[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
        with torch.no_grad():
            score = nn.functional.cross_entropy(network(features[check]), classes[check]).item()
        waited += 1
        if score < best:
            best, waited = score, 0
            kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        if waited == 4:
            break
    network.load_state_dict(kept)
    return network


def _calibrated(logits: Tensor, classes: Tensor, prior: Tensor) -> tuple[float, float]:
    """Choose temperature and mixture by the likelihood of rows put aside."""

    def loss(pair: tuple[float, float]) -> float:
        return nll_loss(_mixed(logits, prior, *pair).clamp(min=1e-12).log(), classes).item()

    return min(itertools.product(_TEMPERATURES, _MIXTURES), key=loss)


def _mixed(logits: Tensor, prior: Tensor, temperature: float, share: float) -> Tensor:
    return (1 - share) * (logits / temperature).softmax(dim=1) + share * prior

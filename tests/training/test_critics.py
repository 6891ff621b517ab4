"""The critic's penalty by hand, and its view of images."""

import pytest
import torch

from causal_diffusers import Image
from causal_diffusers.training.critics import Critic, PrincipalComponents, gradient_penalty


class Quadratic(torch.nn.Module):
    """f(s, p) = s' A s / 2 + (b' p)(1' s), whose gradient in s is A s + (b' p) 1."""

    def __init__(self, generator):
        super().__init__()
        half = torch.randn(3, 3, generator=generator, dtype=torch.float64)
        self.A = torch.nn.Parameter(half + half.T)
        self.b = torch.nn.Parameter(torch.randn(2, generator=generator, dtype=torch.float64))

    def forward(self, parts):
        s, p = parts["s"], parts["p"]
        return 0.5 * ((s @ self.A) * s).sum(1) + (p @ self.b) * s.sum(1)


def rows(generator, size=4):
    draw = {"s": 3, "p": 2}
    return {
        n: torch.randn(size, k, generator=generator, dtype=torch.float64) for n, k in draw.items()
    }


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_the_penalty_by_hand(target, generator):
    critic, real = Quadratic(generator), rows(generator)
    fake = {**rows(generator), "p": real["p"]}
    share = torch.rand(4, generator=generator, dtype=torch.float64)
    found = gradient_penalty(critic, real, fake, share, ["s"], target)
    between = share[:, None] * real["s"] + (1 - share[:, None]) * fake["s"]
    shift = (real["p"] @ critic.b.detach())[:, None]
    slope = between @ critic.A.detach() + shift  # A is symmetric
    expected = (slope.square().sum(1).sqrt() - target) ** 2
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_the_gradient_of_the_penalty_by_hand(target, generator):
    r"""d/db of (|g| - t)^2 with g = A s + (b' p) 1 is 2 (|g| - t) / |g| (1' g) p."""
    critic, real = Quadratic(generator), rows(generator)
    fake = {**rows(generator), "p": real["p"]}
    share = torch.zeros(4, dtype=torch.float64)  # at the samples
    gradient_penalty(critic, real, fake, share, ["s"], target).sum().backward()
    shift = (real["p"] @ critic.b.detach())[:, None]
    slope = fake["s"] @ critic.A.detach() + shift
    norm = slope.square().sum(1).sqrt()
    weight = 2 * (norm - target) / norm * slope.sum(1)
    torch.testing.assert_close(critic.b.grad, weight @ real["p"], rtol=1e-6, atol=1e-6)


def test_what_is_clamped_is_not_penalised(generator):
    """A critic may change with the parents as fast as it likes."""
    real = {name: part.float() for name, part in rows(generator).items()}
    fake = {**real, "s": real["s"] + 1}

    def steep(parts):
        return 1000 * parts["p"].sum(1) + parts["s"][:, 0]

    penalty = gradient_penalty(steep, real, fake, torch.rand(4), ["s"], slope=1.0)
    torch.testing.assert_close(penalty, torch.zeros(4), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 12)])
def test_an_image_that_is_trained_is_read_and_penalised(shape, generator):
    critic = Critic({"X": 2}, {"items": Image(*shape)}, width=8)
    real = {"X": torch.rand(4, 2), "items": torch.rand(4, *shape, generator=generator)}
    fake = {**real, "items": torch.rand(4, *shape, generator=generator)}
    gradient_penalty(critic, real, fake, torch.rand(4), ["items"]).sum().backward()
    reached = [p.grad is not None and p.grad.abs().sum() > 0 for p in critic.readers.parameters()]
    assert any(reached)


def test_the_critic_computes_in_single_precision():
    critic = Critic({"X": 2}, {})
    with torch.autocast("cpu", torch.bfloat16):
        assert critic({"X": torch.rand(3, 2)}).dtype == torch.float32


def test_components_are_those_of_the_covariance(generator):
    mix = torch.randn(12, 12, generator=generator)
    images = (torch.randn(200, 12, generator=generator) @ mix).view(200, 3, 2, 2)
    view = PrincipalComponents(images, components=4)
    features = view(images)
    assert features.shape == (200, 4) == (200, view.features)
    torch.testing.assert_close(features.T.cov(), torch.eye(4), rtol=1e-3, atol=1e-3)
    # of the whitened projection P: P C P' = 1, and P spans the first eigenvectors of C
    values, vectors = torch.linalg.eigh(images.flatten(1).T.cov())
    first = vectors[:, -4:]
    outside = view.directions - view.directions @ first @ first.T
    assert outside.norm() < 1e-3 * view.directions.norm()
    assert values[-4:].min() > 0


def test_images_that_do_not_vary_have_no_components():
    view = PrincipalComponents(torch.ones(5, 1, 4, 4), components=4)
    assert view(torch.ones(2, 1, 4, 4)).shape == (2, 0)

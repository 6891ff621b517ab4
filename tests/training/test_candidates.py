"""Means of what a noised image may have been, against the sum written out."""

import math

import pytest
import torch

from causal_diffusers.training.candidates import HIDDEN, Candidates


def posterior_mean(x_t, alpha_bar, images):
    """Bayes' rule for one noised image, in double precision."""
    noise = torch.distributions.Normal(
        math.sqrt(alpha_bar) * images.double(), math.sqrt(1 - alpha_bar)
    )
    weights = noise.log_prob(x_t.double()).flatten(1).sum(dim=1).softmax(dim=0)
    return (weights.view(-1, *[1] * (images.dim() - 1)) * images.double()).sum(dim=0)


def test_the_mean_is_that_of_bayes_rule(generator):
    for shape in ((3,), (2, 2, 1), (1, 3, 2)):
        x_0 = 5 + torch.randn(40, *shape, generator=generator)
        keys = torch.randint(3, (40,), generator=generator)
        mine = torch.randint(40, (12,), generator=generator)
        asked = keys[mine].masked_fill(torch.rand(12, generator=generator) < 0.3, HIDDEN)
        alpha_bar = torch.rand(12, generator=generator)
        wide, own = alpha_bar.view(-1, *[1] * len(shape)), x_0[mine]
        x_t = wide.sqrt() * own + (1 - wide).sqrt() * torch.randn(own.shape, generator=generator)
        mean = Candidates(x_0, keys).mean(x_t, alpha_bar, own, asked)
        for i, key in enumerate(asked.tolist()):
            images = x_0 if key == HIDDEN else x_0[keys == key]
            truth = posterior_mean(x_t[i], alpha_bar[i].item(), images)
            torch.testing.assert_close(mean[i].double(), truth, rtol=1e-4, atol=1e-4)


def test_a_configuration_without_candidates_is_the_image_itself(generator):
    x_0 = torch.randn(5, 4, generator=generator)
    candidates = Candidates(torch.randn(9, 4, generator=generator), torch.zeros(9).long())
    x_t, alpha_bar = torch.randn(5, 4, generator=generator), torch.full((5,), 0.5)
    mean = candidates.mean(x_t, alpha_bar, x_0, torch.tensor([7, 7, 0, 7, 7]))
    assert (mean == x_0).all(dim=1).tolist() == [True, True, False, True, True]


def test_bright_images_that_are_nearly_the_same_are_told_apart(generator):
    """Their squares agree in all the digits of single precision that differ between them."""
    x_0 = 0.999 - 1e-3 * torch.rand(8, 30_000, generator=generator)
    x_t = 0.9999**0.5 * x_0 + 1e-2 * torch.randn(x_0.shape, generator=generator)
    mean = Candidates(x_0, torch.zeros(8).long()).mean(
        x_t, torch.full((8,), 0.9999), x_0, torch.zeros(8).long()
    )
    for i in range(8):
        truth = posterior_mean(x_t[i], 0.9999, x_0)
        torch.testing.assert_close(mean[i].double(), truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize("alpha_bar", [0.0, 1 - 1e-7, 1.0])
def test_the_ends_of_the_schedule_are_finite(alpha_bar, generator):
    x_0 = torch.randn(6, 3, generator=generator)
    candidates = Candidates(x_0, torch.zeros(6).long())
    ends = torch.full((6,), alpha_bar)
    x_t = ends[:, None].sqrt() * x_0 + (1 - ends[:, None]).sqrt()
    mean = candidates.mean(x_t, ends, x_0, torch.zeros(6).long())
    expected = x_0.mean(dim=0).expand(6, -1) if alpha_bar == 0 else x_0
    torch.testing.assert_close(mean, expected, rtol=1e-3, atol=1e-3)


def test_weights_are_single_precision_under_autocast(generator):
    x_0 = 10 * torch.randn(50, 8, generator=generator)
    candidates = Candidates(x_0, torch.zeros(50).long())
    alpha_bar, keys = torch.full((50,), 0.9), torch.zeros(50).long()
    x_t = 0.9**0.5 * x_0 + 0.1**0.5 * torch.randn(50, 8, generator=generator)
    alone = candidates.mean(x_t, alpha_bar, x_0, keys)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(candidates.mean(x_t, alpha_bar, x_0, keys), alone)

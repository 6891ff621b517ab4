"""Cross-fitted propensities: right where they can be known, and not fooled by memory."""

import pytest
import torch

from causal_diffusers.metrics.propensity import coarse_features, propensities


def test_they_are_those_of_bayes(generator):
    classes = torch.randint(3, (3000,), generator=generator)
    x = torch.randn(3000, 2, generator=generator) + 1.2 * classes[:, None]
    means = 1.2 * torch.arange(3.0)
    truth = (-0.5 * (x[:, None] - means[:, None]).square().sum(-1)).softmax(dim=1)
    found = propensities(coarse_features(x), classes, 3)
    assert (found - truth).abs().mean() < 0.03
    assert torch.allclose(found.sum(1), torch.ones(3000), atol=1e-5)


def test_noise_tells_nothing(generator):
    classes = torch.randint(4, (600,), generator=generator)
    found = propensities(torch.randn(600, 64, generator=generator), classes, 4)
    assert (found - 0.25).abs().mean() < 0.05  # a network could learn 300 rows by heart


def test_rows_that_occur_again_do_not_judge_themselves(generator):
    few = torch.randn(40, 30, generator=generator)
    which = torch.arange(800) % 40
    classes = torch.randint(2, (40,), generator=generator)[which]  # a fact about each x
    found = propensities(few[which], classes, 2)
    right = found.gather(1, classes[:, None]).mean().item()
    assert right == pytest.approx(0.5, abs=0.15)


def test_a_class_that_one_fold_lacks_is_possible(generator):
    classes = torch.zeros(50, dtype=torch.int64)
    classes[7] = 1
    found = propensities(torch.randn(50, 2, generator=generator), classes, 2)
    assert found.min() > 0


def test_images_become_coarse_and_scalars_columns(generator):
    images = torch.rand(6, 3, 40, 20, generator=generator)
    features = coarse_features(images)
    assert features.shape == (6, 3 * 16 * 16)
    assert torch.allclose(features.mean(0), torch.zeros(768), atol=1e-5)
    assert coarse_features(torch.rand(6, generator=generator)).shape == (6, 1)
    assert torch.equal(coarse_features(torch.ones(4, 2)), torch.zeros(4, 2))

"""MMD by its definition, its p-value by its level and its power."""

import itertools
import math

import pytest
import torch
from sklearn.metrics.pairwise import rbf_kernel

from causal_diffusers.metrics import kernel_two_sample_test, squared_mmd


def by_definition(x, y, kernel):
    """Sum the kernel over all pairs, as the paper writes it."""

    def within(z):
        pairs = list(itertools.permutations(range(len(z)), 2))
        return sum(kernel(z[i], z[j]) for i, j in pairs) / len(pairs)

    across = sum(kernel(a, b) for a, b in itertools.product(x, y)) / (len(x) * len(y))
    return within(x) + within(y) - 2 * across


def test_it_is_its_definition(generator):
    x = torch.randn(6, 3, generator=generator)
    y = torch.randn(9, 3, generator=generator) + 1
    for sigma in (0.5, 2.0):
        expected = by_definition(
            x, y, lambda a, b, s=sigma: math.exp(-(a - b).square().sum().item() / (2 * s**2))
        )
        assert squared_mmd(x, y, bandwidth=sigma).item() == pytest.approx(expected, abs=1e-6)


def test_it_is_that_of_sklearn_with_the_median_distance(generator):
    x, y = torch.randn(2, 40, 5, generator=generator, dtype=torch.float64)
    y = 1.5 * y[:31]
    z = torch.cat([x, y])
    sigma = torch.pdist(z).median().item()
    k = torch.from_numpy(rbf_kernel(z.numpy(), gamma=1 / (2 * sigma**2)))
    xx, yy, xy = k[:40, :40], k[40:, 40:], k[:40, 40:]
    expected = (xx.sum() - 40) / (40 * 39) + (yy.sum() - 31) / (31 * 30) - 2 * xy.mean()
    assert squared_mmd(x, y).item() == pytest.approx(expected.item(), abs=1e-12)


def test_equal_samples_are_rejected_as_often_as_they_should(generator):
    p_values = []
    for _ in range(100):
        x, y = torch.randn(2, 30, 2, generator=generator)
        p_values.append(kernel_two_sample_test(x, y, generator=generator, repeats=49).p_value)
    rejected = sum(p <= 0.1 for p in p_values)
    assert 2 <= rejected <= 20  # binomial(100, .1), beyond 3.3 standard deviations
    assert 0.35 < sum(p_values) / len(p_values) < 0.65


def test_another_spread_is_seen(generator):
    x, y = torch.randn(2, 150, 2, generator=generator)
    test = kernel_two_sample_test(x, 2 * y, generator=generator)
    assert test.p_value < 0.01
    assert test.value > test.floor.upper


def test_images_are_flattened_and_scalars_are_vectors(generator):
    x, y = torch.randn(2, 8, 1, 4, 4, generator=generator)
    assert squared_mmd(x, y) == squared_mmd(x.flatten(1), y.flatten(1))
    assert squared_mmd(x[:, 0, 0, 0], y[:, 0, 0, 0]).shape == ()


def test_one_row_is_refused():
    with pytest.raises(ValueError, match=r"at least two rows each.*\(1, 2\) and \(5, 2\)"):
        squared_mmd(torch.zeros(1, 2), torch.zeros(5, 2))


def test_constant_samples_are_equal(generator):
    test = kernel_two_sample_test(torch.zeros(5, 2), torch.zeros(5, 2), generator=generator)
    assert (test.value, test.p_value) == (0, 1)


def test_samples_of_any_device_are_compared_on_that_of_the_generator(generator, monkeypatch):
    """Without a GPU at hand: what is asked of the samples is that they be moved."""
    moved, move = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda t: moved.append(t) or move(t))
    x, y = torch.randn(2, 5, 3, generator=generator)
    squared_mmd(x, y)
    kernel_two_sample_test(x, y, generator=generator, repeats=2)
    assert [tuple(t.shape) for t in moved] == [(5, 3)] * 4


@pytest.mark.gpu
def test_samples_of_a_gpu(device, generator):
    x, y = torch.randn(2, 20, 3, generator=generator)
    there = squared_mmd(x.to(device), y.to(device))
    assert there.item() == pytest.approx(squared_mmd(x, y).item(), abs=1e-6)
    kernel_two_sample_test(x.to(device), y.to(device), generator=generator, repeats=5)

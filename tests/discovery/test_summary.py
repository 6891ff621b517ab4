"""Moments by numpy, in the unit of the noise, whatever the columns are called."""

import dataclasses

import numpy as np
import pytest
import torch

from causal_diffusers.discovery.summary import TOLD, Summary
from causal_diffusers.systems import LinearFamily


@pytest.fixture
def data(generator):
    return LinearFamily(5, 5, noise="exponential").sample(3, 40, generator=generator).data.double()


FIELDS = [field.name for field in dataclasses.fields(Summary)]


def test_moments_are_those_of_numpy(data):
    found = Summary.of(data)
    for b, X in enumerate(data.numpy()):
        S = np.cov(X.T)
        unit = np.sqrt(S.diagonal().min())
        z = (X - X.mean(axis=0)) / np.sqrt(S.diagonal())
        n = len(X) - 1
        assert found.unit[b].item() == pytest.approx(unit)
        assert found.covariance[b].numpy() == pytest.approx(S / unit**2)
        assert found.third[b].numpy() == pytest.approx((z**2).T @ z / n)
        assert found.fourth[b].numpy() == pytest.approx((z**3).T @ z / n - 3 * np.corrcoef(X.T))
        assert found.count[b].item() == n


def test_a_bend_is_what_a_cubic_explains_beyond_a_line(generator):
    x = torch.randn(5000, generator=generator).double()
    e = torch.randn(5000, generator=generator).double()
    curved = Summary.of(torch.stack([x, x**2 + 0.3 * e], dim=1)[None]).bend[0]
    straight = Summary.of(torch.stack([x, x + 0.3 * e], dim=1)[None]).bend[0]
    assert curved[0, 1] > 0.9
    assert straight.abs().max() < 0.01
    assert 0 <= curved.min() <= curved.max() <= 1


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_a_common_unit_changes_nothing_but_the_unit(data, factor):
    first, second = Summary.of(data), Summary.of(data * factor)
    for field in FIELDS:
        a, b = getattr(first, field), getattr(second, field)
        torch.testing.assert_close(b, a * factor if field == "unit" else a, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(second.features(), first.features(), rtol=1e-7, atol=1e-7)
    told = Summary.of(data * factor, 1.3 * factor)
    torch.testing.assert_close(told.covariance, Summary.of(data, 1.3).covariance)


def test_where_the_columns_begin_changes_nothing(data):
    torch.testing.assert_close(Summary.of(data + 50.0).features(), Summary.of(data).features())


def test_columns_in_another_order_give_the_same_in_that_order(data, generator):
    order = torch.randperm(5, generator=generator)
    first, second = Summary.of(data).features(), Summary.of(data[:, :, order]).features()
    assert first.shape == (3, 5, 5, TOLD - 3)
    torch.testing.assert_close(second, first[:, order][:, :, order])


def test_data_sets_do_not_mix(data):
    together, alone = Summary.of(data).features(), Summary.of(data[1:2]).features()
    torch.testing.assert_close(together[1], alone[0])


def test_a_known_deviation_is_the_unit(data):
    mixed = Summary.of(data, torch.tensor([2.0, torch.nan, 0.5]))
    assert mixed.knows_noise.tolist() == [True, False, True]
    assert mixed.unit[[0, 2]].tolist() == [2.0, 0.5]
    assert mixed.unit[1] == Summary.of(data).unit[1]
    for b, factor in ((0, 2.0), (2, 0.5)):
        torch.testing.assert_close(mixed.covariance[b], torch.cov(data[b].T) / factor**2)
    assert not Summary.of(data).knows_noise.any()
    assert not torch.equal(mixed.features()[0], Summary.of(data).features()[0])


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("d", [2, 7])
def test_few_samples_are_finite(n, d, generator):
    features = Summary.of(torch.randn(4, n, d, generator=generator)).features()
    assert bool(features.isfinite().all())
    assert not features.diagonal(dim1=1, dim2=2).any()

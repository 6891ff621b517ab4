"""Intervals against scipy, and how often they hold the truth."""

import pytest
import torch
from scipy import stats

from causal_diffusers.metrics import Interval, bootstrap_interval, wilson_interval


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (950, 1000)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_wilson_is_that_of_scipy(k, n, level):
    expected = stats.binomtest(k, n).proportion_ci(level, method="wilson")
    interval = wilson_interval(k, n, level=level)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert interval.estimate == k / n


def test_the_bootstrap_is_that_of_scipy(generator):
    sample = torch.randn(200, generator=generator, dtype=torch.float64).exp()
    ours = bootstrap_interval(torch.median, sample, generator=generator, repeats=4000)
    theirs = stats.bootstrap(
        (sample.numpy(),),
        lambda x, axis: torch.from_numpy(x).median(axis).values.numpy(),
        n_resamples=4000,
        method="percentile",
        rng=0,
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.04)


def test_it_holds_the_truth_as_often_as_it_says(generator):
    held = 0
    for _ in range(200):
        x, y = torch.randn(2, 60, generator=generator)
        interval = bootstrap_interval(
            lambda a, b: a.mean() - b.mean(), x, y, generator=generator, repeats=200, level=0.8
        )
        held += 0.0 in interval
    assert 140 <= held <= 180


def test_what_has_no_rows_or_no_level_is_refused(generator):
    with pytest.raises(ValueError, match="at least one row"):
        bootstrap_interval(torch.mean, torch.zeros(0), generator=generator)
    with pytest.raises(ValueError, match="at least one trial: got 3 of 2"):
        wilson_interval(3, 2)
    with pytest.raises(ValueError, match=r"`level` is in \(0, 1\), such as .95: got 95"):
        wilson_interval(1, 2, level=95)


def test_it_prints_as_one_reads_it():
    assert str(Interval(-0.2, -1.0, 12.0)) == "-.200 [-1.000, 12.000]"

"""Total variation by its other definition, the floor by exact enumeration."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from causal_diffusers.metrics import SamplingFloor, sampling_floor, total_variation


@st.composite
def pairs(draw):
    k = draw(st.integers(1, 5))
    raw = st.lists(st.integers(0, 20), min_size=k, max_size=k).filter(any)
    return tuple(torch.tensor(draw(raw), dtype=torch.float64) for _ in "pq")


@given(pairs())
def test_it_is_the_largest_difference_of_an_event(pair):
    p, q = (weights / weights.sum() for weights in pair)
    events = itertools.product([False, True], repeat=len(p))
    worst = max(abs((p - q)[torch.tensor(event)].sum().item()) for event in events)
    assert total_variation(p, q).item() == pytest.approx(worst, abs=1e-12)
    assert torch.equal(total_variation(p, q), total_variation(q, p))


def test_it_broadcasts_over_leading_dimensions():
    q = torch.full((7, 3, 2), 0.5)
    assert total_variation([0.25, 0.75], q).shape == (7, 3)
    assert total_variation([0.25, 0.75], q).unique().tolist() == [0.25]


@pytest.mark.parametrize(
    "bad", [[0.5, 0.6], [-0.5, 1.5], 1.0, [[0.5, 0.5], [1.0, 1.0]], [math.nan, 1]]
)
def test_what_is_no_distribution_is_refused(bad):
    with pytest.raises(ValueError, match="`p` must be probabilities that sum to one"):
        total_variation(bad, [0.5, 0.5])


def test_other_values_are_refused():
    with pytest.raises(ValueError, match="over the same values: got 2 and 3"):
        total_variation([0.5, 0.5], [0.2, 0.3, 0.5])


def compositions(total, parts):
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        yield from ((first, *rest) for rest in compositions(total - first, parts - 1))


def exact_floor(p, n):
    """E TV of the empirical distribution of n draws, over every table of counts."""
    mean = 0.0
    for counts in compositions(n, len(p)):
        ways = math.factorial(n) / math.prod(map(math.factorial, counts))
        weight = ways * math.prod(p_k**c for p_k, c in zip(p, counts, strict=True))
        mean += weight * sum(abs(c / n - p_k) for c, p_k in zip(counts, p, strict=True)) / 2
    return mean


@pytest.mark.parametrize(
    ("p", "n"), [([0.5, 0.5], 4), ([0.1, 0.9], 6), ([0.2, 0.3, 0.5], 5), ([1.0, 0.0], 3)]
)
def test_the_mean_is_that_of_enumeration(p, n, generator):
    floor = sampling_floor(p, n, generator=generator, repeats=20_000)
    assert floor.mean == pytest.approx(exact_floor(p, n), abs=4e-3)


def test_the_worst_of_several_is_that_of_enumeration(generator):
    n, runs = 4, 20_000
    tv = torch.tensor([abs(c / n - 0.5) for c in range(n + 1)])
    weight = torch.tensor([math.comb(n, c) / 2**n for c in range(n + 1)])
    mean = sum(
        weight[i] * weight[j] * max(tv[i], tv[j])
        for i, j in itertools.product(range(n + 1), repeat=2)
    )
    floor = sampling_floor([[0.5, 0.5]] * 2, n, generator=generator, repeats=runs)
    assert floor.mean == pytest.approx(mean.item(), abs=4e-3)


@pytest.mark.parametrize(("k", "n"), [(2, 500), (10, 2000)])
def test_the_formula_is_close(k, n, generator):
    floor = sampling_floor([1 / k] * k, n, generator=generator)
    assert floor.mean == pytest.approx(math.sqrt((k - 1) / (2 * math.pi * n)), rel=0.05)
    assert floor.upper > floor.mean


def test_the_same_generator_gives_the_same_floor():
    floors = {
        sampling_floor([0.3, 0.7], 50, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    }
    assert len(floors) == 1


@pytest.mark.parametrize("options", [{"num_samples": 0}, {"num_samples": 5, "repeats": 0}])
def test_nothing_to_simulate_is_refused(options, generator):
    with pytest.raises(ValueError, match="at least one draw and one repeat"):
        sampling_floor([0.5, 0.5], generator=generator, **options)


def test_a_floor_is_printed_with_its_meaning():
    floor = SamplingFloor.of(torch.linspace(0, 0.1, 101))
    assert str(floor) == ".050 on average, below .095 in 95 runs of 100"

"""Dreams are tasks whose graphs are known, and what is told of them is true."""

import pytest
import torch

from causal_diffusers.discovery.dreams import WidePrior
from causal_diffusers.discovery.edges import pair_probabilities
from discovery.dags import has_cycle

SMALL = WidePrior(most_variables=9, most_samples=40, budget=200)


@pytest.fixture(scope="module")
def dreams():
    generator = torch.Generator().manual_seed(0)
    return [SMALL.dream(generator) for _ in range(80)]


def test_sizes_are_those_of_the_prior(dreams):
    sizes = {(d.tasks.data.shape[2], d.tasks.data.shape[1]) for d in dreams}
    assert {d for d, _ in sizes} == set(range(5, 10))
    assert min(n for _, n in sizes) >= 10
    assert max(n for _, n in sizes) <= 40


def test_what_is_told_is_true(dreams):
    for dream in dreams:
        assert bool((dream.possible | ~dream.tasks.graphs).all())
        assert not dream.possible.diagonal(dim1=1, dim2=2).any()
        assert not any(has_cycle(graph) for graph in dream.tasks.graphs[:5])


def test_all_kinds_of_knowledge_occur(dreams):
    off = [d.possible[0][~torch.eye(len(d.possible[0]), dtype=torch.bool)] for d in dreams]
    shares = torch.tensor([float(each.double().mean()) for each in off])
    assert 0.3 < float((shares == 1).double().mean()) < 0.7
    assert float((shares == 0.5).double().mean()) > 0.02  # an order
    knows = torch.tensor([bool(d.knows_prior[0]) for d in dreams])
    assert 0.5 < float(knows.double().mean()) < 0.9
    noise = torch.tensor([bool(d.summary.knows_noise[0]) for d in dreams])
    assert 0.05 < float(noise.double().mean()) < 0.5


def test_residuals_of_the_weights_are_the_noise(dreams):
    """In whatever unit the columns are."""
    for dream in dreams:
        data, weights = dream.tasks.data.double(), dream.tasks.weights.double()
        residuals = data - data @ weights
        ratio = residuals.std(dim=1) / dream.tasks.deviations
        assert ratio.mean().item() == pytest.approx(1, abs=0.15)


def test_the_unit_is_that_of_the_data(dreams):
    """A known noise is one; otherwise the unit is the least deviation."""
    for dream in dreams:
        least = dream.tasks.data.double().std(dim=1).min(dim=1).values
        told = torch.where(dream.summary.knows_noise, 1.0, least)
        torch.testing.assert_close(
            dream.summary.unit, told.to(dream.summary.unit), rtol=1e-5, atol=0
        )
        if dream.summary.knows_noise.any():
            assert bool((dream.tasks.deviations == 1).all())


def test_the_density_told_is_about_that_of_the_graphs():
    generator, told, found = torch.Generator().manual_seed(1), [], []
    for _ in range(150):
        dream = SMALL.dream(generator)
        possible, off = dream.possible[0], ~torch.eye(dream.possible.shape[1], dtype=torch.bool)
        if bool(dream.knows_prior[0]) and bool((possible == off).all()):
            P = pair_probabilities(torch.where(off, dream.prior, -torch.inf))
            told.append(float(P[0].sum()))
            found.append(float(dream.tasks.graphs.double().sum((1, 2)).mean()))
    assert len(told) > 30
    joint = torch.tensor([told, found])
    assert torch.corrcoef(joint)[0, 1] > 0.9
    assert sum(found) / sum(told) == pytest.approx(1, abs=0.2)


def test_the_same_generator_dreams_the_same():
    first, second = (SMALL.dream(torch.Generator().manual_seed(5)) for _ in "ab")
    assert torch.equal(first.tasks.data, second.tasks.data)
    assert torch.equal(first.possible, second.possible)
    other = SMALL.dream(torch.Generator().manual_seed(6))
    assert not torch.equal(first.tasks.weights[:, :5, :5], other.tasks.weights[:, :5, :5])


def test_bent_dreams_say_that_they_are():
    bent = WidePrior(most_variables=6, most_samples=30, budget=200, bent=True)
    dream = bent.dream(torch.Generator().manual_seed(0))
    assert not dream.is_linear
    assert SMALL.dream(torch.Generator().manual_seed(0)).is_linear
    assert bool(dream.tasks.data.isfinite().all())

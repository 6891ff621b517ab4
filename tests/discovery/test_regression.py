"""Ridge regression of each variable on the others, beside dense linear algebra."""

import pytest
import torch

from causal_diffusers.discovery.regression import SLAB, regress


def draw(seed):
    """Draw data, edge probabilities (some edges impossible) and the variances of the noises."""
    generator = torch.Generator().manual_seed(seed)
    d = int(torch.randint(2, 9, (), generator=generator))
    n = int(torch.randint(3, 201, (), generator=generator)) if seed % 2 else 3 + seed % 5
    mixed = torch.randn(d, d, generator=generator).double()
    X = torch.randn(n, d, generator=generator).double() @ mixed
    p = torch.rand(d, d, generator=generator).double()
    p = p * (torch.rand(d, d, generator=generator) < 0.8)
    variance = 0.3 + torch.rand(d, generator=generator).double()
    return X, p, variance


def found_on(X, p, variance):
    covariance, count = (X.T @ X / len(X))[None], torch.tensor([float(len(X))]).double()
    return regress(covariance, count, p[None], None if variance is None else variance[None])


def causes_of(j, p):
    return [i for i in range(len(p)) if i != j and p[i, j] > 0]


@pytest.mark.parametrize("seed", range(20))
def test_the_evidence_is_that_of_dense_algebra(seed):
    X, p, variance = draw(seed)
    found = found_on(X, p, variance)
    for j in range(len(p)):
        causes = causes_of(j, p)
        v = SLAB * p[causes, j].clamp(min=1e-3)
        Z = X[:, causes]
        posterior = torch.linalg.inv(Z.T @ Z / variance[j] + torch.diag(1 / v))
        mean = posterior @ Z.T @ X[:, j] / variance[j]
        marginal = posterior.diagonal()
        precision = 1 / marginal - 1 / v  # the prior taken out of the marginal
        alone = mean / marginal / precision
        residual = (X[:, j] - Z @ mean).square().mean()
        torch.testing.assert_close(found.posterior[0, causes, j], mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.precision[0, causes, j], precision, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.mean[0, causes, j], alone, rtol=1e-4, atol=1e-4)
        assert found.residual[0, j].item() == pytest.approx(max(residual.item(), 1e-6), rel=1e-4)


@pytest.mark.parametrize("seed", range(10))
def test_impossible_edges_have_no_evidence(seed):
    X, p, variance = draw(seed)
    found = found_on(X, p, variance)
    impossible = (p == 0) | torch.eye(len(p), dtype=torch.bool)
    for values in (found.mean, found.precision, found.posterior):
        assert torch.equal(values[0] != 0, ~impossible)


def test_what_the_data_say_of_a_weight_does_not_depend_on_its_own_prior():
    X, p, variance = draw(3)
    i, j = (p * (1 - torch.eye(len(p)))).nonzero()[0].tolist()
    changed = p.clone()
    changed[i, j] = 0.03 if p[i, j] > 0.2 else 0.9
    first, second = (found_on(X, each, variance) for each in (p, changed))
    for field in ("mean", "precision"):
        a, b = (getattr(found, field)[0] for found in (first, second))
        assert a[i, j].item() == pytest.approx(b[i, j].item(), rel=1e-6)
        others = [k for k in causes_of(j, p) if k != i]
        assert not torch.allclose(a[others, j], b[others, j])
    assert first.posterior[0, i, j] != second.posterior[0, i, j]


def test_unknown_noise_is_one():
    X, p, _ = draw(5)
    first, second = found_on(X, p, None), found_on(X, p, torch.ones(len(p)).double())
    assert torch.equal(first.mean, second.mean)
    assert torch.equal(first.residual, second.residual)


def test_data_sets_do_not_mix(generator):
    S = torch.randn(3, 6, 4, generator=generator).double()
    S = S.mT @ S / 6
    count = torch.tensor([5.0, 50.0, 500.0]).double()
    p = torch.rand(3, 4, 4, generator=generator).double()
    together = regress(S, count, p)
    for k in range(3):
        alone = regress(S[k : k + 1], count[k : k + 1], p[k : k + 1])
        torch.testing.assert_close(together.mean[k], alone.mean[0])
        torch.testing.assert_close(together.residual[k], alone.residual[0])


def test_many_samples_give_the_weights(generator):
    """With the parents alone possible, the mean is that of least squares."""
    x = torch.randn(4000, generator=generator).double()
    y = 1.5 * x + torch.randn(4000, generator=generator).double()
    p = torch.tensor([[0, 0.9], [0, 0]]).double()
    found = found_on(torch.stack([x, y], dim=1), p, torch.ones(2).double())
    slope = float(x @ y / (x @ x))
    assert found.mean[0, 0, 1].item() == pytest.approx(slope, rel=1e-6)
    assert found.precision[0, 0, 1].item() == pytest.approx(float(x @ x), rel=1e-6)

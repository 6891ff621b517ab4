"""FID and KID against scipy, sklearn and torchmetrics, and beside their floor."""

import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel

from causal_diffusers.metrics import extract_features, frechet_distance, kernel_distance


@pytest.fixture
def samples(generator):
    mixing = torch.randn(2, 4, 4, generator=generator, dtype=torch.float64)
    real, made = torch.randn(2, 300, 4, generator=generator, dtype=torch.float64) @ mixing
    return real, made[:250] + 0.3


def test_fid_is_that_of_scipy(samples, generator):
    x, y = samples
    a, b = x.T.cov().numpy(), y.T.cov().numpy()
    apart = (x.mean(0) - y.mean(0)).square().sum().item()
    expected = apart + a.trace() + b.trace() - 2 * sqrtm(a @ b).real.trace()
    assert frechet_distance(x, y, generator=generator).value == pytest.approx(expected, rel=1e-9)


def test_fid_is_that_of_torchmetrics(generator):
    fid = pytest.importorskip("torchmetrics.image.fid")

    class Pixels(torch.nn.Module):
        num_features = 16

        def forward(self, images):
            return images.float().flatten(1)

    real, made = torch.randint(256, (2, 200, 1, 4, 4), generator=generator, dtype=torch.uint8)
    made = made // 2
    metric = fid.FrechetInceptionDistance(feature=Pixels())
    metric.update(real, real=True)
    metric.update(made, real=False)
    features = [extract_features(images, Pixels()) for images in (real, made)]
    ours = frechet_distance(*features, generator=generator).value
    assert ours == pytest.approx(metric.compute().item(), rel=1e-4)


def test_kid_is_that_of_sklearn(samples, generator):
    x, y = samples
    xx, yy, xy = (
        torch.from_numpy(polynomial_kernel(a.numpy(), b.numpy(), degree=3, gamma=1 / 4, coef0=1))
        for a, b in ((x, x), (y, y), (x, y))
    )
    m, n = len(x), len(y)
    expected = (xx.sum() - xx.trace()) / (m * (m - 1)) + (yy.sum() - yy.trace()) / (n * (n - 1))
    expected -= 2 * xy.mean()
    value = kernel_distance(x, y, generator=generator).value
    assert value == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_a_second_real_sample_is_at_the_floor(distance, generator):
    real, again, other = torch.randn(3, 400, 5, generator=generator)
    near = distance(real, again, generator=generator, repeats=50)
    far = distance(real, 1.5 * other, generator=generator, repeats=50)
    assert abs(near.value) < 2 * near.floor.upper
    assert far.value > 2 * far.floor.upper


def test_features_of_parts_are_those_of_all(generator):
    network, images = torch.nn.Conv2d(1, 2, 3), torch.randn(7, 1, 6, 6, generator=generator)
    features = extract_features(images, network, batch_size=3)
    assert torch.allclose(features, network(images).flatten(1), atol=1e-6)
    assert not features.requires_grad


def test_images_themselves_are_refused(generator):
    images = torch.zeros(3, 1, 8, 8)
    with pytest.raises(ValueError, match="`extract_features` makes them of images"):
        frechet_distance(images, images, generator=generator)

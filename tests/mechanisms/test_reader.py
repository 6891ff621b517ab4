"""What weighs the images of a GAN: the classifier of their parents, and the odds."""

import math

import pytest
import torch

from causal_diffusers.mechanisms.reader import Reader
from causal_diffusers.variables import Categorical, Image
from mechanisms.zoo import LETTERS, PICTURE, YES

PARENTS = {"X": LETTERS, "Y": YES}


@pytest.fixture
def reader(generator):
    made = Reader(PICTURE, PARENTS)
    with torch.no_grad():
        for tensor in made.parameters():
            tensor += 0.1 * torch.randn(tensor.shape, generator=generator)
    return made


def pictures(number, generator):
    return torch.rand(number, *PICTURE.shape, generator=generator) * 2 - 1


def test_the_parents_are_read_one_after_the_other(reader, generator):
    """The probabilities of all their values together sum to one."""
    seen = reader.see(pictures(5, generator))
    sizes = [len(v.labels) for v in PARENTS.values()]
    grid = torch.cartesian_prod(*(torch.arange(size) for size in sizes))
    each = seen[:, None].expand(-1, len(grid), -1)
    codes = {n: grid[:, k].expand(5, -1) for k, n in enumerate(PARENTS)}
    torch.testing.assert_close(reader.log_prob(each, codes).exp().sum(dim=1), torch.ones(5))


def test_the_odds_are_even_before_training(generator):
    reader = Reader(PICTURE, PARENTS)
    seen = reader.see(pictures(5, generator))
    torch.testing.assert_close(reader.log_odds(seen, blur=generator), torch.zeros(5))


def test_the_odds_are_bounded(reader, generator):
    """However sure they are of an image, it is not made more than 12 times as frequent."""
    with torch.no_grad():
        reader.odds[-1].bias.fill_(1e4)
    odds = reader.log_odds(reader.see(pictures(5, generator)))
    assert (odds <= math.log(12.5)).all()
    assert (odds > 2).all()


def test_the_odds_do_not_train_what_they_look_at(reader, generator):
    reader.log_odds(reader.see(pictures(5, generator)), blur=generator).sum().backward()
    assert all(p.grad is None for part in (reader.eye, reader.heads) for p in part.parameters())
    assert all(p.grad is not None for p in reader.odds.parameters())


def test_the_blur_is_a_function_of_the_generator(reader, generator):
    seen = reader.see(pictures(5, generator))
    one, same, other = (
        reader.log_odds(seen, blur=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(reader.log_odds(seen), reader.log_odds(seen))


@pytest.mark.parametrize("parents", [{}, {"X": Categorical("ab")}])
@pytest.mark.parametrize("image", [Image(1, 1, 2), Image(3, 5, 9), Image(1, 28, 28)])
def test_images_of_all_sizes_are_seen(image, parents, generator):
    reader = Reader(image, parents)
    seen = reader.see(torch.rand(2, *image.shape, generator=generator))
    assert seen.shape == (2, reader.features)
    assert reader.log_odds(seen).shape == (2,)

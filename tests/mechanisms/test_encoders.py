"""Parents become one vector, whatever they are."""

import pytest
import torch

from causal_diffusers.mechanisms.encoders import ImageEncoder, ParentEncoder, confounder_features
from causal_diffusers.variables import Categorical, Confounder, Image


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 2, 3), (1, 8, 8), (3, 5, 12), (1, 4, 40), (3, 33, 17), (1, 9, 7)]
)
def test_the_width_of_an_image_is_foreseen(shape):
    encoder = ImageEncoder(Image(*shape))
    assert encoder(torch.zeros(2, *shape)).shape == (2, encoder.features)


def test_a_gigantic_image_is_planned_without_memory():
    encoder = ImageEncoder(Image(1, 10**9, 8))
    assert encoder.features == 16 * 16 + 64


def test_the_small_copy_is_the_mean_of_the_pixels():
    image = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    small = ImageEncoder(Image(1, 16, 16))(image)[0, -64:].reshape(8, 8)
    torch.testing.assert_close(small, image[0, 0].reshape(8, 2, 8, 2).mean(dim=(1, 3)))


def test_parents_stand_side_by_side_in_the_order_of_their_names():
    encoder = ParentEncoder({"B": Categorical("xyz"), "A": Categorical([0, 1])})
    values = {"B": torch.tensor([2, 0]), "A": torch.tensor([0, 1])}
    assert encoder(values, 2).tolist() == [[1, 1, 0, 0, 0, 1], [1, 0, 1, 1, 0, 0]]
    assert encoder.features == 6


def test_without_parents_there_is_a_constant():
    assert ParentEncoder({})({}, 3).tolist() == [[1], [1], [1]]


def test_confounders_stand_side_by_side_in_the_order_of_their_names():
    confounders = {"V": Confounder(dim=2), "K": Confounder(states=3)}
    values = {"V": torch.tensor([[0.5, -1.0]]), "K": torch.tensor([1])}
    assert confounder_features(confounders, values).tolist() == [[0, 1, 0, 0.5, -1]]


def test_a_state_that_does_not_exist_is_refused():
    with pytest.raises(RuntimeError, match="smaller than num_classes"):
        confounder_features({"K": Confounder(states=3)}, {"K": torch.tensor([3])})


def test_everything_comes_in_the_precision_of_the_encoder():
    encoder = ParentEncoder({"X": Categorical("ab"), "I": Image(1, 8, 8)}).to(torch.bfloat16)
    for label in (torch.tensor([1]), torch.tensor([[0.25, 0.75]], dtype=torch.float64)):
        assert encoder({"X": label, "I": torch.zeros(1, 1, 8, 8)}, 1).dtype == torch.bfloat16

"""A variable and its description in plain JSON say the same, and nothing else is read."""

import pytest
import torch

from causal_diffusers.errors import GraphError, ShapeError
from causal_diffusers.variables import (
    Categorical,
    Confounder,
    Continuous,
    Image,
    variable_from_dict,
)

VARIABLES = [
    Categorical("ab"),
    Categorical([False, True]),
    Categorical([3, 5]),
    Continuous(),
    Continuous(dim=3, mean=(0, 1e-3, -2.5), scale=0.1),
    Image(1, 4, 6),
    Image(3, 4, 6),
]


@pytest.mark.parametrize("each", VARIABLES, ids=repr)
def test_a_variable_survives_its_description(each):
    assert variable_from_dict(each.to_dict()) == each
    assert hash(variable_from_dict(each.to_dict())) == hash(each)


@pytest.mark.parametrize("each", VARIABLES, ids=repr)
def test_encoded_values_of_another_shape_are_refused(each):
    each.check(torch.zeros(5, *each.shape), name="V")
    with pytest.raises(ShapeError, match='"V" should have shape'):
        each.check(torch.zeros(5, *each.shape, 2), name="V")


@pytest.mark.parametrize(
    "description",
    [
        None,
        [],
        "categorical",
        {},
        {"type": "text"},
        {"type": ["image"]},
        {"type": "categorical"},
        {"type": "categorical", "labels": None},
        {"type": "categorical", "labels": ["a"]},
        {"type": "categorical", "labels": [["a"], ["b"]]},
        {"type": "categorical", "labels": ["a", "b"], "extra": 1},
        {"type": "continuous", "dim": 0},
        {"type": "continuous", "dim": 2.0},
        {"type": "continuous", "mean": "0"},
        {"type": "continuous", "mean": None},
        {"type": "continuous", "mean": [0, 0]},
        {"type": "continuous", "scale": -1},
        {"type": "continuous", "dim": 2, "scale": [1, float("inf")]},
        {"type": "image", "channels": 1, "height": 8},
        {"type": "image", "channels": 1, "height": 8, "width": 1e9},
        {"type": "image", "channels": 1, "height": 8, "width": None},
    ],
    ids=str,
)
def test_a_damaged_description_is_refused(description):
    with pytest.raises(GraphError):
        variable_from_dict(description)


def test_a_confounder_is_gaussian_or_finite():
    assert (Confounder().width, Confounder(dim=3).width, Confounder(states=5).width) == (2, 3, 5)
    assert Confounder(**Confounder(dim=3, states=7).to_dict()) == Confounder(dim=3, states=7)


@pytest.mark.parametrize(
    "arguments",
    [
        {"dim": 0},
        {"states": 1},
        {"dim": -1},
        {"states": 0},
        {"states": 2.0},
        {"dim": 1.5},
        {"dim": True},
        {"dim": "2"},
    ],
)
def test_a_confounder_has_a_size(arguments):
    with pytest.raises(ValueError, match=r"dim >= 1 and states >= 2"):
        Confounder(**arguments)

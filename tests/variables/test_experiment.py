import pytest

from causal_diffusers.variables import Categorical, Experiment, Image

VARIABLES = {"X": Categorical([0, 1]), "Y": Categorical("abc"), "I": Image(1, 4, 4)}


def test_all_values_are_not_listed():
    every = {(x, y) for x in range(2) for y in range(3)}
    assert Experiment.of(("X", "Y"), every, VARIABLES) == Experiment(("X", "Y"))
    some = Experiment.of(("X", "Y"), every - {(1, 2)}, VARIABLES)
    assert some.tried == ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1))
    assert Experiment.of(("I", "X"), None, VARIABLES) == Experiment(("I", "X"))


@pytest.mark.parametrize(
    ("asked", "is_covered"),
    [
        ({}, True),
        ({"X": {1}}, True),
        ({"X": None}, True),
        ({"Y": {0}}, True),
        ({"Y": None}, False),
        ({"X": {0}, "Y": {0, 1}}, True),
        ({"X": {1}, "Y": {0, 1}}, False),
        ({"X": {0}, "Y": None}, False),
        ({"X": None, "Y": {0}}, True),
    ],
)
def test_what_a_query_needs_must_have_been_tried_in_all_combinations(asked, is_covered):
    experiment = Experiment(("X", "Y"), ((0, 0), (0, 1), (1, 0)))
    assert experiment.covers(asked, VARIABLES) is is_covered


def test_to_watch_covers_everything():
    assert Experiment().covers({}, VARIABLES)

import pytest

from causal_diffusers.graphs.notation import LATEX, TEXT, extend_scope


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("X", "X"),
        ("X1", "X_{1}"),
        ("X_12'", "X_{12}'"),
        ("D''", "D''"),
        ("hair_colour", r"\mathrm{hair\_colour}"),
        ("sex'", r"\mathrm{sex}'"),
    ],
)
def test_names_are_spelled(name, latex):
    assert LATEX.spell(name) == latex
    assert TEXT.spell(name) == name


def test_a_bound_name_gets_as_many_primes_as_it_needs():
    once = extend_scope({"X": "X"}, ["X"])
    assert once == {"X": "X'"}
    assert extend_scope({**once, "Y": "X"}, ["X"]) == {"X": "X''", "Y": "X"}


def test_variables_follow_the_rank_and_then_the_alphabet():
    assert TEXT.in_order("ZYX").sort("XYZ") == ["Z", "Y", "X"]
    assert TEXT.names({"B", "A"}, {"A": "A'"}) == "A', B"

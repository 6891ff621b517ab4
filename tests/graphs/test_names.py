"""Names become attributes, module keys and folders, so they are checked first."""

import pytest
from diffusers import DiffusionPipeline
from torch import nn

from causal_diffusers import CausalPipeline, GraphError
from causal_diffusers.graphs.names import RESERVED, check_known, check_name


@pytest.mark.parametrize("taken", [DiffusionPipeline, nn.ModuleDict(), CausalPipeline])
def test_reserved_holds_every_public_name(taken):
    missing = {name for name in dir(taken) if not name.startswith("_")} - RESERVED
    assert missing == set()


def test_reserved_is_a_literal():
    assert type(RESERVED) is frozenset
    assert all(isinstance(name, str) for name in RESERVED)


@pytest.mark.parametrize("name", ["X", "x", "eyeglasses", "X1", "Type", "left_eye", "a" * 100])
def test_a_legal_name_passes(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "a/b",
        "a\\b",
        "a.b",
        "..",
        "",
        " ",
        "X Y",
        "x\n",
        "1x",
        "_x",
        "é",
        "a" * 101,
        "C:",
        "~",
        "$HOME",
        "x;y",
        3,
        None,
        ("X",),
    ],
)
def test_an_illegal_name_is_refused(name):
    with pytest.raises(GraphError, match="name must be a letter followed by letters, digits or"):
        check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "to",
        "graph",
        "model_index",
        "components",
        "parameters",
        "keys",
        "class",
        "lambda",
        "None",
        "con",
        "NUL",
        "Aux",
        "com1",
        "T_destination",
    ],
)
def test_a_reserved_name_is_refused(name):
    with pytest.raises(GraphError, match=f'may not have the reserved name "{name}".*"{name}_"'):
        check_name(name)
    assert check_name(f"{name}_") == f"{name}_"


@pytest.mark.parametrize(
    ("name", "proposal"), [("left eye", "left_eye"), ("../x-ray", "x_ray"), ("_age", "age")]
)
def test_the_message_proposes_a_legal_name(name, proposal):
    with pytest.raises(GraphError, match=f'for instance to "{proposal}"'):
        check_name(name)
    check_name(proposal)


@pytest.mark.parametrize(
    ("name", "meant"), [("eyeglass", "eyeglasses"), ("x", "X"), ("imgae", "image")]
)
def test_an_unknown_name_meets_its_neighbour(name, meant):
    with pytest.raises(
        GraphError, match=f'`do` must name .* got "{name}". Did you mean "{meant}"?'
    ):
        check_known(["X", name], ["X", "eyeglasses", "image"], "do")


def test_an_unknown_name_without_neighbours_gets_the_list():
    with pytest.raises(GraphError, match=r'got "Q"\. The variables are X0, .*, X11, \.\.\.\.$'):
        check_known("Q", [f"X{i}" for i in range(20)])
    with pytest.raises(GraphError, match="The variables are none at all"):
        check_known("Q", [])


def test_a_string_is_one_name():
    assert check_known("XY", {"X", "Y", "XY"}) == {"XY"}

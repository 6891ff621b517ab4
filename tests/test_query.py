"""Queries are read as users write them, and refused in the users' words."""

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from causal_diffusers import (
    ADMG,
    Categorical,
    GraphError,
    Image,
    NotIdentifiableError,
    ShapeError,
)
from causal_diffusers.query import Query, encode

GRAPH = ADMG.parse("D -> W -> I -> A; D <-> A")
YES = Categorical(["no", "yes"])
PICTURE = Image(1, 4, 4)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({}, "P(D, W, I, A)"),
        ({"do": {"W": 3}}, "P(D, I, A | do(W=3))"),
        ({"outcomes": "A", "do": {"W": "x", "D": True}}, "P(A | do(D=True, W=x))"),
        ({"outcomes": ["A", "D"], "given": {"W": 0.5}}, "P(D, A | W=0.5)"),
        ({"outcomes": ["A"], "do": ["D"], "given": "W"}, "P(A | do(D), W)"),
        ({"outcomes": ["A"], "do": {"D": [1, 2]}}, "P(A | do(D))"),
        ({"outcomes": ["A"], "do": {"I": torch.zeros(1, 4, 4)}}, "P(A | do(I))"),
        ({"outcomes": ["A"], "do": {"D": torch.tensor(2)}}, "P(A | do(D=2))"),
        ({"outcomes": ["A"], "do": {"D": np.int64(2)}}, "P(A | do(D=2))"),
        ({"outcomes": ("A" for _ in range(1)), "do": None}, "P(A)"),
        ({"do": {}}, "P(D, W, I, A)"),
    ],
)
def test_a_query_prints_what_was_asked(asked, text):
    assert str(Query.ask(GRAPH, **asked)) == text


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"do": {"d": 1}}, '`do` must name variables of the graph: got "d". Did you mean "D"?'),
        ({"given": ["Z"]}, '`given` must name variables of the graph: got "Z"'),
        ({"outcomes": "AD"}, '`outcomes` must name variables of the graph: got "AD"'),
        ({"outcomes": "A", "do": "A"}, '`outcomes` are unknown, `do` is known: got "A"'),
        ({"outcomes": "A", "given": "A"}, '`outcomes` are unknown, `given` is known: got "A"'),
        ({"do": {"A": 1}, "given": {"A": 1}}, 'must name different variables: got "A" in both'),
    ],
)
def test_names_are_checked(asked, message):
    with pytest.raises(GraphError) as caught:
        Query.ask(GRAPH, **asked)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "codes"),
    [
        ("yes", [1, 1, 1]),
        (1, [1, 1, 1]),
        (np.int64(1), [1, 1, 1]),
        (torch.tensor(1), [1, 1, 1]),
        (np.array(1), [1, 1, 1]),
        (["no", "yes", "no"], [0, 1, 0]),
        (("no", "yes", "no"), [0, 1, 0]),
        ([0, 1, 1], [0, 1, 1]),
        (np.array([0, 1, 1]), [0, 1, 1]),
        (np.array(["no", "yes", "no"]), [0, 1, 0]),
        (torch.tensor([0, 1, 1]), [0, 1, 1]),
        (["yes"], [1, 1, 1]),
        (torch.tensor([1]), [1, 1, 1]),
    ],
    ids=repr,
)
def test_a_categorical_value_is_one_or_one_for_each(value, codes):
    assert encode(YES, value, "X", 3).tolist() == codes


def test_a_column_of_pandas_is_a_sequence():
    pandas = pytest.importorskip("pandas")
    assert encode(YES, pandas.Series(["no", "yes"]), "X", 2).tolist() == [0, 1]


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize(
    "value",
    [
        torch.full((1, 4, 4), 0.5),
        torch.full((4, 4), 0.5),
        torch.full((1, 1, 4, 4), 0.5),
        np.full((4, 4, 1), 0.5, dtype=np.float32),
        np.full((1, 4, 4, 1), 0.5, dtype=np.float32),
        [np.full((1, 4, 4), 0.5, dtype=np.float32)],
    ],
    ids=lambda value: str(getattr(value, "shape", "list")),
)
def test_one_image_is_for_all_samples(value, number):
    encoded = encode(PICTURE, value, "I", number)
    assert encoded.shape == (number, 1, 4, 4)
    assert encoded.unique().tolist() == [0]


def test_files_and_pictures_are_images(tmp_path):
    picture = PILImage.new("L", (4, 4), 255)
    picture.save(tmp_path / "white.png")
    for value in (picture, tmp_path / "white.png", str(tmp_path / "white.png"), [picture] * 2):
        assert encode(PICTURE, value, "I", 2).unique().tolist() == [1]


@pytest.mark.parametrize("value", [torch.zeros(3, 1, 4, 4), torch.zeros(3, 4, 4)], ids=["4", "3"])
def test_images_one_for_each(value):
    value[1] = 1
    encoded = encode(PICTURE, value, "I", 3)
    assert encoded[:, 0, 0, 0].tolist() == [-1, 1, -1]


def test_a_colour_image_may_be_channels_last():
    image = torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(0))
    encoded = encode(Image(3, 4, 5), image, "I", 1)
    assert torch.equal(encoded[0], 2 * image.permute(2, 0, 1) - 1)


def test_one_value_is_repeated_without_copying():
    assert encode(PICTURE, torch.zeros(1, 4, 4), "I", 1000).stride(0) == 0


@pytest.mark.parametrize(
    ("variable", "value", "error", "message"),
    [
        (YES, [1, 0], ShapeError, '"X" should have one value, or one for each of the 3 samples'),
        (YES, [], ShapeError, "got 0. Pass `num_samples=0`"),
        (YES, "maybe", ValueError, "'maybe' in row 0"),
        (YES, 2, ValueError, "got 2 in row 0"),
        (YES, True, ValueError, "got True in row 0"),
        (YES, None, ValueError, '"X" needs a value to be sampled under: got None'),
        (YES, float("nan"), ValueError, "got nan in row 0"),
        (PICTURE, torch.zeros(1, 5, 5), ShapeError, '"X" should have shape'),
        (PICTURE, torch.zeros(2, 1, 4, 4), ShapeError, "Pass `num_samples=2`"),
        (PICTURE, torch.full((1, 4, 4), 2.0), ValueError, "pixels in [0, 1]"),
        (PICTURE, torch.full((1, 4, 4), torch.nan), ValueError, "pixels in [0, 1]"),
    ],
)
def test_other_values_are_refused(variable, value, error, message):
    with pytest.raises(error) as caught:
        encode(variable, value, "X", 3)
    assert message in str(caught.value)


def test_encode_gives_do_and_given_apart():
    query = Query.ask(GRAPH, do={"D": "yes"}, given={"W": ["no", "yes"]})
    variables = dict.fromkeys("DWA", YES) | {"I": PICTURE}
    do, given = query.encode(variables, 2)
    assert do["D"].tolist() == [1, 1]
    assert given["W"].tolist() == [0, 1]


def test_an_estimand_is_that_of_identify():
    assert str(Query.ask(GRAPH, "A", do={"I": None}).estimand(GRAPH)) == (
        "sum_{D} P(A | D, I) P(D)"
    )


def test_a_refused_joint_names_the_outcomes_that_may_be_asked_alone():
    graph = ADMG.parse("X -> Y; X <-> Y; X -> Z")
    with pytest.raises(NotIdentifiableError, match=r"one at a time: Z\.$") as caught:
        Query.ask(graph, do={"X": 1}).estimand(graph)
    assert str(caught.value).count("Z.") == 1
    assert caught.value.hedge is not None
    with pytest.raises(NotIdentifiableError) as caught:
        Query.ask(graph, "Y", do={"X": 1}).estimand(graph)
    assert "one at a time" not in str(caught.value)


@pytest.mark.parametrize("none", [[], (), {}, ""], ids=repr)
def test_a_query_has_an_outcome(none):
    with pytest.raises(ValueError, match="must name"):
        Query.ask(GRAPH, none, do={"D": 1})

"""What can be read as columns, and what is refused with the way out."""

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from causal_diffusers import GraphError
from causal_diffusers.discovery.columns import Table, read_table

ROWS = {"age": [31.0, 45.5, 60.0, 22.0], "drug": [0, 1, 1, 0], "old": [False, False, True, False]}
EXPECTED = torch.tensor([[31.0, 0, 0], [45.5, 1, 0], [60, 1, 1], [22, 0, 0]]).double()


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        {name: np.array(column) for name, column in ROWS.items()},
        {name: torch.tensor(column) for name, column in ROWS.items()},
        {name: tuple(column) for name, column in ROWS.items()},
        pd.DataFrame(ROWS),
        datasets.Dataset.from_dict(ROWS),
    ],
    ids=["lists", "arrays", "tensors", "tuples", "pandas", "datasets"],
)
def test_numbers_are_read_from_whatever_holds_them(data):
    table = read_table(data)
    assert table.variables == ("age", "drug", "old")
    assert torch.equal(table.values, EXPECTED)
    assert table.owner.tolist() == [0, 1, 2]
    assert not table.has_blocks


@pytest.mark.parametrize("read", [torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.float])
def test_an_array_has_numbered_variables(read):
    table = read_table(read(EXPECTED))
    assert table.variables == ("X0", "X1", "X2")
    assert torch.equal(table.values, EXPECTED)


def test_a_frame_may_have_numbers_for_names():
    assert read_table(pd.DataFrame(EXPECTED.numpy())).variables == ("X0", "X1", "X2")


@pytest.mark.parametrize("name", ["blood pressure", "b.p", "", "to"])
@pytest.mark.parametrize("kind", [dict, datasets.Dataset.from_dict, pd.DataFrame])
def test_a_name_that_no_graph_takes_is_refused_at_once(name, kind):
    with pytest.raises(GraphError, match="name"):
        read_table(kind({"age": [1.0, 2.0, 4.0], name: [3.0, 5.0, 4.0]}))


def test_a_number_is_no_name():
    with pytest.raises(GraphError, match=r"must be a letter followed by letters.*: got 3"):
        read_table({"age": [1.0, 2.0, 4.0], 3: [3.0, 5.0, 4.0]})


def test_two_columns_of_one_name_are_refused():
    frame = pd.DataFrame([[1.0, 2.0], [3.0, 5.0]], columns=["age", "age"])
    with pytest.raises(ValueError, match=r"two columns of one name: got \['age', 'age'\]"):
        read_table(frame)


def pictures(n, generator, channels=1):
    """Draw images whose brightness is one number, and that number."""
    level = torch.rand(n, generator=generator)
    noise = 0.02 * torch.rand(n, channels, 20, 24, generator=generator)
    return level[:, None, None, None] + noise, level


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_enters_as_principal_components(channels, generator):
    images, level = pictures(50, generator, channels)
    table = read_table({"scan": images, "level": level})
    values = table.values[:, table.owner == 0]
    assert table.has_blocks
    assert table.variables == ("scan", "level")
    assert table.owner.tolist() == [0] * values.shape[1] + [1]
    torch.testing.assert_close(values.std(dim=0), torch.ones(values.shape[1]).double())
    torch.testing.assert_close(
        torch.corrcoef(values.T), torch.eye(values.shape[1]).double(), atol=1e-6, rtol=0
    )
    first = torch.stack([values[:, 0], level.double()])
    assert torch.corrcoef(first)[0, 1].abs() > 0.99


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pictures_are_images(mode, generator):
    images, level = pictures(30, generator)
    arrays = (200 * images[:, 0]).clamp(0, 255).byte().numpy()
    given = [Image.fromarray(array).convert(mode) for array in arrays]
    table = read_table({"scan": given, "level": level})
    assert table.has_blocks
    first = torch.stack([table.values[:, 0], level.double()])
    assert torch.corrcoef(first)[0, 1].abs() > 0.99
    frame = pd.DataFrame({"scan": given, "level": level.numpy()})
    torch.testing.assert_close(read_table(frame).values, table.values)


def test_vectors_enter_by_their_directions(generator):
    u = torch.randn(40, 2, generator=generator).double()
    vectors = u @ torch.randn(2, 7, generator=generator).double() + 5
    table = read_table({"gait": vectors, "age": u[:, 0]})
    values = table.values[:, table.owner == 0]
    assert values.shape[1] == 2  # seven numbers, two of which are free
    again = torch.linalg.lstsq(values, u - u.mean(dim=0)).solution
    torch.testing.assert_close(values @ again, u - u.mean(dim=0))
    assert read_table({"gait": vectors[:, :1], "age": u[:, 1]}).owner.tolist() == [0, 1]


def test_variables_are_told_from_the_columns_of_their_vectors():
    table = Table(("V", "W"), torch.zeros(2, 3), torch.tensor([0, 0, 1]))
    mask = torch.tensor([[False, True], [False, False]])
    assert table.spread(mask).nonzero().tolist() == [[0, 2], [1, 2]]
    P = torch.tensor([[0, 0, 0.2], [0, 0, 0.7], [0.1, 0.05, 0]])
    weights = torch.tensor([[0, 0, 5.0], [0, 0, -3.0], [2.0, 9.0, 0]])
    torch.testing.assert_close(table.gather(P, P), torch.tensor([[0, 0.7], [0.1, 0]]))
    assert table.gather(weights, P).tolist() == [[0, -3], [2, 0]]


def test_columns_of_one_variance_are_a_caution(generator):
    X = torch.randn(100, 3, generator=generator).double() * torch.tensor([1.0, 2.0, 3.0])
    assert read_table(X).cautions() == ()
    (caution,) = read_table((X - X.mean(dim=0)) / X.std(dim=0)).cautions()
    assert "all columns have the same variance, as if standardised" in caution
    assert "Pass the data in one unit." in caution


def test_images_have_no_unit_is_a_caution(generator):
    images, level = pictures(30, generator)
    (caution,) = read_table({"scan": images, "level": level}).cautions()
    assert "images and vectors have no unit" in caution


GOOD = {"age": [31.0, 45.5, 60.0], "dose": [1.0, 0.5, 2.0]}


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1.0, float("nan"), 2.0], '"bad" should hold finite numbers: row 1 does not. Leave out'),
        ([1.0, 2.0, float("inf")], '"bad" should hold finite numbers: row 2 does not'),
        ([7, 7, 7], '"bad" is constant: 7 in every row. Leave it out'),
        ([True, True, True], '"bad" is constant: 1 in every row'),
        (["no", "yes", "no"], "\"bad\" should hold numbers: got 'no'. Encode labels as numbers"),
        ([1.0, None, 2.0], '"bad" should hold numbers: got 1.0'),
        ([1.0, 2.0], r"`data` has columns of one length: got \{'age': 3, 'dose': 3, 'bad': 2\}"),
        (np.array([1, 2, 3]) + 1j, '"bad" should hold numbers'),
        ([[1.0], [2.0, 3.0], [4.0]], '"bad" should hold numbers'),
        ([31.0, 45.5, 60.0], '"age" and "bad" are the same column up to a unit. Leave one'),
        ([-2.1, -3.55, -5.0], '"age" and "bad" are the same column up to a unit'),
        (torch.zeros(3, 1, 4, 4), '"bad" is constant: 0 in every row'),
        ([[1.0, 2.0], [1.0, float("nan")], [2.0, 2.0]], '"bad" should hold finite numbers: row 1'),
    ],
    ids=str,
)
def test_a_bad_column_is_named_with_the_way_out(column, message):
    with pytest.raises(ValueError, match=message):
        read_table({**GOOD, "bad": column})


@pytest.mark.parametrize("word", ["no", "male"])
def test_words_in_a_frame_are_refused(word):
    with pytest.raises(ValueError, match=f"\"sex\" should hold numbers: got '{word}'"):
        read_table(pd.DataFrame({**GOOD, "sex": [word, "b", "c"]}))


def test_a_gap_in_a_frame_is_refused():
    with pytest.raises(ValueError, match='"dose" should hold finite numbers: row 1'):
        read_table(pd.DataFrame({**GOOD, "dose": [1.0, None, 2.0]}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"age": [1.0, 2.0]}, "needs two variables and two rows at least: got 1 variables and 2"),
        ({"age": [1.0], "dose": [2.0]}, "got 2 variables and 1 rows"),
        ({}, "got 0 variables and 0 rows"),
        (torch.zeros(0, 3), "got 3 variables and 0 rows"),
        (torch.zeros(3), r"an array of shape \(n, d\): got \(3,\)"),
        (np.zeros((2, 2, 2)), r"an array of shape \(n, d\): got \(2, 2, 2\)"),
        ([["a", "b"], ["c", "d"]], r"an array of numbers: got \['a', 'b'\] first"),
        ([[1.0, 2.0], [3.0]], r"an array of numbers: got \[1.0, 2.0\] first"),
        ("rows.csv", "`data` is a mapping of columns, a frame or an array: got str"),
        (7, "a mapping of columns, a frame or an array: got int"),
    ],
    ids=str,
)
def test_what_is_no_table_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        read_table(data)


def test_two_rows_are_few_but_can_be_read():
    assert read_table({"age": [1.0, 2.0], "dose": [5.0, 3.0]}).values.shape == (2, 2)


def test_an_exact_relation_is_a_caution_that_names_who_is_in_it(generator):
    a, b, other = torch.randn(3, 50, generator=generator)
    table = read_table({"A": a, "B": b, "S": a + 2 * b, "other": other})
    (caution,) = table.ties()
    assert "each of A, B, S follows exactly from the others" in caution
    noisy = {"A": a, "B": b, "S": a + 2 * b + 0.1 * other, "other": other[torch.randperm(50)]}
    assert read_table(noisy).ties() == ()
    few = {name: column[:4] for name, column in noisy.items()}
    assert read_table(few).ties() == ()

"""Numbers in the user's units become standardised floats and come back; the rest is refused."""

import numpy as np
import pandas as pd
import pytest
import torch

from causal_diffusers.errors import ShapeError
from causal_diffusers.variables import Continuous

PRESSURE = Continuous(mean=120, scale=15)
NUMBERS = [135.0, 90.0, 120.0]

READINGS = {
    "list": list,
    "integers": lambda a: [int(v) for v in a],
    "array": np.array,
    "single precision": lambda a: np.array(a, dtype=np.float32),
    "integer array": lambda a: np.array(a, dtype=np.int16),
    "column vector": lambda a: np.array(a)[:, None],
    "tensor": torch.tensor,
    "numpy scalars": lambda a: [np.float32(v) for v in a],
    "tensors": lambda a: [torch.tensor(v) for v in a],
    "vectors": lambda a: [[v] for v in a],
    "series": pd.Series,
    "objects": lambda a: np.array(a, dtype=object),
    "generator": iter,
}


@pytest.mark.parametrize("read", READINGS.values(), ids=READINGS)
def test_numbers_are_standardised_however_they_are_held(read):
    encoded = PRESSURE.encode(read(NUMBERS), name="V")
    assert encoded.dtype == torch.float32
    assert encoded.tolist() == [[1.0], [-2.0], [0.0]]


def test_what_is_encoded_comes_back(generator):
    for dim in (1, 3):
        variable = Continuous(dim, tuple(range(dim)), tuple(range(1, dim + 1)))
        values = 100 * torch.randn(20, dim, generator=generator).double()
        decoded = variable.decode(variable.encode(values, name="V"))
        assert np.allclose(np.reshape(decoded, (20, dim)), values, rtol=1e-6, atol=1e-5)
        assert isinstance(decoded[0], float if dim == 1 else tuple)


def test_a_small_difference_of_large_numbers_is_kept():
    """Years, or timestamps: standardised before they are rounded."""
    encoded = Continuous(mean=1e9, scale=1).encode([1e9 + 1, 1e9 + 2], name="V")
    assert encoded.tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("column", "row"),
    [
        ([1.0, float("nan"), 2.0], 1),
        (torch.tensor([1.0, 2.0, float("inf")]), 2),
        ([1.0, "2.0"], 1),
        (["1", "2"], 0),
        ([None, 1.0], 0),
        ([1.0, True], 1),
        (np.array([True, False]), 0),
        ([1.0, pd.NA], 1),
        ([1.0, 10**400], 1),
        ([1 + 2j], 0),
        ([{"a": 1}], 0),
    ],
)
def test_what_is_no_finite_number_is_refused_by_row(column, row):
    with pytest.raises(ValueError, match=rf'"V" takes finite numbers: got .* in row {row}'):
        PRESSURE.encode(column, name="V")


@pytest.mark.parametrize(
    ("dim", "column"),
    [
        (1, [[1.0, 2.0]]),
        (2, [1.0, 2.0]),
        (2, [[1.0, 2.0], [1.0]]),
        (2, np.zeros((3, 3))),
        (2, np.zeros(2)),
        (1, np.zeros((3, 1, 1))),
    ],
)
def test_another_width_is_refused(dim, column):
    with pytest.raises(ShapeError, match=r'"V" should have \d number'):
        Continuous(dim).encode(column, name="V")


def test_no_rows_are_no_trouble():
    assert Continuous(dim=3).encode([], name="V").shape == (0, 3)


@pytest.mark.parametrize("dim", [1, 4])
def test_data_say_where_they_lie(dim, generator):
    table = 7 + 3 * torch.randn(500, dim, generator=generator)
    variable = Continuous.of(table)
    encoded = variable.encode(table, name="V").double()
    assert variable.dim == dim
    assert encoded.mean(dim=0).abs().max() < 1e-6
    assert (encoded.std(dim=0, correction=0) - 1).abs().max() < 1e-6
    assert variable == Continuous.of(table.numpy()) == Continuous.of(table.tolist())


@pytest.mark.parametrize(
    ("column", "complaint"),
    [
        ([3.0, 3.0, 3.0], "needs a column that varies: got 3 in every row"),
        ([[1, 5], [2, 5]], "needs a column that varies: got 5"),
        ([2.5], "needs a column that varies"),
        ([], "needs at least two rows"),
        ([0.1] * 7, "needs a column that varies"),
        (["a", "b"], '"column" takes finite numbers'),
        ([1.0, float("nan")], '"column" takes finite numbers: got nan in row 1'),
        ([[1, 2], [1]], '"column" should have 2 number'),
        (np.zeros((2, 2, 2)), '"column" should have'),
    ],
)
def test_data_that_say_nothing_are_refused(column, complaint):
    with pytest.raises(ValueError, match=complaint):
        Continuous.of(column)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"dim": 0}, "integer `dim`"),
        ({"dim": True}, "integer `dim`"),
        ({"dim": 1.0}, "integer `dim`"),
        ({"scale": 0}, "positive `scale`"),
        ({"dim": 2, "scale": (1, -1)}, "positive `scale`"),
        ({"mean": float("nan")}, "finite number, or 1 of them, as `mean`"),
        ({"scale": float("inf")}, "as `scale`"),
        ({"mean": "0"}, "as `mean`"),
        ({"mean": True}, "as `mean`"),
        ({"dim": 2, "mean": (1, 2, 3)}, "finite number, or 2 of them"),
        ({"dim": 2, "mean": ((1, 2), (3, 4))}, "as `mean`"),
    ],
)
def test_a_description_is_sensible(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        Continuous(**arguments)


def test_encoded_values_are_finite_floats():
    variable = Continuous()
    variable.check_range(torch.zeros(2, 1), name="V")
    for values in (torch.zeros(2, 1, dtype=torch.int64), torch.full((1, 1), torch.inf)):
        with pytest.raises(ValueError, match='"V" takes finite floats'):
            variable.check_range(values, name="V")

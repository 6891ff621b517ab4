import numpy as np
import pytest

from causal_diffusers.errors import GraphError
from causal_diffusers.graphs.table import Table

TABLE = Table(np.arange(24.0).reshape(2, 3, 4), ("X", "Y", "Z"))


def test_fixing_variables_keeps_the_others_in_order():
    inner = TABLE.at({"Y": 2})
    assert inner.variables == ("X", "Z")
    assert np.array_equal(inner.values, TABLE.values[:, 2])
    assert TABLE.at({"Z": 1, "X": 1, "Y": 0}).values == 13


def test_reordering_turns_the_axes():
    turned = TABLE.order("Z", "X", "Y")
    assert turned.at({"Z": 3, "X": 1, "Y": 2}).values == TABLE.values[1, 2, 3]


def test_axes_and_names_must_agree():
    with pytest.raises(ValueError, match=r"one axis for each of 1 variables \(X\)"):
        Table(np.zeros((2, 2)), ("X",))


@pytest.mark.parametrize("names", [("X", "Y"), ("X", "Y", "Y"), ("X", "Y", "Z", "X")])
def test_reordering_needs_every_name_once(names):
    with pytest.raises(GraphError, match="each once"):
        TABLE.order(*names)


def test_an_unknown_name_is_refused():
    with pytest.raises(GraphError, match='got "Q"'):
        TABLE.at({"Q": 0})

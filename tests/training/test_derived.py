"""A derived column is computed once, when it is needed."""

import torch

from causal_diffusers import Categorical
from causal_diffusers.training import Rows
from causal_diffusers.training.derived import derive


def test_a_derived_column_is_computed_once_and_known_by_its_source():
    calls = []

    def double(values):
        calls.append(len(values))
        return 2 * values

    six = Categorical(range(6))
    rows = Rows({"X": [0, 1, 2]}, {"X": six})
    more = derive(rows, "2X", six, "X", double)
    known = more.fingerprint(["2X"])
    assert calls == []
    assert "2X" not in rows.variables
    for _ in range(2):
        assert more.batch(torch.tensor([2, 0]), ["2X"])["2X"].tolist() == [4, 0]
    assert calls == [3]
    assert more.counts(["2X"])[0]["2X"].tolist() == [0, 2, 4]
    assert (
        more.fingerprint(["2X"])
        == known
        == derive(rows, "2X", six, "X", double).fingerprint(["2X"])
    )
    other = derive(Rows({"X": [0, 1, 1]}, {"X": six}), "2X", six, "X", double)
    assert other.fingerprint(["2X"]) != known
    assert known not in (
        rows.fingerprint(["X"]),
        derive(rows, "3X", six, "X", double).fingerprint(["3X"]),
    )


def test_a_selection_selects_what_is_not_computed_yet():
    two = Categorical([0, 1])
    rows = Rows({"X": [0, 1, 1]}, {"X": two})
    more = derive(rows, "Y", two, "X", lambda x: x)
    taken = more.take(torch.tensor([1, 2]))
    assert taken.batch(torch.arange(2))["Y"].tolist() == [1, 1]
    assert more.batch(torch.arange(3))["Y"].tolist() == [0, 1, 1]

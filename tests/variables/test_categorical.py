"""Every way to write a label is read as it was meant, or refused by name and row."""

import time

import numpy as np
import pandas as pd
import pytest
import torch

from causal_diffusers.variables import Categorical

LETTERS = ["a", "b", "c"]


def codes(labels, column):
    encoded = Categorical(labels).encode(column, name="X")
    assert encoded.dtype == torch.int64
    return encoded.tolist()


@pytest.mark.parametrize(
    "column",
    [
        ["c", "a", "b"],
        ("c", "a", "b"),
        np.array(["c", "a", "b"]),
        np.array(["c", "a", "b"], dtype=object),
        pd.Series(["c", "a", "b"]),
        pd.Series(["c", "a", "b"], dtype="category"),
        pd.Categorical(["c", "a", "b"], categories=["c", "b", "a"]),
        [np.str_("c"), "a", "b"],
        iter(["c", "a", "b"]),
    ],
    ids=lambda column: type(column).__name__,
)
def test_labels_are_read_from_anything_that_lists_them(column):
    assert codes(LETTERS, column) == [2, 0, 1]


@pytest.mark.parametrize(
    "column",
    [
        [2, 0, 1],
        [2.0, 0.0, 1.0],
        np.array([2, 0, 1], dtype=np.uint8),
        np.array([2.0, 0.0, 1.0]),
        torch.tensor([2, 0, 1]),
        [torch.tensor(2), np.int32(0), 1],
        pd.Series([2, 0, 1], dtype="Int64"),
    ],
)
def test_words_may_be_given_as_codes(column):
    assert codes(LETTERS, column) == [2, 0, 1]


def test_labels_and_codes_do_not_mix():
    with pytest.raises(ValueError, match=r'"X" takes one of \[.*\]: got 0 in row 1'):
        codes(LETTERS, ["a", 0])
    with pytest.raises(ValueError, match=r"got 'a' in row 1"):
        codes([0, 1], [0, "a"])


def test_integer_labels_are_never_read_as_codes():
    assert codes([3, 5], [5, 3]) == [1, 0]
    assert codes([1, 2, 3], [1, 2]) == [0, 1]
    with pytest.raises(ValueError, match=r"takes one of \[3, 5\]: got 0 in row 0"):
        codes([3, 5], [0, 1])
    with pytest.raises(ValueError, match="got 0 in row 1"):
        codes([1, 2, 3], [1, 0])


@pytest.mark.parametrize(
    ("labels", "column"), [(["1", "2", "3"], [1, 2]), ([0, 1], ["0", "1"]), (["0.5", "1.5"], [0])]
)
def test_digits_in_words_are_not_numbers(labels, column):
    with pytest.raises(ValueError, match="in row 0"):
        codes(labels, column)


def test_another_type_of_the_same_label_is_named():
    with pytest.raises(ValueError, match=r"type int and the value of type str: convert"):
        codes(range(10), ["7"])


def test_true_is_one_as_a_label_and_nothing_as_a_code():
    assert codes([False, True], [1, 0, True]) == [1, 0, 1]
    assert codes([True, False], [1, 0, True]) == [0, 1, 0]
    assert codes([0, 1], np.array([True, False])) == [1, 0]
    with pytest.raises(ValueError, match="got True in row 0"):
        codes(["yes", "no"], [True, False])  # by position, True would be "no"
    for labels in (range(10), [1, 2], [0, 1, 2]):
        with pytest.raises(ValueError, match="got True in row 1"):
            codes(labels, [1, True])
    assert codes(["a", True], [True, "a"]) == [1, 0]
    with pytest.raises(ValueError, match="in row 0"):
        codes(["yes", "no"], [0, True])


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf"), pd.NA, pd.NaT])
@pytest.mark.parametrize("labels", [LETTERS, [0, 1], [False, True]])
def test_a_missing_value_is_refused_by_row(missing, labels):
    with pytest.raises(ValueError, match=r'^"X" takes one of .* in row 2\. '):
        codes(labels, [labels[0], labels[1], missing, missing])


def test_a_missing_value_in_a_frame_is_refused_by_row():
    with pytest.raises(ValueError, match="got nan in row 1"):
        codes([0, 1], pd.Series([0, None, 1]))
    with pytest.raises(ValueError, match="in row 1"):
        codes(LETTERS, pd.Series(["a", None], dtype="category"))


@pytest.mark.parametrize("column", [[[1, 0]], torch.eye(2), [{"a": 1}], [b"a"], [1.5], [3], [-1]])
def test_anything_else_is_refused(column):
    with pytest.raises(ValueError, match="in row 0"):
        codes(LETTERS, column)


def test_the_row_of_a_code_out_of_range_is_the_one_named():
    with pytest.raises(ValueError, match="got 3 in row 2"):
        codes(LETTERS, [0, 2, 3])


def test_a_long_list_of_labels_is_cut_in_errors():
    with pytest.raises(ValueError, match=r"8, 9, \.\.\.\]") as caught:
        codes(range(1000), ["x"])
    assert len(str(caught.value)) < 200


def test_an_empty_column_has_no_codes():
    assert codes(LETTERS, []) == codes([0, 1], np.array([])) == []


def test_a_long_column_is_quick():
    column = ["a", "b", "c", "a"] * 50_000
    started = time.process_time()
    codes(LETTERS, column)
    codes([0, 1, 2], np.arange(200_000) % 3)
    codes(LETTERS, [0, 1, 2, 1] * 50_000)
    assert time.process_time() - started < 1.5


@pytest.mark.parametrize(
    "labels",
    [[], ["a"], ["a", "a"], [1, "1"], [1, True], [0, 1, False], [1, 1.0]],
)
def test_labels_are_two_and_distinct(labels):
    with pytest.raises(ValueError, match="at least two distinct labels"):
        Categorical(labels)


@pytest.mark.parametrize("label", [None, float("nan"), 1.5, ("a",), b"a"])
def test_labels_are_names(label):
    with pytest.raises(ValueError, match="strings, integers or booleans"):
        Categorical(["a", label])


def test_labels_become_plain_python():
    labels = Categorical(np.array([3.0, 5.0])).labels
    assert labels == (3, 5)
    assert {type(label) for label in labels} == {int}
    assert Categorical(pd.Series(["a", "b"])) == Categorical("ab")


def test_decoding_undoes_encoding(generator):
    for labels in (LETTERS, [3, 5, 9], [False, True]):
        variable = Categorical(labels)
        drawn = torch.randint(len(labels), (50,), generator=generator)
        assert torch.equal(variable.encode(variable.decode(drawn), name="X"), drawn)

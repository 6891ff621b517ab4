"""Rows are told apart as torch tells them apart, only faster."""

import pytest
import torch

from causal_diffusers.training.distinct import distinct_rows


@pytest.mark.parametrize("width", [1, 2, 5, 90])
@pytest.mark.parametrize("labels", [1, 2, 7])
def test_it_finds_what_torch_finds(width, labels, generator):
    rows = torch.randint(labels, (300, width), generator=generator)
    where, which = distinct_rows(list(rows.unbind(1)))
    distinct, same = rows.unique(dim=0, return_inverse=True)
    assert torch.equal(which, same)
    assert torch.equal(rows[where], distinct)
    assert torch.equal(rows[where][which], rows)


def test_large_labels_of_many_columns_do_not_overflow(generator):
    rows = torch.randint(2**40, (50, 9), generator=generator)
    rows = rows[torch.randint(50, (200,), generator=generator)]
    assert torch.equal(
        distinct_rows(list(rows.unbind(1)))[1], rows.unique(dim=0, return_inverse=True)[1]
    )


def test_truth_values_and_no_rows_are_rows():
    where, which = distinct_rows([torch.tensor([True, False, True])])
    assert which.tolist() == [1, 0, 1]
    assert where[0] == 1
    none = distinct_rows([torch.zeros(0, dtype=torch.long)])
    assert [len(part) for part in none] == [0, 0]

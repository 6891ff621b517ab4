"""The share of what was read as asked."""

import pytest
import torch

from causal_diffusers.metrics import classifier_agreement, wilson_interval


def test_codes_and_labels_count_alike():
    asked, read = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 0])
    assert classifier_agreement(asked, read) == wilson_interval(3, 4)
    assert classifier_agreement(["a", "b"], ["a", "a"], level=0.8) == wilson_interval(
        1, 2, level=0.8
    )


def test_other_lengths_are_refused():
    with pytest.raises(ValueError, match="one entry for each image, at least one: got 2 and 1"):
        classifier_agreement([1, 2], [1])

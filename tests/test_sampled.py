"""What is written to disk is what was sampled, and can be read as a table."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from causal_diffusers import Categorical, Continuous
from causal_diffusers.sampled import check_unused, summarise, write_samples


def answered():
    """Two samples of an image, a label, a number and a vector."""
    pictures = [PILImage.new("L", (4, 4), level) for level in (10, 200)]
    return SimpleNamespace(
        images={"I": pictures},
        values={"A": ["no", "yes"], "T": [36.5, 38.5], "V": [(1.0, 2.0), (3.0, 4.0)]},
        probabilities={"A": torch.tensor([[0.75, 0.25], [0.25, 0.75]])},
    )


def test_a_table_and_its_images_are_written(tmp_path):
    write_samples(answered(), tmp_path / "out")
    with (tmp_path / "out" / "values.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["A"] for row in rows] == ["no", "yes"]
    assert [row["V"] for row in rows] == ["1.0 2.0", "3.0 4.0"]
    with PILImage.open(tmp_path / "out" / rows[1]["I"]) as image:
        assert np.asarray(image).max() == 200


def test_a_folder_with_samples_is_refused(tmp_path):
    check_unused(tmp_path)
    write_samples(answered(), tmp_path)
    with pytest.raises(FileExistsError, match="holds samples already"):
        check_unused(tmp_path)


def test_the_summary_averages_over_samples():
    variables = {"A": Categorical(["no", "yes"]), "T": Continuous(), "V": Continuous(dim=2)}
    lines = summarise(answered(), variables).splitlines()
    assert lines == [
        "  T: mean 37.5, standard deviation 1.",
        "  V: mean [2. 3.], standard deviation [1. 1.]",
        "  P(A): no 0.500, yes 0.500",
    ]

"""Rows of a data set in the layout of CelebA are chosen, and read, as the module says."""

import datasets
import pytest
import torch
from PIL import Image

from causal_diffusers import Categorical
from causal_diffusers.systems.faces import biased_faces
from causal_diffusers.training.data import Rows
from causal_diffusers.variables import Image as Picture

COUNTS = {(0, 0): 200, (0, 1): 120, (1, 0): 30, (1, 1): 100}


@pytest.fixture(scope="module", params=["bool", "signed"])
def faces(request, tmp_path_factory):
    """A parquet file: the red of an image says the class, its green the attribute."""
    combinations = [cell for cell, count in COUNTS.items() for _ in range(count)]
    images = [Image.new("RGB", (18, 22), (200 * c, 200 * b, 9)) for c, b in combinations]
    write = bool if request.param == "bool" else lambda bit: 2 * bit - 1
    columns = {
        "image": images,
        "Eyeglasses": [write(c) for c, _ in combinations],
        "Male": [write(b) for _, b in combinations],
        "Smiling": [write(0)] * len(images),
    }
    path = tmp_path_factory.mktemp(f"faces-{request.param}") / "train.parquet"
    table = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    table.to_parquet(path)
    cache = str(tmp_path_factory.mktemp("cache"))
    return datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=cache)


@pytest.mark.parametrize("agreement", [0.9, 0.5])
def test_the_two_agree_as_often_as_asked(faces, agreement):
    rows = biased_faces(
        faces, agreement=agreement, size=16, generator=torch.Generator().manual_seed(0)
    )
    equal = rows["Eyeglasses"] == rows["Male"]
    assert equal.float().mean().item() == pytest.approx(agreement, abs=0.02)
    assert rows["Male"].float().mean().item() == pytest.approx(0.5, abs=0.03)
    for (c, b), count in COUNTS.items():
        assert int(((rows["Eyeglasses"] == c) & (rows["Male"] == b)).sum()) <= count


def test_an_image_belongs_to_its_row_and_is_read_when_used(faces):
    rows = biased_faces(faces, size=16, generator=torch.Generator().manual_seed(1))
    bit = Categorical([0, 1])
    variables = {"Eyeglasses": bit, "Male": bit, "image": Picture(3, 16, 16)}
    batch = Rows(rows, variables).batch(torch.arange(40))
    assert batch["image"].shape == (40, 3, 16, 16)
    assert torch.equal((batch["image"][:, 0, 8, 8] > 0).long(), batch["Eyeglasses"])
    assert torch.equal((batch["image"][:, 1, 8, 8] > 0).long(), batch["Male"])


def test_no_row_is_used_twice(faces):
    rows = biased_faces(faces, size=16, generator=torch.Generator().manual_seed(2))
    numbers = rows["image"]._rows
    assert len(set(numbers)) == len(numbers) > 100


def test_what_is_wrong_is_refused(faces):
    generator = torch.Generator()
    with pytest.raises(ValueError, match=r"need the columns \['Bald'\]: got"):
        biased_faces(faces, attribute="Bald", generator=generator)
    with pytest.raises(ValueError, match=r"`agreement` is a probability in \(0, 1\): got 1"):
        biased_faces(faces, agreement=1, generator=generator)
    with pytest.raises(ValueError, match=r"needs a row: got \[320, 0, 130, 0\]"):
        biased_faces(faces, attribute="Smiling", generator=generator)

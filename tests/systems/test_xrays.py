"""The truth of the X-rays, by enumeration in loops and by Monte Carlo."""

import math

import numpy as np
import pytest
import torch

from causal_diffusers.graphs import identify
from causal_diffusers.systems import ChestXrays
from causal_diffusers.systems.xrays import lung_darkness

COUNTS = {"train": 60, "val": 20, "test": 30}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Two classes that differ in the darkness of the lungs, as a file of MedMNIST."""
    generator, arrays = torch.Generator().manual_seed(0), {}
    for part, count in COUNTS.items():
        labels = torch.arange(count) % 2
        noise = torch.randint(60, (count, 28, 28), generator=generator)
        arrays[f"{part}_images"] = (100 + 15 * labels[:, None, None] + noise).to(torch.uint8)
        arrays[f"{part}_images"] += torch.randint(40, (count, 1, 1), generator=generator).byte()
        arrays[f"{part}_labels"] = labels[:, None].byte()
    path = tmp_path_factory.mktemp("medmnist") / "pneumoniamnist.npz"
    np.savez(path, **{name: value.numpy() for name, value in arrays.items()})
    return path


@pytest.fixture(scope="module")
def system(file):
    return ChestXrays(file)


@pytest.fixture(scope="module")
def rows(system):
    return system.sample(60_000, generator=torch.Generator().manual_seed(1))


class Loops:
    """The system in loops, from the pixels of the file."""

    def __init__(self, file):
        arrays = np.load(file)
        images = np.concatenate([arrays["train_images"], arrays["val_images"]]) / 255
        self.classes = np.concatenate([arrays["train_labels"], arrays["val_labels"]])[:, 0]
        self.darkness = [
            1 - (x[7:21, 4:11].sum() + x[7:21, 17:24].sum()) / (14 * 14) for x in images
        ]
        self.median = sorted(self.darkness)[(len(images) - 1) // 2]

    def consequence(self, darkness, u):
        return 1 / (1 + math.exp(-(20 * (darkness - self.median) + (4 * u - 2))))

    def of_label(self, c, u):
        """P(N = 1 | C = c, U = u)."""
        total = 0.0
        for k in (0, 1):
            mine = [t for t, label in zip(self.darkness, self.classes, strict=True) if label == k]
            mean = sum(self.consequence(t, u) for t in mine) / len(mine)
            total += (0.75 if k == c else 0.25) * mean
        return total


@pytest.mark.parametrize("c", [0, 1])
def test_the_answers_are_those_of_a_loop(system, file, c):
    loops = Loops(file)
    under_do = (loops.of_label(c, 0) + loops.of_label(c, 1)) / 2
    p_1 = 0.8 if c else 0.2  # P(U = 1 | c), by symmetry
    given = (1 - p_1) * loops.of_label(c, 0) + p_1 * loops.of_label(c, 1)
    assert system.under_do()[c].item() == pytest.approx(under_do, abs=1e-4)
    assert system.given()[c].item() == pytest.approx(given, abs=1e-4)


def test_rows_agree_with_the_conditional(system, rows):
    for c in (0, 1):
        share = rows["N"][rows["C"] == c].float().mean()
        assert share.item() == pytest.approx(system.given()[c].item(), abs=0.012)


def test_association_and_cause_point_in_opposite_directions(system):
    do, given = system.under_do(), system.given()
    assert do[1] < do[0]
    assert given[1] > given[0]


def test_the_front_door_through_the_class_finds_the_truth(system, rows):
    """The sum over C' and K, with K looked up: it knows nothing of U."""
    number = {
        x.numpy().tobytes(): int(k) for x, k in zip(system.images, system.classes, strict=True)
    }
    k = torch.tensor([number[x.numpy().tobytes()] for x in rows["X"]])
    by_class = torch.zeros(2)
    for value in (0, 1):
        for c in (0, 1):
            mine = (k == value) & (rows["C"] == c)
            by_class[value] += (rows["C"] == c).float().mean() * rows["N"][mine].float().mean()
    for c in (0, 1):
        share = (k[rows["C"] == c] == 1).float().mean()
        answer = (1 - share) * by_class[0] + share * by_class[1]
        assert answer.item() == pytest.approx(system.under_do()[c].item(), abs=0.015)


def test_answers_for_an_image(system):
    images, classes = system.images[system.held_out][:4], system.classes[system.held_out][:4]
    p = system.consequence(images)
    assert torch.allclose(system.under_do_image(images), (p[:, 0] + p[:, 1]) / 2)
    weight = torch.where(classes == 1, 0.8 * 0.75 + 0.2 * 0.25, 0.2 * 0.75 + 0.8 * 0.25)
    naive = (1 - weight) * p[:, 0] + weight * p[:, 1]
    assert torch.allclose(system.given_image(images, classes), naive, atol=1e-6)


def test_held_out_images_do_not_occur_and_all_others_do(system, rows):
    images = [x.numpy().tobytes() for x in system.images]
    assert {x.numpy().tobytes() for x in rows["X"].unique(dim=0)} == set(images[:80])
    assert system.held_out.nonzero()[:, 0].tolist() == list(range(80, 110))


def test_the_darkness_is_that_of_the_two_fields():
    image = torch.ones(1, 1, 28, 28)
    image[..., 7:21, 4:11] = 0
    assert lung_darkness(image).item() == pytest.approx(0.5)


def test_the_graph_answers_it_and_the_image_is_needed():
    assert identify(ChestXrays.graph, ["N"], do=["C"])


def test_what_is_wrong_is_refused(file, tmp_path):
    with pytest.raises(ValueError, match=r"`agreement` is a probability in \[0, 1\]: got 1\.5"):
        ChestXrays(file, agreement=1.5)
    with pytest.raises(FileNotFoundError, match=r"There is no `pneumoniamnist\*\.npz` in"):
        ChestXrays(tmp_path)


def test_on_real_x_rays_too(data_folder):
    system = ChestXrays(data_folder)
    assert system.under_do()[0] - system.under_do()[1] > 0.08
    assert system.given()[1] - system.given()[0] > 0.15

"""Leaves are cut out, painted and drawn as the module says; on drawn leaves, and on real ones."""

import numpy as np
import pytest
import torch

from causal_diffusers.graphs import identify
from causal_diffusers.systems import AppleLeaves
from causal_diffusers.systems.leaves import PAINT, find_background, group_shares

CLASSES = ["Apple___Apple_scab", "Apple___Cedar_apple_rust", "Apple___healthy"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Squares of random size in the place of leaves, with a dark spot inside; diseased are red."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    images = torch.zeros(90, 64, 64, 3, dtype=torch.uint8)
    for image, label in zip(images, labels, strict=True):
        low, high = torch.randint(4, 20, (1,), generator=generator).item(), 50
        image[low:high, low:high] = torch.tensor([150 if label < 2 else 60, 150, 60])
        image[30:34, 30:34] = 0
    path = tmp_path_factory.mktemp("plant") / "plantvillage_apple64.npz"
    is_test = (torch.arange(90) // 3 % 5 == 0).byte()
    np.savez(path, images=images, label=labels.byte(), classes=CLASSES, is_test=is_test)
    return path


@pytest.fixture(scope="module")
def system(file):
    return AppleLeaves(file)


def ground_of(images):
    """Read the paint in the upper left corner."""
    corner = images[:, :, 0, 0]
    return (corner[:, None] - PAINT).square().sum(dim=2).argmin(dim=1)


def test_the_background_is_what_the_border_reaches():
    winding = torch.ones(1, 3, 7, 7)
    for row, column in [(0, 3), (1, 3), (2, 3), (2, 2), (3, 2), (4, 2), (5, 5)]:
        winding[..., row, column] = 0.05
    found = find_background(winding)[0, 0].nonzero().tolist()
    assert found == [[0, 3], [1, 3], [2, 2], [2, 3], [3, 2], [4, 2]]


def test_a_hole_in_a_leaf_is_not_painted(system):
    assert system.background[:, 0, 15:17, 15:17].max() == 0
    assert system.background[:, 0, 0].min() == 1


def test_two_classes_are_kept(system):
    assert len(system.diseased) == 60
    red = system.leaves[:, 0, 20, 18] > 0.4
    assert torch.equal(red.long(), system.diseased)


@pytest.mark.parametrize("agreement", [0.95, 0.5, 0.05])
def test_rows_are_drawn_as_described(system, agreement):
    generator = torch.Generator().manual_seed(1)
    rows = system.sample(4000, agreement=agreement, generator=generator)
    assert (rows["C"] == rows["B"]).float().mean().item() == pytest.approx(agreement, abs=0.03)
    assert rows["C"].float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert torch.equal(ground_of(rows["I"]), rows["B"])
    assert torch.equal((rows["I"][:, 0, 20, 18] > 0.4).long(), rows["C"])


def test_held_out_leaves_do_not_occur_and_all_others_do(system):
    numbers = system._draw(torch.arange(6000) % 2, torch.Generator().manual_seed(2))
    assert set(numbers.tolist()) == set((~system.held_out).nonzero()[:, 0].tolist())
    assert torch.equal(system.diseased[numbers], torch.arange(6000) % 2)


def test_groups_show_each_held_out_leaf_on_both_grounds(system):
    groups = system.groups()
    assert set(groups) == {(c, b) for c in ("healthy", "diseased") for b in ("earth", "sky")}
    for (c, b), images in groups.items():
        assert len(images) == int((system.held_out & (system.diseased == (c == "diseased"))).sum())
        assert set(ground_of(images).tolist()) == {b == "sky"}


@pytest.mark.parametrize("agreement", [0.05, 0.5, 0.95])
def test_group_shares_are_a_distribution(agreement):
    shares = group_shares(agreement)
    assert sum(shares.values()) == pytest.approx(1)
    same = shares["healthy", "earth"] + shares["diseased", "sky"]
    assert same == pytest.approx(agreement)


def test_the_interventional_image_is_identified():
    assert identify(AppleLeaves.graph, ["I"], do=["C", "B"])
    assert frozenset({"C", "B"}) in AppleLeaves.graph.bidirected


def test_what_is_wrong_is_refused(file, tmp_path):
    with pytest.raises(ValueError, match=r"`disease` is one of .*: got 'Black_rot'\."):
        AppleLeaves(file, disease="Black_rot")
    with pytest.raises(FileNotFoundError, match=r"There is no `plantvillage_apple\*\.npz` in"):
        AppleLeaves(tmp_path)


def test_real_leaves_stand_on_paint(data_folder):
    system = AppleLeaves(data_folder)
    assert 0.2 < system.background.mean() < 0.8
    assert int(system.held_out.sum()) == 110

"""The truth of front-door MNIST, computed again; on small files of the same layout."""

import math
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

from causal_diffusers.graphs import identify
from causal_diffusers.systems import FrontDoorMNIST
from causal_diffusers.systems.files import VARIABLE
from causal_diffusers.systems.mnist import load_mnist
from mnist_files import write_mnist


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_mnist(tmp_path_factory.mktemp("mnist"))


@pytest.fixture(scope="module")
def system(folder):
    return FrontDoorMNIST(folder)


@pytest.fixture(scope="module")
def rows(system):
    return system.sample(20_000, generator=torch.Generator().manual_seed(3))


def test_images_are_padded_to_the_size_of_the_base(system, folder):
    images, digits = load_mnist(folder)
    assert system.images.shape == (400, 1, 32, 32)
    assert torch.equal(system.images[:300, 0, 2:-2, 2:-2], images.float() / 255)
    assert torch.equal(system.digits[:300], digits)
    assert system.images.sum().isclose(system.images[..., 2:-2, 2:-2].sum())


def test_the_graph_keeps_what_is_written_inside_the_image():
    assert set(FrontDoorMNIST.written_graph.variables) - set(FrontDoorMNIST.graph.variables) == {
        "W"
    }
    assert identify(FrontDoorMNIST.graph, ["A"], do=["D"])


def test_the_truth_is_a_sum_over_hands_and_images(system):
    upper = system.images[:, 0, :16].numpy().astype(float).mean((1, 2))
    balance = upper - system.images[:, 0, 16:].numpy().astype(float).mean((1, 2))
    median = sorted(balance)[(len(balance) - 1) // 2]
    digits = system.digits.numpy()
    for d in (0, 4, 9):
        truth = 0.0
        for w in range(10):
            p_w = 0.7 * (w == d) + 0.03
            scores = 80 * (balance[digits == w] - median)
            verdicts = [1 / (1 + math.exp(-(s + u))) for s in scores for u in (-2, 2)]
            truth += p_w * sum(verdicts) / len(verdicts)
        assert system.verdict_under_do("D")[d].item() == pytest.approx(truth, abs=1e-4)


def test_rows_agree_with_the_truth(system, rows):
    error = system.tabular_front_door(rows, "D") - system.verdict_under_do("D")
    naive = system.verdict_given("D") - system.verdict_under_do("D")
    assert error.abs().max() < 0.06 < naive.abs().max()


def test_held_out_images_do_not_occur_and_all_others_do(system, rows):
    seen = {image.numpy().tobytes() for image in rows["I"].unique(dim=0)}
    images = [image.numpy().tobytes() for image in system.images]
    assert seen == set(images[:300])
    assert system.held_out.nonzero().flatten().tolist() == list(range(300, 400))


def test_an_image_shows_the_digit_that_was_written(system, rows):
    number = {image.numpy().tobytes(): n for n, image in enumerate(system.images)}
    shown = [number[image.numpy().tobytes()] for image in rows["I"][:500]]
    assert torch.equal(system.digits[shown], rows["W"][:500])


def test_the_hub_is_asked_where_no_folder_has_it(folder, monkeypatch, tmp_path):
    images, digits = load_mnist(folder)
    rows = {"image": [Image.fromarray(np.array(i)) for i in images], "label": digits.tolist()}
    asked = []
    hub = types.SimpleNamespace(load_dataset=lambda *a, **kw: asked.append((a, kw)) or rows)
    monkeypatch.setitem(sys.modules, "datasets", hub)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    load_mnist.cache_clear()
    fetched = load_mnist()
    assert asked == [(("ylecun/mnist",), {"split": "train"})]
    assert torch.equal(fetched[0], images)
    assert torch.equal(fetched[1], digits)
    with pytest.raises(FileNotFoundError, match=f"There is no `train-images.* in `{tmp_path}`"):
        load_mnist(tmp_path)
    assert len(asked) == 1  # who names a folder means that folder


def test_without_files_and_hub_it_says_how_to_get_them(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", None)
    load_mnist.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"Download the four files named \*-ubyte\.gz"):
        load_mnist()

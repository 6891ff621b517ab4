"""The truth of the coloured bars, in loops, and what its images show."""

import itertools
import math

import numpy as np
import pytest
import torch

from causal_diffusers.graphs import identify
from causal_diffusers.metrics import total_variation
from causal_diffusers.systems import ColoredBarMNIST
from causal_diffusers.systems.bars import draw_bars, read_bars
from mnist_files import write_mnist

BITS = list(itertools.product((0, 1), repeat=3))  # C, BC, BW
HIGH = 0.5 + 1 / math.sqrt(8)


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return ColoredBarMNIST(write_mnist(tmp_path_factory.mktemp("mnist")))


@pytest.fixture(scope="module")
def rows(system):
    return system.sample(40_000, generator=torch.Generator().manual_seed(1))


def pick(p, value):
    return p if value else 1 - p


def joint(d, c, bc, bw):
    """P(D = d, c, bc, bw), from the words of the module."""
    p_d_c = sum(0.5 * pick((1 - HIGH, HIGH)[u], d) * pick((1 - HIGH, HIGH)[u], c) for u in (0, 1))
    return p_d_c * pick(((0.2, 0.7), (0.4, 0.9))[d][c], bw) * pick((0.15, 0.8)[c], bc)


def under_do(d, c, bc, bw):
    return 0.5 * pick(((0.2, 0.7), (0.4, 0.9))[d][c], bw) * pick((0.15, 0.8)[c], bc)


def test_the_truth_is_that_of_a_loop(system):
    truth = system.labels.interventional(["C", "BC", "BW"], do="D").values
    loop = [[under_do(d, *bits) for d in (0, 1)] for bits in BITS]
    np.testing.assert_allclose(truth.reshape(8, 2), loop, atol=1e-12)


def test_whoever_forgets_the_confounder_is_a_quarter_off(system):
    for d in (0, 1):
        naive = torch.tensor([joint(d, *bits) for bits in BITS], dtype=torch.float64)
        naive /= naive.sum()
        truth = torch.tensor([under_do(d, *bits) for bits in BITS], dtype=torch.float64)
        assert total_variation(naive, truth).item() == pytest.approx(0.25, abs=1e-9)
        assert naive[4:].sum().item() == pytest.approx((0.25, 0.75)[d], abs=1e-9)


def test_the_graph_answers_it(system):
    estimand = identify(system.graph, ["C", "BC", "BW"], do=["D"])
    assert estimand
    assert system.graph.parents("I") == {"D", "C", "BW", "BC"}
    labels = identify(system.labels.graph, ["C", "BC", "BW"], do=["D"])
    answer = labels.evaluate(system.labels.joint())
    truth = system.labels.interventional(["C", "BC", "BW"], do="D")
    np.testing.assert_allclose(answer.values, truth.values, atol=1e-9)


def test_rows_are_drawn_as_described(rows):
    assert set(rows["D"].tolist()) == {0, 9}
    for d, bits in itertools.product((0, 1), BITS):
        held = rows["D"] == 9 * d
        for name, bit in zip(("C", "BC", "BW"), bits, strict=True):
            held = held & (rows[name] == bit)
        assert held.float().mean().item() == pytest.approx(joint(d, *bits), abs=0.01)


def test_what_was_drawn_is_read(rows):
    read = read_bars(rows["I"])
    assert {name: torch.equal(read[name], rows[name]) for name in read} == dict.fromkeys(
        ("C", "BW", "BC"), True
    )


def test_reading_bears_the_noise_of_a_generator(rows):
    generator = torch.Generator().manual_seed(2)
    noisy = rows["I"][:2000] + 0.1 * torch.randn(2000, 3, 16, 16, generator=generator)
    read = read_bars(noisy.clamp(0, 1))
    assert all((read[name] == rows[name][:2000]).float().mean() > 0.99 for name in read)


def test_an_image_shows_the_digit_of_its_row(system):
    generator = torch.Generator().manual_seed(3)
    values = {name: torch.zeros(4, dtype=torch.long) for name in ("C", "BW", "BC")}
    values["D"] = torch.tensor([0, 9, 0, 9])
    images = system.show_held_out(values, generator=generator)
    held = {
        digit: {
            draw_bars(one[None], {k: v[:1] for k, v in values.items()}).numpy().tobytes()
            for one in strokes
        }
        for digit, strokes in zip((0, 9), system._held_out, strict=True)
    }
    found = [images[i : i + 1].numpy().tobytes() for i in range(4)]
    assert all(image in held[digit] for image, digit in zip(found, (0, 9, 0, 9), strict=True))


def test_held_out_digits_do_not_occur(system, rows):
    values = {name: rows[name][:1] for name in ("C", "BW", "BC")}
    held = {draw_bars(one[None], values).numpy().tobytes() for one in torch.cat(system._held_out)}
    same = torch.stack([rows[name] == rows[name][0] for name in values]).all(dim=0)
    assert not held & {image[None].numpy().tobytes() for image in rows["I"][same]}

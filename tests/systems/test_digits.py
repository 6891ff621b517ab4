"""The truth of front-door digits, computed again from the words that describe it."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from causal_diffusers.systems import FrontDoorDigits

SLIPS = 0.3


@pytest.fixture(scope="module")
def system():
    return FrontDoorDigits()


@pytest.fixture(scope="module")
def rows(system):
    return system.sample(20_000, generator=torch.Generator().manual_seed(3))


class Truth:
    """The system in loops, from scikit-learn's images and nothing else."""

    def __init__(self, slips=SLIPS):
        bunch = load_digits()
        self.slips, self.images, self.digits = slips, bunch.images / 16, bunch.target
        ink = [x[:4].sum() / 32 - x[4:].sum() / 32 for x in self.images]
        self.balance, self.median = ink, sorted(ink)[len(ink) // 2]

    def dictated(self, d, u):
        return (d + 1) / 55 if u else (10 - d) / 55

    def written(self, w, d):
        return (1 - self.slips) * (w == d) + self.slips / 10

    def verdict(self, balance, u):
        return 1 / (1 + math.exp(-(23 * (balance - self.median) + 4 * (u - 0.5))))

    def verdict_of(self, w, u):
        """P(A=1 | W=w, U=u), over the images of the digit w."""
        shown = [b for b, digit in zip(self.balance, self.digits, strict=True) if digit == w]
        return sum(self.verdict(b, u) for b in shown) / len(shown)

    def table(self):
        """P(u, d, w) and P(A=1 | w, u), by enumeration."""
        cells = {
            (u, d, w): 0.5 * self.dictated(d, u) * self.written(w, d)
            for u in (0, 1)
            for d in range(10)
            for w in range(10)
        }
        return cells, {(w, u): self.verdict_of(w, u) for w in range(10) for u in (0, 1)}

    def under_do(self, variable):
        _, a = self.table()
        by_w = [(a[w, 0] + a[w, 1]) / 2 for w in range(10)]
        if variable == "W":
            return by_w
        return [sum(self.written(w, d) * by_w[w] for w in range(10)) for d in range(10)]

    def given(self, variable):
        cells, a = self.table()
        place, answers = {"D": 1, "W": 2}[variable], []
        for value in range(10):
            rows = {cell: p for cell, p in cells.items() if cell[place] == value}
            hits = sum(p * a[w, u] for (u, _, w), p in rows.items())
            answers.append(hits / sum(rows.values()))
        return answers


@pytest.fixture(scope="module")
def truth():
    return Truth()


@pytest.mark.parametrize("variable", ["D", "W"])
def test_the_answers_are_those_of_an_enumeration(system, truth, variable):
    np.testing.assert_allclose(
        system.verdict_under_do(variable), truth.under_do(variable), atol=1e-5
    )
    np.testing.assert_allclose(system.verdict_given(variable), truth.given(variable), atol=1e-5)


@pytest.mark.parametrize("slips", [0, 0.15, 1])
def test_so_they_are_with_other_slips(slips):
    system, truth = FrontDoorDigits(slips), Truth(slips)
    np.testing.assert_allclose(system.verdict_under_do("D"), truth.under_do("D"), atol=1e-5)
    np.testing.assert_allclose(system.verdict_given("D"), truth.given("D"), atol=1e-5)


@pytest.mark.parametrize(
    ("variable", "least", "most", "confounding"),
    [("D", 0.19, 0.70, 0.26), ("W", 0.05, 0.78, 0.20)],
)
def test_the_answers_are_far_apart_and_ignoring_the_confounder_fails(
    system, variable, least, most, confounding
):
    do, given = system.verdict_under_do(variable), system.verdict_given(variable)
    assert (do.min().item(), do.max().item()) == pytest.approx((least, most), abs=0.005)
    assert (do - given).abs().max().item() == pytest.approx(confounding, abs=0.005)


def test_so_it_does_for_a_given_image(system):
    do = system.verdict_under_do_image(system.images)
    given = system.verdict_given_image(system.images, system.digits)
    assert (do - given).abs().max().item() == pytest.approx(0.22, abs=0.005)


def test_the_answers_for_an_image_are_those_of_an_enumeration(system, truth):
    cells, _ = truth.table()
    for index in range(0, 1797, 211):
        image, w = truth.images[index], truth.digits[index]
        a = [truth.verdict(truth.balance[index], u) for u in (0, 1)]
        p = [sum(cells[u, d, w] for d in range(10)) for u in (0, 1)]
        x = torch.as_tensor(image, dtype=torch.float32)[None, None]
        do, given = (
            system.verdict_under_do_image(x),
            system.verdict_given_image(x, torch.tensor([w])),
        )
        assert do.item() == pytest.approx(sum(a) / 2, abs=1e-5)
        assert given.item() == pytest.approx((p[0] * a[0] + p[1] * a[1]) / sum(p), abs=1e-5)


def test_images_are_those_of_scikit_learn_in_another_order(system):
    bunch = load_digits()
    theirs = {
        (digit, image.tobytes()) for digit, image in zip(bunch.target, bunch.images, strict=True)
    }
    ours = {
        (digit, (16 * image[0]).numpy().astype(np.float64).tobytes())
        for digit, image in zip(system.digits.tolist(), system.images, strict=True)
    }
    assert ours == theirs


def test_every_ninth_image_is_held_out_of_each_digit(system):
    assert int(system.held_out.sum()) == 200
    for digit in range(10):
        mine = system.digits == digit
        share = (system.held_out & mine).sum() / mine.sum()
        assert abs(share.item() - 1 / 9) < 0.01


def test_rows_are_drawn_as_described(rows, truth):
    number = len(rows["D"])
    cells, a = truth.table()
    found = torch.zeros(10, 10).index_put_(
        (rows["D"], rows["W"]), torch.ones(number), accumulate=True
    )
    expected = [[sum(cells[u, d, w] for u in (0, 1)) for w in range(10)] for d in range(10)]
    assert abs(found.numpy() / number - np.array(expected)).max() < 0.006
    high = rows["D"] >= 5  # where U = 1 is likelier: (20 + 20) / 55 against (15) / 55
    for w in (0, 4, 7):
        mine = high & (rows["W"] == w)
        weight = [sum(cells[u, d, w] for d in range(5, 10)) for u in (0, 1)]
        share = sum(p * a[w, u] for u, p in enumerate(weight)) / sum(weight)
        assert rows["A"][mine].float().mean().item() == pytest.approx(share, abs=0.06)


def test_held_out_images_do_not_occur_and_all_others_do(system, rows):
    seen = {image.numpy().tobytes() for image in rows["I"].unique(dim=0)}
    images = [image.numpy().tobytes() for image in system.images]
    held = {image for image, out in zip(images, system.held_out.tolist(), strict=True) if out}
    assert seen == set(images) - held


def test_an_image_shows_the_digit_that_was_written(system, rows):
    digit_of = {
        image.numpy().tobytes(): int(d)
        for image, d in zip(system.images, system.digits, strict=True)
    }
    assert [digit_of[image.numpy().tobytes()] for image in rows["I"]] == rows["W"].tolist()


def test_the_generator_decides(system):
    one, two, three = (
        system.sample(50, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[name], two[name]) for name in "DWIA")
    assert not torch.equal(one["D"], three["D"])


@pytest.mark.parametrize("variable", ["D", "W"])
def test_the_tabular_reference_finds_the_truth(system, rows, variable):
    error = system.tabular_front_door(rows, variable) - system.verdict_under_do(variable)
    naive = system.verdict_given(variable) - system.verdict_under_do(variable)
    assert error.abs().max() < 0.06 < naive.abs().max()


def test_the_tabular_reference_is_the_front_door_formula(system):
    rows = system.sample(2000, generator=torch.Generator().manual_seed(4))  # some cells are empty
    D, W, A = (rows[name].numpy() for name in "DWA")
    by_w = []
    for w in range(10):
        total = weight = 0
        for d in range(10):
            mine = (w == W) & (d == D)
            if mine.any():
                total += (d == D).mean() * A[mine].mean()
                weight += (d == D).mean()
        by_w.append(total / weight)
    np.testing.assert_allclose(system.tabular_front_door(rows, "W"), by_w, atol=1e-6)
    by_d = [
        sum(((w == W) & (d == D)).sum() / (d == D).sum() * by_w[w] for w in range(10))
        for d in range(10)
    ]
    np.testing.assert_allclose(system.tabular_front_door(rows, "D"), by_d, atol=1e-6)


@pytest.mark.parametrize("slips", [-0.1, 1.1, float("nan")])
def test_slips_are_a_probability(slips):
    with pytest.raises(ValueError, match="`slips` is a probability"):
        FrontDoorDigits(slips)


@pytest.mark.parametrize("ask", ["verdict_under_do", "verdict_given"])
def test_other_variables_are_refused(system, ask):
    with pytest.raises(ValueError, match=r"`variable` is 'D' or 'W': got 'I'\."):
        getattr(system, ask)("I")
    with pytest.raises(ValueError, match="got 'A'"):
        system.tabular_front_door({}, "A")

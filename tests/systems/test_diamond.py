"""The truth of the diamond, in loops and by Monte Carlo with the mechanisms replaced."""

import math

import pytest
import torch

from causal_diffusers.errors import NotIdentifiableError
from causal_diffusers.graphs import identify
from causal_diffusers.systems import ImageDiamond


@pytest.fixture(scope="module")
def system():
    return ImageDiamond()


@pytest.fixture(scope="module")
def rows(system):
    return system.sample(100_000, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def number(system):
    return {x.numpy().tobytes(): n for n, x in enumerate(system.images)}


def shown(system, number, column, count):
    """Look up which images some rows show."""
    return torch.tensor([number[x.numpy().tobytes()] for x in column[:count]])


def call(d, k, v):
    return 0.5 * (d == k) + 0.5 * ((d + 1) / 55 if v else (10 - d) / 55)


def green(ink, median, d, v):
    return 1 / (1 + math.exp(-(40 * (ink - median) + (d - 4.5) / 9 + 4 * v - 2)))


def loop(system, k, p_bold):
    """P(green | do(I1)) or P(green | I1) in loops, by how often I2 is bold."""
    seen = ~system.held_out
    ink, total = system.images.mean(dim=(1, 2, 3)), 0.0
    median = sorted(ink[seen].tolist())[(int(seen.sum()) - 1) // 2]
    inks = {
        (w, s): ink[seen & (system.digits == w) & (system.bold == s)].tolist()
        for w in range(10)
        for s in (0, 1)
    }
    for v in (0, 1):
        for d in (0, 3, 9, k):
            if d == k and d in (0, 3, 9):
                continue
            for (w, s), cell in inks.items():
                p = 0.5 * call(d, k, v) * (0.7 * (w == d) + 0.03) * (p_bold if s else 1 - p_bold)
                total += p * sum(green(i, median, d, v) for i in cell) / len(cell)
    return total


@pytest.mark.parametrize("k", [1, 8])
def test_the_answers_about_the_first_image_are_those_of_a_loop(system, k, monkeypatch):
    few = torch.zeros(10)
    few[[0, 3, 9, k]] = 1  # the loop visits these calls only
    monkeypatch.setattr(system, "called", system.called * few)
    assert system.color_under_do_first()[k].item() == pytest.approx(loop(system, k, 0.5), abs=1e-4)
    bold, fine = 0.95**2 + 0.05**2, 2 * 0.95 * 0.05
    given = system.color_given_first()[k]
    assert given[1].item() == pytest.approx(loop(system, k, bold), abs=1e-4)
    assert given[0].item() == pytest.approx(loop(system, k, fine), abs=1e-4)


def test_rows_agree_with_the_conditional_on_the_first_image(system, rows, number):
    first = shown(system, number, rows["I1"], 40_000)
    for k, s in [(0, 0), (5, 1), (9, 0)]:
        mine = (system.digits[first] == k) & (system.bold[first] == s)
        share = rows["Color"][:40_000][mine].float().mean().item()
        assert share == pytest.approx(system.color_given_first()[k, s].item(), abs=0.04)


def test_rows_agree_with_the_conditional_on_the_second_image(system, rows, number):
    second = shown(system, number, rows["I2"], 40_000)
    expected = system.color_given_second(system.images[second], system.digits[second])
    for w in (0, 4, 9):
        mine = system.digits[second] == w
        share = rows["Color"][:40_000][mine].float().mean().item()
        assert share == pytest.approx(expected[mine].mean().item(), abs=0.03)


def test_setting_the_second_image_is_a_simulation_without_its_mechanism(system):
    generator, n, y = torch.Generator().manual_seed(1), 100_000, system.images[[3, 900]]
    v = torch.randint(2, (n,), generator=generator)
    k = torch.randint(10, (n,), generator=generator)
    slip = torch.rand(n, generator=generator) < 0.5
    lean = torch.stack([torch.arange(10, 0, -1), torch.arange(1, 11)]).float()
    d = torch.where(slip, torch.multinomial(lean[v], 1, generator=generator)[:, 0], k)
    simulated = system.green(y)[:, d, v].mean(dim=1)
    assert torch.allclose(system.color_under_do_second(y), simulated, atol=0.006)


def test_ignoring_either_confounder_fails(system):
    first = (system.color_given_first() - system.color_under_do_first()[:, None]).abs().max()
    second = system.color_given_second(system.images, system.digits)
    second = (second - system.color_under_do_second(system.images)).abs().max()
    assert first > 0.05
    assert second > 0.05


def test_held_out_images_do_not_occur(system, rows, number):
    for name in ("I1", "I2"):
        seen = shown(system, number, rows[name].unique(dim=0), 2000)
        assert set(seen.tolist()) == set((~system.held_out).nonzero()[:, 0].tolist())


def test_what_the_graph_answers_and_what_it_does_not(system):
    for do in ("I1", "I2"):
        assert identify(system.graph, ["Color"], do=[do])
    with pytest.raises(NotIdentifiableError):
        identify(system.graph, ["Color"], do=["Digit"])

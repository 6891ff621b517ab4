"""Counts are exact; rows in place of counts are so in expectation."""

import pytest
import torch

from causal_diffusers import Categorical, CategoricalMechanism, Confounder, ConfounderPrior
from causal_diffusers.training import LikelihoodObjective, Rows, TrainingConfig, train_stage
from causal_diffusers.training.batches import drawn_from

TWO = Categorical(["no", "yes"])


def discrete():
    """X and Y share a confounder and are trained on counts."""
    torch.manual_seed(0)
    u = {"U": Confounder(states=2)}
    mechanisms = {name: CategoricalMechanism(width=4).bind(TWO, {}, u) for name in "XY"}
    return LikelihoodObjective(mechanisms, u, {"U": ConfounderPrior(states=2)})


@pytest.fixture
def rows(generator):
    columns = {name: torch.randint(2, (40,), generator=generator) for name in "XY"}
    return Rows(columns, {"X": TWO, "Y": TWO})


@pytest.fixture
def few_at_once(monkeypatch):
    """A step may hold three distinct rows, and there are four."""
    monkeypatch.setattr(LikelihoodObjective, "most_rows", 3)


def spied(monkeypatch):
    """Note the size of each batch that the objective sees."""
    sizes, forward = [], LikelihoodObjective.forward
    monkeypatch.setattr(
        LikelihoodObjective,
        "forward",
        lambda o, b, s: sizes.append(len(b["Y"])) or forward(o, b, s),
    )
    return sizes


@pytest.mark.parametrize(("most", "seen"), [(3, 3), (4, 4), (5, 4)])
def test_counts_that_are_too_many_become_batches(most, seen, rows, monkeypatch, capsys):
    monkeypatch.setattr(LikelihoodObjective, "most_rows", most)
    sizes = spied(monkeypatch)
    train_stage(discrete(), rows, TrainingConfig(steps=8), label="{X, Y}")
    assert sizes == [seen] * 8
    assert (
        "{X, Y}, 3 rows a step" if most == 3 else "{X, Y}, all rows"
    ) in capsys.readouterr().err


@pytest.mark.usefixtures("few_at_once")
def test_a_batch_size_of_the_user_holds_for_counts_too(rows, monkeypatch):
    sizes = spied(monkeypatch)
    config = TrainingConfig(steps=2, batch_size=30)
    train_stage(discrete(), rows, config, label="{X, Y}")
    assert sizes == [30, 30]


def loss_and_gradient(objective, values, weights):
    loss = (weights * objective(values, 0)).sum() / weights.sum()
    return [loss, *torch.autograd.grad(loss, list(objective.parameters()))]


@pytest.mark.usefixtures("few_at_once")
def test_batches_in_place_of_counts_have_their_gradient_in_expectation(rows, generator):
    objective = discrete()
    whole = loss_and_gradient(objective, *rows.counts(objective.columns))
    draw, _ = drawn_from(rows, objective, None, torch.device("cpu"))
    drawn = [loss_and_gradient(objective, *draw(generator)[:2]) for _ in range(500)]
    for truth, *found in zip(whole, *drawn, strict=True):
        found = torch.stack(found)
        error = found.std(dim=0) / len(found) ** 0.5
        assert bool(((found.mean(dim=0) - truth).abs() <= 5 * error + 1e-6).all())
        assert bool((error > 0).any())


@pytest.mark.usefixtures("few_at_once")
def test_training_on_rows_reaches_what_training_on_counts_reaches(rows, monkeypatch):
    def trained():
        objective = discrete()
        config = TrainingConfig(steps=200, learning_rate=1e-2)
        train_stage(objective, rows, config, label="{X, Y}")
        monkeypatch.setattr(LikelihoodObjective, "most_rows", 4)
        return loss_and_gradient(objective, *rows.counts(objective.columns))[0].item()

    assert trained() == pytest.approx(trained(), abs=0.03)

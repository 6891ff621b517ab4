"""An opponent's steps are those of its own Adam, and it goes on where it was."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState

from causal_diffusers.training.player import Opponent, Player


class Mean(Opponent):
    """Learns the mean of X."""

    def loss(self, batch, seed):
        return (self.state["mean"] - batch["X"]) ** 2


def opponent():
    return Mean({"mean": torch.nn.Parameter(torch.zeros(()))}, moves=3, betas=(0.5, 0.9))


def draw(generator):
    values = torch.rand(5, generator=generator)
    return {"X": values}, torch.tensor([1.0, 2.0, 0.0, 1.0, 1.0]), None


@pytest.fixture
def accelerator():
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def test_a_step_is_one_of_adam_on_the_weighted_loss(accelerator):
    mean, by_hand = opponent(), torch.nn.Parameter(torch.zeros(()))
    player = Player.of(mean, 0.1)
    adam = torch.optim.AdamW([by_hand], lr=0.1, betas=(0.5, 0.9), weight_decay=0.0)
    for seed in range(4):
        player.answer(mean, draw, torch.Generator().manual_seed(seed), accelerator)
        values, weights, _ = draw(torch.Generator().manual_seed(seed))
        adam.zero_grad()
        ((weights * (by_hand - values["X"]) ** 2).sum() / weights.sum()).backward()
        adam.step()
    torch.testing.assert_close(mean.state["mean"], by_hand)
    assert mean.state["mean"].grad is None


def test_another_player_goes_on_from_its_moments(accelerator):
    first, second = opponent(), opponent()
    one, other = Player.of(first, 0.1), Player.of(second, 0.1)
    for seed in range(3):
        one.answer(first, draw, torch.Generator().manual_seed(seed), accelerator)
    with torch.no_grad():
        for name, stored in one.weights().items():
            other.weights()[name].copy_(stored)
    other.adopt({name: moment.clone() for name, moment in one.moments().items()})
    for mean, player in ((first, one), (second, other)):
        player.answer(mean, draw, torch.Generator().manual_seed(9), accelerator)
    assert torch.equal(first.state["mean"], second.state["mean"])
    assert set(one.moments()) == {f"opponent.{k}.mean" for k in ("step", "exp_avg", "exp_avg_sq")}

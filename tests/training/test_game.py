"""A game in the loop: resumed exactly, its opponent included, in any precision."""

import pytest
import torch
from safetensors.torch import load_file

from causal_diffusers import ADMG, Categorical, CategoricalMechanism, Confounder, ConfounderPrior
from causal_diffusers.errors import CheckpointError
from causal_diffusers.scm import StructuralCausalModel
from causal_diffusers.training import (
    AdversarialObjective,
    LikelihoodObjective,
    Rows,
    TrainingConfig,
    train_stage,
)
from causal_diffusers.training import stage as stage_module
from causal_diffusers.training.player import Player

TWO = Categorical(["no", "yes"])
FEW = TrainingConfig(steps=8, checkpoint_every=3, ema_decay=0.9)


def parts(seed):
    """X and Y share a confounder."""
    torch.manual_seed(seed)
    mechanisms = {name: CategoricalMechanism(width=4) for name in "XY"}
    priors = {"U": ConfounderPrior(states=2)}
    variables, confounders = dict.fromkeys("XY", TWO), {"U": Confounder(states=2)}
    return StructuralCausalModel(ADMG.parse("U: X, Y"), variables, mechanisms, confounders, priors)


def playing(seed=0):
    return AdversarialObjective(parts(seed), "XY", "XY", critic_steps=2)


@pytest.fixture
def rows(generator):
    columns = {name: torch.randint(2, (40,), generator=generator) for name in "XY"}
    return Rows(columns, {"X": TWO, "Y": TWO})


def weights(objective):
    return {name: p.detach().clone() for name, p in objective.trainable_state().items()}


def train(rows, config=FEW, folder=None, seed=0):
    objective = playing(seed)
    train_stage(objective, rows, config, label="{X, Y}", folder=folder)
    return weights(objective)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def interrupt(rows, folder, step):
    """Train until the loop breaks before a step."""
    advance = stage_module._Loop._advance

    def advance_or_stop(loop):
        if loop.step == step:
            raise KeyboardInterrupt
        return advance(loop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage_module._Loop, "_advance", advance_or_stop)
        with pytest.raises(KeyboardInterrupt):
            train(rows, folder=folder)


@pytest.mark.parametrize("step", [0, 2, 3, 4, 7])
def test_a_game_that_broke_ends_in_the_same_weights(step, rows, tmp_path):
    interrupt(rows, tmp_path, step)
    # what is trained next starts elsewhere, unless a checkpoint says where it was
    assert same(train(rows, folder=tmp_path, seed=9 if step >= 3 else 0), train(rows))


def test_a_game_depends_on_nothing_global(rows):
    first = train(rows)
    objective = playing()
    torch.manual_seed(77)
    train_stage(objective, rows, FEW, label="{X, Y}")
    assert same(weights(objective), first)
    assert not same(train(rows, TrainingConfig(steps=8, ema_decay=0.9, seed=1)), first)


@pytest.mark.parametrize("batches", [1, 2])
def test_gradients_that_others_left_change_nothing(batches, rows):
    objective, config = playing(), TrainingConfig(steps=3, gradient_accumulation_steps=batches)
    for p in objective.parameters():
        p.grad = torch.full_like(p, 7.0)
    train_stage(objective, rows, config, label="{X, Y}")
    assert same(weights(objective), train(rows, config))


def test_the_opponent_moves_first_each_time_on_rows_of_its_own(rows, monkeypatch):
    seen = []
    answer = Player.answer

    def spy(player, opponent, draw, generator, accelerator):
        before = {n: p.clone() for n, p in player.weights().items()}
        answer(player, opponent, draw, generator, accelerator)
        seen.append(generator.initial_seed())
        assert any(not torch.equal(p, before[n]) for n, p in player.weights().items())

    monkeypatch.setattr(Player, "answer", spy)
    train(rows, TrainingConfig(steps=3, batch_size=8))
    assert len(seen) == len(set(seen)) == 6


def test_a_checkpoint_of_a_game_holds_the_opponent(rows, tmp_path):
    interrupt(rows, tmp_path, 4)
    held = load_file(tmp_path / "checkpoint.safetensors")
    kinds = {name.split(".")[1] for name in held if name.startswith("opponent.")}
    assert kinds == {"weights", "step", "exp_avg", "exp_avg_sq"}
    assert all(value.any() for name, value in held.items() if name.startswith("opponent.weights"))


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_game_is_played_in_either_precision(precision, rows):
    ends = train(rows, TrainingConfig(steps=3, mixed_precision=precision))
    assert all(p.isfinite().all() and p.dtype == torch.float32 for p in ends.values())


def test_a_likelihood_does_not_pass_for_a_game(rows, tmp_path):
    scm = parts(0)
    confounders, priors = scm.confounders, scm.priors
    objective = LikelihoodObjective(scm.mechanisms, confounders, priors)
    train_stage(objective, rows, FEW, label="{X, Y}", folder=tmp_path)
    with pytest.raises(CheckpointError, match=r"made from other .*objective\."):
        train(rows, folder=tmp_path)

"""What holds for every training: what moves, what does not, and what it depends on."""

import dataclasses

import pytest
import torch

from causal_diffusers import (
    Categorical,
    CausalPipeline,
    Confounder,
    GANMechanism,
    Image,
    ModularTrainer,
    TrainingConfig,
)
from causal_diffusers.training import stage as stage_module
from tiny import make_tiny_base, make_tiny_gan, make_tiny_pipeline, shake

FEW = TrainingConfig(steps=3, batch_size=16)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


def front_door(base):
    """Each kind of mechanism, an image parent, a finite confounder."""
    return make_tiny_pipeline(base)


def frontier(base):
    """Gaussian and finite confounders in one district, one of them with three children."""
    letters = Categorical("ab")
    pipe = CausalPipeline.from_graph(
        "A -> B -> C -> D; U: A, C, D; V: B, D; E",
        dict.fromkeys("ABCDE", letters),
        confounders={"U": Confounder(dim=2), "V": Confounder(states=3)},
    )
    shake(pipe.components.values())
    return pipe


def game(base):
    """The same as the front door; its last district plays against a critic."""
    return make_tiny_pipeline(base)


GAME = dataclasses.replace(FEW, objective="adversarial", critic_steps=2, bank_size=4)


def by_bayes(base):
    """An image of a frozen GAN, and what hangs on it."""
    gan = make_tiny_gan(base.with_name(base.name + "-gan"))
    letters = Categorical("abc")
    pipe = CausalPipeline.from_graph(
        "X -> I -> Y; W -> I",
        {"X": letters, "W": letters, "I": Image(1, 8, 8), "Y": letters},
        {"I": GANMechanism.from_pretrained(gan, candidates=4)},
    )
    shake(pipe.components.values())
    return pipe


@pytest.fixture(params=[front_door, frontier, game, by_bayes])
def pipe(request, base):
    return request.param(base)


@pytest.fixture
def trainer(pipe, generator, request):
    def column(variable):
        if isinstance(variable, Categorical):
            return torch.randint(len(variable.labels), (60,), generator=generator)
        return torch.rand(60, *variable.shape, generator=generator)

    columns = {n: column(v) for n, v in pipe.variables.items()}
    overrides = {"A": GAME} if request.node.callspec.params["pipe"] is game else {}
    return ModularTrainer(pipe, columns, config=FEW, overrides=overrides)


def state(pipe):
    """Copy every tensor of the pipeline, frozen ones and buffers included."""
    return {
        owner: {name: value.clone() for name, value in component.state_dict().items()}
        for owner, component in pipe.components.items()
    }


def adapted(pipe):
    """Name the tensors that are ours to train: all but those of a frozen base."""
    return {
        (owner, name)
        for owner, component in pipe.components.items()
        for name, _ in component.named_parameters()
        if not name.startswith("backbone.") or ".lora_" in name
    }


def moving(pipe):
    return {
        (owner, name)
        for owner, component in pipe.components.items()
        for name, parameter in component.named_parameters()
        if parameter.requires_grad
    }


def test_the_base_is_untouched_bit_for_bit(pipe, trainer):
    before = state(pipe)
    trainer.train()
    after, ours = state(pipe), adapted(pipe)
    for owner, tensors in before.items():
        for name, value in tensors.items():
            moved = not torch.equal(value, after[owner][name])
            assert moved == ((owner, name) in ours), (owner, name)


def test_exactly_what_is_ours_requires_a_gradient(pipe, trainer):
    assert moving(pipe) == adapted(pipe)
    trainer.train()
    assert moving(pipe) == adapted(pipe)


def test_every_trainable_parameter_gets_a_gradient(pipe, trainer, monkeypatch):
    seen = set()

    def spy(loop):
        for name, parameter in loop.state.items():
            if parameter.grad is not None and parameter.grad.abs().sum() > 0:
                seen.add(tuple(name.split(".", maxsplit=1)))

    monkeypatch.setattr(stage_module._Loop, "_clip_gradient", spy)
    trainer.train()
    assert seen == adapted(pipe)


def test_only_the_district_in_training_moves(pipe, trainer, monkeypatch):
    """Finished districts are frozen, and later ones wait."""
    last = state(pipe)
    finish = stage_module._Loop._finish
    trained = []

    def compare(loop):
        finish(loop)
        current = state(pipe)
        moved = {
            owner
            for owner, tensors in current.items()
            if any(not torch.equal(value, last[owner][name]) for name, value in tensors.items())
        }
        assert moved == set(loop.objective.components)
        assert not moved & set(trained)
        trained.extend(moved)
        last.update(current)

    monkeypatch.setattr(stage_module._Loop, "_finish", compare)
    trainer.train()
    assert sorted(trained) == sorted(pipe.components)


def test_frozen_ancestors_are_finished_when_they_are_needed(pipe, trainer, monkeypatch):
    order, run = [], stage_module._Loop.run
    monkeypatch.setattr(
        stage_module._Loop,
        "run",
        lambda loop: order.extend(loop.objective.components) or run(loop),
    )
    trainer.train()
    for planned in pipe.plan():
        first = min(order.index(name) for name in planned.stage.variables)
        assert all(order.index(name) < first for name in planned.stage.frozen)


def test_everything_ends_in_eval_mode(pipe, trainer):
    trainer.train()
    modules = [module for component in pipe.components.values() for module in component.modules()]
    assert not any(module.training for module in modules)


def test_no_gradient_is_left_behind(pipe, trainer):
    trainer.train()
    assert all(p.grad is None for c in pipe.components.values() for p in c.parameters())


def test_training_is_a_function_of_start_data_and_seed(base):
    def end(seed, noise):
        torch.manual_seed(0)
        pipe = frontier(base)
        columns = {name: [0, 1, 1, 0, 1] for name in "ABCDE"}
        torch.manual_seed(noise)
        ModularTrainer(pipe, columns, config=TrainingConfig(steps=3, seed=seed)).train()
        return state(pipe)

    def same(one, other):
        return all(torch.equal(v, other[o][n]) for o, ts in one.items() for n, v in ts.items())

    assert same(end(0, 1), end(0, 2))
    assert not same(end(0, 1), end(1, 1))

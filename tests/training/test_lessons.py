"""Lessons of one district do not disturb each other."""

import torch

from causal_diffusers import Confounder, DiffusionMechanism, Image, TrainingConfig
from causal_diffusers.training import DenoisingObjective, Rows, train_stage
from tiny import make_tiny_base


def test_what_another_lesson_trains_expects_no_gradient_meanwhile(tmp_path):
    """Several processes wait for the gradient of every parameter that asks for one."""
    f = DiffusionMechanism.from_pretrained(make_tiny_base(tmp_path / "base"), rank=2, codes=4)
    f.bind(Image(1, 8, 8), {}, {"U": Confounder(states=2)})
    objective, seen = DenoisingObjective("I", f), []
    forward, before = objective.forward, {n: p.requires_grad for n, p in f.named_parameters()}

    def spy(batch, seed):
        moved = {id(p) for p in objective.trainable_state().values()}
        seen.append({id(p) for p in objective.parameters() if p.requires_grad} == moved)
        return forward(batch, seed)

    objective.forward = spy
    images = Rows({"I": torch.rand(4, 1, 8, 8)}, {"I": Image(1, 8, 8)})
    train_stage(objective, images, TrainingConfig(steps=2, batch_size=4), label="{I}")
    assert seen == [True, True]
    assert {n: p.requires_grad for n, p in f.named_parameters()} == before

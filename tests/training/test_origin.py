"""Weights are known by what decides them, and by nothing else."""

import json

import pytest

from causal_diffusers import Categorical, CategoricalMechanism, DiffusionMechanism, Image
from causal_diffusers.training import LikelihoodObjective, Rows, TrainingConfig
from causal_diffusers.training.origin import describe, made_from
from tiny import make_tiny_base

TWO = Categorical([0, 1])


def origin(*, data=(0, 1, 1), width=4, labels=(0, 1), **config):
    variable = Categorical(labels)
    f = CategoricalMechanism(width=width).bind(variable, {}, {})
    rows = Rows({"X": list(data)}, {"X": variable})
    return made_from(LikelihoodObjective({"X": f}, {}, {}), rows, TrainingConfig(**config))


def test_it_is_plain_json():
    assert json.loads(json.dumps(origin())) == origin()


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"data": (0, 1, 0)}, "data"),
        ({"data": (0, 1)}, "data"),
        ({"width": 5}, "components"),
        ({"labels": (1, 0), "data": (1, 0, 0)}, "components"),
        ({"seed": 1}, "config"),
        ({"steps": 3}, "config"),
        ({"draws": 3}, "config"),
        ({"mixed_precision": "bf16"}, "config"),
    ],
)
def test_what_decides_the_weights_counts(change, part):
    differing = {key for key, value in origin(**change).items() if value != origin()[key]}
    assert differing == {part}


def test_how_often_a_checkpoint_is_written_does_not_count():
    assert origin(checkpoint_every=7) == origin()


def test_a_default_that_is_spelled_out_does_not_count():
    assert origin(steps=800, learning_rate=1e-2) == origin()


def test_a_base_is_known_by_its_weights(tmp_path):
    here, there = (make_tiny_base(tmp_path / name) for name in "ab")
    other = make_tiny_base(tmp_path / "c", seed=1)
    one, moved, changed = (
        describe(DiffusionMechanism.from_pretrained(folder).bind(Image(1, 8, 8), {"X": TWO}, {}))
        for folder in (here, there, other)
    )
    assert one == moved
    assert one != changed
    assert str(tmp_path) not in json.dumps(one)

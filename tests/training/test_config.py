"""A config is refused where it is written, not after an hour of training."""

import dataclasses
import math

import pytest

from causal_diffusers.training.config import Descent, TrainingConfig

WRONG = [
    ("steps", 0),
    ("steps", -3),
    ("steps", 2.0),
    ("steps", True),
    ("batch_size", 0),
    ("learning_rate", 0.0),
    ("learning_rate", -1e-3),
    ("learning_rate", math.inf),
    ("learning_rate", math.nan),
    ("learning_rate", "1e-3"),  # what YAML reads
    ("weight_decay", -0.1),
    ("ema_decay", 1.0),
    ("ema_decay", -0.1),
    ("gradient_accumulation_steps", 0),
    ("gradient_accumulation_steps", None),
    ("mixed_precision", "fp8"),
    ("mixed_precision", None),
    ("checkpoint_every", 0),
    ("draws", 0),
    ("seed", 1.5),
    ("objective", 3),
    ("temperature", 0.0),
    ("critic_steps", 0),
    ("bank_size", -1),
    ("seed", None),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_value_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"`TrainingConfig.{name}` is .*: got {value!r}\."):
        TrainingConfig(**{name: value})


def test_what_may_be_left_open_says_so():
    with pytest.raises(ValueError, match="None leaves it to the objective"):
        TrainingConfig(steps=0)
    with pytest.raises(ValueError, match=r"got 0\.$"):
        TrainingConfig(checkpoint_every=0)


def test_the_user_goes_before_the_objective():
    defaults = Descent(steps=800, batch_size=None, learning_rate=1e-2, ema_decay=0.9)
    assert TrainingConfig().descent(defaults) == defaults
    chosen = TrainingConfig(steps=3, batch_size=7, ema_decay=0.0).descent(defaults)
    assert chosen == Descent(steps=3, batch_size=7, learning_rate=1e-2, ema_decay=0.0)


def test_all_that_a_descent_holds_can_be_chosen():
    names = {field.name for field in dataclasses.fields(TrainingConfig)}
    assert {field.name for field in dataclasses.fields(Descent)} <= names


def test_the_defaults_are_those_of_the_shipped_weights():
    """Changing one would make the shipped pipelines irreproducible."""
    assert dataclasses.asdict(TrainingConfig()) == {
        "steps": None,
        "batch_size": None,
        "learning_rate": None,
        "weight_decay": None,
        "ema_decay": None,
        "gradient_accumulation_steps": 1,
        "mixed_precision": "no",
        "checkpoint_every": 500,
        "draws": 256,
        "seed": 0,
        "objective": None,
        "temperature": None,
        "critic_steps": None,
        "bank_size": None,
    }

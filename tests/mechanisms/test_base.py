"""What every mechanism is asked, and how it is bound."""

import pytest

from causal_diffusers.mechanisms import CategoricalMechanism, DiffusionMechanism, SamplingOptions
from causal_diffusers.variables import Categorical, Confounder, Image

TWO = Categorical([0, 1])


@pytest.mark.parametrize("name", ["num_inference_steps", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5, 2.0, "3", float("nan")])
def test_counts_are_positive_integers(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be an integer of at least 1: got"):
        SamplingOptions(**{name: value})


@pytest.mark.parametrize("value", [-0.1, -1, float("nan"), float("inf"), -float("inf")])
def test_guidance_is_a_weight(value):
    with pytest.raises(ValueError, match="`guidance_scale` must be a number of at least 0: got"):
        SamplingOptions(guidance_scale=value)


@pytest.mark.parametrize("value", [0, 0.0, 1, 7.5])
def test_any_other_weight_is_taken(value):
    assert SamplingOptions(guidance_scale=value).guidance_scale == value


def test_by_default_the_causal_conditional_is_sampled():
    assert SamplingOptions().guidance_scale == 1


def test_binding_tells_what_is_made_from_what():
    f = CategoricalMechanism()
    assert not f.is_bound
    assert f.bind(TWO, {"B": Image(1, 8, 8), "A": TWO}, {"U": Confounder(dim=5)}) is f
    assert f.is_bound
    assert f.variable == TWO
    assert f.parents == {"A": TWO, "B": Image(1, 8, 8)}
    assert f.confounders == {"U": Confounder(dim=5)}


def test_the_order_of_the_parents_is_no_other_signature():
    f = CategoricalMechanism().bind(TWO, {"B": TWO, "A": TWO}, {})
    assert f.bind(TWO, {"A": TWO, "B": TWO}, {}) is f


@pytest.mark.parametrize(
    "signature",
    [
        (Categorical("abc"), {}, {}),
        (TWO, {"X": TWO}, {}),
        (TWO, {}, {"U": Confounder(dim=3)}),
        (TWO, {}, {"U": Confounder(states=2)}),
    ],
)
def test_another_signature_is_refused(signature):
    f = CategoricalMechanism().bind(TWO, {}, {"U": Confounder()})
    with pytest.raises(ValueError, match="Create a mechanism of its own for each variable"):
        f.bind(*signature)


def test_a_mechanism_that_could_not_be_built_is_not_bound():
    f = CategoricalMechanism()
    with pytest.raises(ValueError, match="makes categorical variables: got Image"):
        f.bind(Image(1, 8, 8), {}, {})
    assert not f.is_bound
    f.bind(TWO, {}, {})


def test_an_adapter_without_layers_leaves_the_mechanism_unbound(base):
    f = DiffusionMechanism.from_pretrained(base, target_modules=["no_such_layer"])
    for _ in range(2):
        with pytest.raises(ValueError, match="not found"):
            f.bind(Image(1, 8, 8), {}, {})
        assert not f.is_bound

"""With a denoiser that knows the image, every sampler arrives at the image."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)

from causal_diffusers.errors import CheckpointError
from causal_diffusers.mechanisms.samplers import _KNOWN, denoise, describe_sampler, load_sampler

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

IMAGE = torch.linspace(-0.9, 0.9, 32).reshape(2, 1, 4, 4)
PREDICTIONS = ["epsilon", "sample", "v_prediction"]
WHERE = Path("config.json")
KINDS = [
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    DDPMScheduler,
    DPMSolverSinglestepScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
]


def test_what_may_be_saved_is_tested():
    assert set(_KNOWN.values()) == set(KINDS)


def oracle(schedule, prediction_type, image):
    """A denoiser that knows which image it is asked for."""

    def network(x_t, t):
        alpha_bar = schedule.alphas_cumprod[t.long()]
        eps = (x_t - alpha_bar.sqrt() * image) / (1 - alpha_bar).sqrt()
        v = alpha_bar.sqrt() * eps - (1 - alpha_bar).sqrt() * image
        return {"epsilon": eps, "sample": image.expand_as(x_t), "v_prediction": v}[prediction_type]

    return network


def run(sampler, network, *, steps=50, guidance_scale=1, seed=0):
    noise = torch.randn(IMAGE.shape, generator=torch.Generator().manual_seed(seed))
    return denoise(
        sampler,
        network,
        noise,
        steps=steps,
        guidance_scale=guidance_scale,
        generator=torch.Generator().manual_seed(seed),
        done=iter([]),
    )


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_oracle_leads_to_the_image(kind, prediction_type):
    schedule = DDPMScheduler(prediction_type=prediction_type)
    sampler = kind.from_config(schedule.config)
    found = run(sampler, oracle(schedule, prediction_type, IMAGE))
    assert (found - IMAGE).abs().max() < 0.05


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 2, 3, 19])
def test_the_network_is_asked_once_a_step(kind, steps):
    asked = []

    def network(x, t):
        asked.append(int(t))
        return 0 * x

    run(kind(num_train_timesteps=20), network, steps=steps)
    assert len(asked) == steps
    assert asked == sorted(asked, reverse=True)


@pytest.mark.parametrize("weight", [0, 0.5, 3])
def test_guidance_extrapolates_from_the_plain_to_the_told(weight):
    """At x_0 = plain + w (told - plain) both oracles pull to one image."""
    schedule = DDPMScheduler(prediction_type="sample", clip_sample=False)
    plain, told = 0.1 * IMAGE, 0.2 * IMAGE

    def network(x, t):
        assert len(x) == 2 * len(IMAGE)
        return torch.cat([plain, told])

    found = run(DDIMScheduler.from_config(schedule.config), network, guidance_scale=weight)
    torch.testing.assert_close(found, (0.1 + weight * 0.1) * IMAGE, atol=1e-3, rtol=0)


def test_without_guidance_the_network_sees_one_batch():
    run(DDIMScheduler(), lambda x, t: x if len(x) == len(IMAGE) else None, steps=2)


def test_steps_that_would_coincide_are_refused():
    sampler = DPMSolverMultistepScheduler(num_train_timesteps=20, timestep_spacing="leading")
    run(sampler, lambda x, t: 0 * x, steps=19)
    with pytest.raises(ValueError, match="too large for DPMSolverMultistepScheduler: got 20"):
        run(sampler, lambda x, t: 0 * x, steps=20)


def test_a_sampler_of_second_order_visits_its_steps_twice():
    run(HeunDiscreteScheduler(), lambda x, t: 0 * x, steps=4)


def test_a_stochastic_sampler_draws_from_the_generator():
    schedule = DDPMScheduler()
    one, two, other = (
        run(schedule, lambda x, t: 0.1 * x, steps=5, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sampler_survives_its_description(kind):
    sampler = kind(num_train_timesteps=33, prediction_type="sample")
    again = load_sampler(json.loads(json.dumps(describe_sampler(sampler))), WHERE)
    assert type(again) is kind
    assert describe_sampler(again) == describe_sampler(sampler)


def test_a_sampler_that_would_not_be_loaded_is_not_saved():
    with pytest.raises(ValueError, match=r"is saved as one of .*: got HeunDiscreteScheduler"):
        describe_sampler(HeunDiscreteScheduler())
    foreign = json.loads(HeunDiscreteScheduler().to_json_string())
    with pytest.raises(CheckpointError, match="got 'HeunDiscreteScheduler'"):
        load_sampler(foreign, WHERE)


@pytest.mark.parametrize("config", [[], "DDIMScheduler", 3, {}], ids=str)
def test_what_is_no_description_is_refused(config):
    with pytest.raises(CheckpointError, match="the sampler is one of"):
        load_sampler(config, WHERE)


@pytest.mark.parametrize(
    "changes",
    [
        {"_class_name": ["os", "system"]},
        {"_class_name": "../x"},
        {"num_train_timesteps": 10**15},
        {"num_train_timesteps": "many"},
        {"beta_schedule": "evil"},
        {"trained_betas": {}},
    ],
    ids=str,
)
def test_a_hostile_description_is_refused(changes):
    with pytest.raises(CheckpointError):
        load_sampler({**describe_sampler(DDPMScheduler()), **changes}, WHERE)

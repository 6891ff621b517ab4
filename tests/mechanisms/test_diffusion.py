"""A frozen denoiser, told by its parents what to draw, stays as it was downloaded."""

import json

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    HeunDiscreteScheduler,
)

from causal_diffusers.errors import CheckpointError
from causal_diffusers.mechanisms import DiffusionMechanism
from causal_diffusers.variables import Image
from mechanisms.zoo import LETTERS, PICTURE, draw_inputs, make, sample
from tiny import make_tiny_base, shake

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def f(base):
    return make("diffusion, of labels", base)


def bound(base, **options):
    mechanism = DiffusionMechanism.from_pretrained(base, **{"rank": 2, **options})
    return mechanism.bind(PICTURE, {"X": LETTERS}, {}).eval()


def base_of(mechanism):
    """The frozen tensors, under the names that they had before."""
    return {
        name.replace(".base_layer.", "."): tensor.clone()
        for name, tensor in mechanism.backbone.unet.state_dict().items()
        if ".lora_" not in name
    }


def counted(module):
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


# -- the base ---------------------------------------------------------------------------------


@torch.no_grad()
def test_an_untrained_adapter_leaves_the_base_alone_bit_for_bit(base):
    mechanism, plain = bound(base), DDPMPipeline.from_pretrained(base).unet
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    parents, t = {"X": torch.tensor([0, 1, 2, 0, 1])}, torch.tensor([0, 3, 7, 12, 19])
    for hidden in (torch.zeros(5, dtype=torch.bool), torch.ones(5, dtype=torch.bool)):
        assert torch.equal(mechanism.predict(x, t, parents, hidden), plain(x, t).sample)


def test_an_untrained_adapter_samples_what_the_base_samples(base):
    mechanism = bound(base)
    mechanism.scheduler = DDIMScheduler.from_config(mechanism.scheduler.config)
    found = sample(mechanism, 4, seed=7, num_inference_steps=5)
    unet = DDPMPipeline.from_pretrained(base).unet
    sampler = DDIMScheduler.from_config(mechanism.scheduler.config)
    sampler.set_timesteps(5)
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        for t in sampler.timesteps:
            x = sampler.step(unet(x, t).sample, t, x).prev_sample
    assert torch.equal(found, x)


def test_the_base_is_bit_identical_after_training(f):
    before = base_of(f)
    adapter = {name: t.detach().clone() for name, t in f.trainable_state().items()}
    adam = torch.optim.AdamW(f.parameters(), lr=0.1, weight_decay=0.1)  # all, not only ours
    parents, _ = draw_inputs(f, 4)
    for _ in range(3):
        f.train()
        x, hidden = torch.randn(4, 1, 8, 8), torch.tensor([True, False, False, True])
        f.predict(x, torch.arange(4), parents, hidden).square().sum().backward()
        adam.step()
        adam.zero_grad()
    after = base_of(f)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(not torch.equal(adapter[n], t) for n, t in f.trainable_state().items())


def test_the_base_stays_in_eval_mode(f):
    f.train()
    assert f.training
    assert f.encoder.training
    assert not any(module.training for module in f.backbone.modules())


def test_a_base_with_dropout_draws_none(base, tmp_path):
    pipe = DDPMPipeline.from_pretrained(base)
    pipe.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "unet" / "config.json").read_text())
    (tmp_path / "unet" / "config.json").write_text(json.dumps({**config, "dropout": 0.9}))
    mechanism = bound(tmp_path).train()
    parents, hidden = {"X": torch.tensor([0])}, torch.tensor([False])
    x, t = torch.ones(1, 1, 8, 8), torch.tensor([3])
    one, two = (mechanism.predict(x, t, parents, hidden) for _ in range(2))
    assert torch.equal(one, two)


def test_only_the_adapter_is_trainable(f):
    assert all("lora_" in n or not n.startswith("backbone") for n in f.trainable_state())
    frozen = [p for n, p in f.named_parameters() if n not in f.trainable_state()]
    assert frozen
    assert not any(p.requires_grad for p in frozen)


def test_the_adapter_has_the_rank_and_the_layers_asked_for(base):
    mechanism = bound(base, rank=3, alpha=9, target_modules=["conv1"])
    lora = {n: t for n, t in mechanism.trainable_state().items() if ".lora_A." in n}
    assert lora
    assert all(".conv1." in name and t.shape[0] == 3 for name, t in lora.items())
    assert (mechanism.config["alpha"], mechanism.config["rank"]) == (9, 3)
    assert bound(base, rank=5).config["alpha"] == 5


# -- sampling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("guidance_scale", [1, 2.5])
def test_gates_and_parents_are_computed_once_a_call(f, guidance_scale):
    trunk, denoiser = counted(f.gates.trunk), counted(f.backbone)
    sample(f, 4, num_inference_steps=6, guidance_scale=guidance_scale)
    assert (len(trunk), len(denoiser)) == (1, 6)


def test_gates_are_computed_once_a_batch(f):
    trunk, denoiser = counted(f.gates.trunk), counted(f.backbone)
    sample(f, 5, num_inference_steps=3, batch_size=2)
    assert (len(trunk), len(denoiser)) == (3, 9)


@pytest.mark.parametrize("guidance_scale", [1, 2])
@pytest.mark.parametrize("kind", [DDIMScheduler, DPMSolverMultistepScheduler])
def test_the_batch_size_does_not_matter(f, kind, guidance_scale):
    f.scheduler = kind.from_config(f.scheduler.config)
    whole = sample(f, 5, guidance_scale=guidance_scale)
    for batch_size in (1, 2, 5, 100):
        parts = sample(f, 5, guidance_scale=guidance_scale, batch_size=batch_size)
        torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)


def test_guidance_zero_ignores_the_parents(f):
    one, two = (sample(f, 4, inputs=draw_inputs(f, 4, seed), guidance_scale=0) for seed in (0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, sample(f, 4))


def test_guidance_is_the_extrapolation(f):
    """One step of the loop, by hand."""
    f.scheduler = DDIMScheduler.from_config(f.scheduler.config)
    parents, _ = draw_inputs(f, 3)
    found = sample(f, 3, num_inference_steps=1, guidance_scale=3)
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    f.scheduler.set_timesteps(1)
    t = f.scheduler.timesteps[0]
    with torch.no_grad():
        told, plain = (
            f.predict(x, t, parents, torch.full((3,), hidden)) for hidden in (False, True)
        )
    by_hand = f.scheduler.step(plain + 3 * (told - plain), t, x).prev_sample
    torch.testing.assert_close(found, by_hand, atol=1e-5, rtol=0)


def test_hidden_parents_are_not_seen(f):
    x, t = torch.ones(2, 1, 8, 8), torch.tensor(3)
    hidden = torch.tensor([True, False])
    answers = []
    for code in (0, 2):
        parents = {"X": torch.tensor([code, code]), "W": torch.tensor([0, 1])}
        with torch.no_grad():
            answers.append(f.predict(x, t, parents, hidden))
    assert torch.equal(answers[0][0], answers[1][0])
    assert not torch.equal(answers[0][1], answers[1][1])


def test_a_stochastic_sampler_is_decided_by_the_generator(f):
    f.scheduler = DDPMScheduler.from_config(f.scheduler.config)
    one, two, other = (sample(f, 3, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_more_steps_than_the_model_knows_are_refused(f):
    f.scheduler = DDIMScheduler.from_config(f.scheduler.config)
    most = f.scheduler.config["num_train_timesteps"]
    assert sample(f, 1, num_inference_steps=most).isfinite().all()
    with pytest.raises(ValueError, match=f"`num_inference_steps` is at most the {most} steps"):
        sample(f, 1, num_inference_steps=most + 1)


def test_a_model_of_few_steps_is_sampled_in_fewer(tmp_path):
    mechanism = bound(make_tiny_base(tmp_path, steps=7))
    denoiser = counted(mechanism.backbone)
    mechanism.sample(
        {"X": torch.tensor([0])}, {}, num_samples=1, generator=torch.Generator().manual_seed(0)
    )
    assert len(denoiser) == 6


def test_the_progress_bar_counts_every_step(f):
    seen = []

    def bar(jobs):
        seen.append(len(jobs))
        for job in jobs:
            seen.append(job)
            yield job

    sample(f, 5, num_inference_steps=3, batch_size=2, progress_bar=bar)
    assert seen[0] == 9
    assert len(seen) == 10


def test_another_sampler_survives_the_disk(f, tmp_path):
    f.scheduler = DDIMScheduler.from_config(f.scheduler.config, timestep_spacing="trailing")
    f.save_pretrained(tmp_path, include_backbone=True)
    again = DiffusionMechanism.from_pretrained(tmp_path)
    assert type(again.scheduler) is DDIMScheduler
    assert again.scheduler.config["timestep_spacing"] == "trailing"
    assert torch.equal(sample(again), sample(f))


def test_a_sampler_that_could_not_be_loaded_is_refused_before_anything_is_written(f, tmp_path):
    f.scheduler = HeunDiscreteScheduler.from_config(f.scheduler.config)
    sample(f, 2)
    with pytest.raises(ValueError, match="got HeunDiscreteScheduler"):
        f.save_pretrained(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


# -- other bases ------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
def test_the_sampler_knows_what_the_base_predicts(base, tmp_path, prediction_type):
    pipe = DDPMPipeline.from_pretrained(base)
    pipe.scheduler = DDPMScheduler(num_train_timesteps=20, prediction_type=prediction_type)
    pipe.save_pretrained(tmp_path)
    mechanism = bound(tmp_path)
    assert mechanism.backbone.prediction_type == prediction_type
    assert mechanism.scheduler.config["prediction_type"] == prediction_type
    assert sample(mechanism).isfinite().all()


@pytest.mark.parametrize("size", [(8, 16), [16, 8]])
def test_a_base_may_be_oblong_and_coloured(tmp_path, size):
    base = make_tiny_base(tmp_path, size=size, channels=3)
    mechanism = DiffusionMechanism.from_pretrained(base, rank=2)
    mechanism.bind(Image(3, *size), {"X": LETTERS}, {})
    shake([mechanism])
    assert sample(mechanism, 2).shape == (2, 3, *size)
    with pytest.raises(ValueError, match=r"The pretrained model makes Image\(channels=3"):
        DiffusionMechanism.from_pretrained(base).bind(PICTURE, {}, {})


# -- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize("codes", [1, 0, 4097, 2.0, "4", True])
def test_the_number_of_codes_is_sensible(codes):
    with pytest.raises(ValueError, match=r"`codes` is an integer in \[2, 4096\]"):
        DiffusionMechanism(codes=codes)


def test_without_a_model_there_is_nothing_to_bind():
    with pytest.raises(ValueError, match="has no pretrained model"):
        DiffusionMechanism().bind(PICTURE, {}, {})


@pytest.mark.parametrize(
    "arguments",
    [
        {"rank": 0},
        {"rank": 1025},
        {"alpha": float("nan")},
        {"alpha": float("inf")},
        {"condition_dropout": 1},
        {"condition_dropout": -0.1},
        {"condition_dropout": float("nan")},
        {"target_modules": "to_q"},
        {"target_modules": []},
        {"target_modules": [3]},
    ],
    ids=str,
)
def test_the_adapter_is_sensible(arguments):
    with pytest.raises(ValueError, match=r"a rank in \[1, 1024\]|a list of names"):
        DiffusionMechanism(**arguments)


def test_arguments_without_effect_are_refused(base, f, tmp_path):
    f.save_pretrained(tmp_path, include_backbone=True)
    for arguments in ({"rank": 2}, {"alpha": 3.0}, {"condition_dropout": 0.2}):
        with pytest.raises(ValueError, match="a saved mechanism, which keeps its adapter"):
            DiffusionMechanism.from_pretrained(tmp_path, **arguments)
    for arguments in ({"dtype": torch.bfloat16}, {"rnak": 2}, {"backbone": base}):
        with pytest.raises(ValueError, match="a pretrained model, which gets a new adapter"):
            DiffusionMechanism.from_pretrained(base, **arguments)


# -- the reference to the base ----------------------------------------------------------------


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def test_a_base_from_a_folder_cannot_be_found_again(f, tmp_path, base):
    f.save_pretrained(tmp_path)
    assert not (tmp_path / "backbone").exists()
    with pytest.raises(
        CheckpointError, match=r"Say where it is with `backbones=\{variable: path\}"
    ):
        DiffusionMechanism.from_pretrained(tmp_path)
    again = DiffusionMechanism.from_pretrained(tmp_path, backbone=base)
    assert torch.equal(sample(again), sample(f))


def test_another_base_is_refused_by_its_hash(f, tmp_path):
    f.save_pretrained(tmp_path / "saved")
    other = make_tiny_base(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match="not those that the adapter was trained on"):
        DiffusionMechanism.from_pretrained(tmp_path / "saved", backbone=other)


def test_the_copy_of_a_base_is_a_plain_pipeline(f, base, tmp_path):
    f.save_pretrained(tmp_path, include_backbone=True)
    copied = DDPMPipeline.from_pretrained(tmp_path / "backbone").unet.state_dict()
    origin = DDPMPipeline.from_pretrained(base).unet.state_dict()
    assert copied.keys() == origin.keys()
    assert all(torch.equal(copied[name], origin[name]) for name in origin)


def test_saving_a_copy_moves_no_random_state(f, tmp_path):
    state = torch.get_rng_state()
    f.save_pretrained(tmp_path, include_backbone=True)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_faithful_copy_keeps_the_reference_to_its_origin(f, tmp_path):
    f.refer_to("owner/name", "0" * 40)
    f.save_pretrained(tmp_path, include_backbone=True)
    assert config_of(tmp_path)["base"]["repo"] == "owner/name"
    assert config_of(tmp_path)["base"]["sha256"] == f.config["base"]["sha256"]


def test_a_copy_in_another_precision_is_not_its_origin(f, tmp_path):
    """By reference it could never be loaded again: the hash is that of the copy."""
    f.refer_to("owner/name", "0" * 40)
    torch.nn.Module.to(f, torch.bfloat16).save_pretrained(tmp_path, include_backbone=True)
    assert config_of(tmp_path)["base"]["repo"] is None
    assert config_of(tmp_path)["base"]["sha256"] != f.config["base"]["sha256"]
    again = DiffusionMechanism.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert torch.equal(sample(again), sample(f))


def test_a_tampered_copy_is_refused(f, tmp_path):
    f.save_pretrained(tmp_path, include_backbone=True)
    weights = tmp_path / "backbone" / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="not those that the adapter was trained on"):
        DiffusionMechanism.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("repo", "revision"), [("../x", "0" * 40), ("owner/name", "main"), ("owner/name", None)]
)
def test_a_reference_is_a_repository_and_a_commit(f, repo, revision):
    with pytest.raises(CheckpointError):
        f.refer_to(repo, revision)
    assert f.base_reference.repo is None

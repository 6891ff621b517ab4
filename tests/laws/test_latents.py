"""An image made by a frozen latent diffusion model is an image like any other."""

import pytest
import torch
from diffusers import DDIMScheduler, LDMPipeline

from causal_diffusers import Categorical, CausalPipeline, Confounder, DiffusionMechanism, Image
from causal_diffusers.mechanisms.base import SamplingOptions
from causal_diffusers.mechanisms.renewal import renew
from causal_diffusers.training import ModularTrainer, TrainingConfig
from tiny import make_tiny_ldm, shake

PICTURE, LETTERS, BIT = Image(1, 8, 8), Categorical("abc"), Categorical([0, 1])


@pytest.fixture(scope="module", params=["AutoencoderKL", "VQModel"])
def base(request, tmp_path_factory):
    return make_tiny_ldm(tmp_path_factory.mktemp("ldm"), request.param)


def make_pipe(base):
    graph = "X -> I -> A; X <-> A"
    image = DiffusionMechanism.from_pretrained(base, rank=2)
    variables = {"X": LETTERS, "I": PICTURE, "A": BIT}
    pipe = CausalPipeline.from_graph(graph, variables, {"I": image}, {"U_X_A": Confounder(3)})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_without_training_it_makes_what_diffusers_makes(base):
    mechanism = DiffusionMechanism.from_pretrained(base, rank=2).bind(PICTURE, {}, {}).eval()
    mechanism.scheduler = DDIMScheduler.from_config(mechanism.scheduler.config)
    pipe = LDMPipeline.from_pretrained(base)
    pipe.set_progress_bar_config(disable=True)
    first, second = (torch.Generator().manual_seed(7) for _ in range(2))
    theirs = pipe(4, generator=first, num_inference_steps=5, output_type="np").images
    options = SamplingOptions(num_inference_steps=5)
    mine = mechanism.sample({}, {}, num_samples=4, generator=second, options=options)
    assert abs(((mine + 1) / 2).permute(0, 2, 3, 1).numpy() - theirs).max() < 1e-5


def test_the_batch_size_does_not_matter_and_none_is_a_number(base):
    mechanism = DiffusionMechanism.from_pretrained(base, rank=2).bind(PICTURE, {}, {}).eval()
    shake([mechanism])
    found = [
        mechanism.sample(
            {},
            {},
            num_samples=5,
            generator=torch.Generator().manual_seed(0),
            options=SamplingOptions(num_inference_steps=3, batch_size=size),
        )
        for size in (2, 5)
    ]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
    none = mechanism.sample({}, {}, num_samples=0, generator=torch.Generator())
    assert none.shape == (0, 1, 8, 8)


def test_both_frozen_networks_survive_training_and_only_the_denoiser_is_adapted(base, tmp_path):
    pipe = make_pipe(base)
    frozen = {n: t.clone() for n, t in pipe.components["I"].backbone.state_dict().items()}
    seed = torch.Generator().manual_seed(1)
    rows = {
        "X": torch.randint(3, (64,), generator=seed),
        "I": torch.rand(64, 1, 8, 8, generator=seed),
        "A": torch.randint(2, (64,), generator=seed),
    }
    config = TrainingConfig(steps=3, batch_size=16)
    ModularTrainer(pipe, rows, tmp_path, config, held_out=0).train()
    after = pipe.components["I"].backbone.state_dict()
    assert all(torch.equal(t, frozen[n]) for n, t in after.items() if ".lora_" not in n)
    trained = pipe.components["I"].trainable_state()
    assert any(
        not torch.equal(trained[f"backbone.{n}"], t) for n, t in frozen.items() if ".lora_B" in n
    )
    assert not any("autoencoder" in name for name in trained)


def test_a_pipeline_is_saved_and_answers_alike(base, tmp_path):
    pipe = make_pipe(base)
    shake(pipe.components.values())
    pipe.save_pretrained(tmp_path, include_backbones=True)
    LDMPipeline.from_pretrained(tmp_path / "I" / "backbone")
    again = CausalPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    ask = {"do": {"X": "b"}, "num_samples": 6, "num_inference_steps": 2, "output_type": "pt"}
    first, second = (torch.Generator().manual_seed(5) for _ in range(2))
    one, two = pipe(**ask, generator=first), again(**ask, generator=second)
    assert one.values == two.values
    assert torch.equal(one.images["I"], two.images["I"])


def test_it_is_renewed_on_the_same_memory(base):
    old = DiffusionMechanism.from_pretrained(base, rank=2).bind(PICTURE, {}, {})
    new = renew(old).bind(PICTURE, {"X": LETTERS}, {})
    pairs = zip(
        old.backbone.autoencoder.parameters(), new.backbone.autoencoder.parameters(), strict=True
    )
    assert all(one.data_ptr() == two.data_ptr() for one, two in pairs)


def test_an_image_of_another_size_is_refused(base):
    with pytest.raises(ValueError, match=r"makes Image\(channels=1, height=8, width=8\)"):
        DiffusionMechanism.from_pretrained(base).bind(Image(1, 4, 4), {}, {})

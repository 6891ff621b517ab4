"""A latent diffusion model is loaded as diffusers loads it, and makes the same images."""

import json
import math
import shutil

import pytest
import torch
from diffusers import DDPMScheduler, LDMPipeline
from safetensors.torch import load_file, save_file

from causal_diffusers.backbones import LatentDiffusion, PixelDiffusion, load_backbone
from causal_diffusers.backbones.files import sha256
from causal_diffusers.errors import CheckpointError
from causal_diffusers.variables import Image
from tiny import make_tiny_base, make_tiny_ldm, tiny_unet

WEIGHTS = "diffusion_pytorch_model.safetensors"
KINDS = ["AutoencoderKL", "VQModel"]
BAD_SCALES = ["0.18", None, [1.0], 0, -1.0, math.nan, math.inf, True]


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory):
    return make_tiny_ldm(tmp_path_factory.mktemp("ldm"), request.param)


@pytest.fixture
def base(made, tmp_path):
    return shutil.copytree(made, tmp_path / "base")


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_it_knows_its_latents_and_its_images(base):
    backbone, reference = load_backbone(base)
    assert isinstance(backbone, LatentDiffusion)
    assert (backbone.shape, backbone.image) == ((3, 4, 4), Image(1, 8, 8))
    assert reference.class_name == "LDMPipeline"
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not any(module.training for module in backbone.train().modules())


def test_a_folder_is_of_the_kind_that_it_looks_like(base, tmp_path):
    plain = make_tiny_base(tmp_path / "plain")
    assert type(load_backbone(base)[0]) is LatentDiffusion
    assert type(load_backbone(plain)[0]) is PixelDiffusion


@pytest.mark.parametrize("name", ["vqvae", "vae"])
def test_it_decodes_what_diffusers_decodes(base, name):
    pipe = LDMPipeline.from_pretrained(base)
    (base / "vqvae").rename(base / name)
    backbone, _ = load_backbone(base)
    pipe.set_progress_bar_config(disable=True)
    seed = torch.Generator().manual_seed(3)
    theirs = pipe(2, generator=seed, num_inference_steps=5, output_type="np").images
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    pipe.scheduler.set_timesteps(5)
    with torch.no_grad():
        for t in pipe.scheduler.timesteps:
            x = pipe.scheduler.step(backbone(x, t), t, x).prev_sample
    mine = ((backbone.decode(x) + 1) / 2).permute(0, 2, 3, 1).numpy()
    assert abs(mine - theirs).max() < 1e-6


def test_latents_are_the_scaled_mode_of_the_encoder(base, generator):
    backbone, _ = load_backbone(base)
    pipe = LDMPipeline.from_pretrained(base)
    images = torch.rand(4, 1, 8, 8, generator=generator) * 2 - 1
    with torch.no_grad():
        encoded = pipe.vqvae.encode(images)
    mode = encoded.latents if "latents" in encoded else encoded.latent_dist.mean
    assert torch.equal(backbone.encode(images), 0.7 * mode)
    assert torch.equal(backbone.encode(images), backbone.encode(images))
    decoded = backbone.decode(backbone.encode(images))
    theirs = pipe.vqvae.decode(mode).sample.clamp(-1, 1)
    torch.testing.assert_close(decoded, theirs, rtol=1e-4, atol=1e-5)


def test_it_works_in_its_own_precision(base, generator):
    backbone, _ = load_backbone(base)
    images = torch.rand(4, 1, 8, 8, generator=generator) * 2 - 1
    exact = backbone.decode(backbone.encode(images))
    rough = torch.nn.Module.to(backbone, torch.bfloat16)
    found = rough.decode(rough.encode(images))
    assert found.dtype == torch.float32
    assert (found - exact).abs().mean() < 0.2


def test_the_hash_is_of_both_networks(base):
    _, reference = load_backbone(base)
    files = [base / part / WEIGHTS for part in ("unet", "vqvae")]
    assert reference.sha256 == sha256(*files)
    state = load_file(files[1])
    name = next(iter(state))
    save_file({**state, name: state[name] + 1}, files[1])
    with pytest.raises(CheckpointError, match="not those that the adapter was trained on"):
        load_backbone(base, expected=reference)


def test_it_is_saved_as_a_plain_pipeline_and_loaded_again(base, tmp_path):
    backbone, reference = load_backbone(base)
    backbone.save_pretrained(tmp_path / "again")
    again, same = load_backbone(tmp_path / "again")
    assert same == reference
    state = backbone.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.state_dict().items())
    pipe = LDMPipeline.from_pretrained(tmp_path / "again")
    assert pipe.vqvae.config["scaling_factor"] == 0.7


def test_a_plan_costs_no_memory(base):
    backbone, _ = load_backbone(base)
    planned = backbone.planned()
    assert {p.device.type for p in planned.parameters()} == {"meta"}
    assert list(planned.state_dict()) == list(backbone.state_dict())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"_class_name": "AutoencoderTiny"}, "takes VQModel and AutoencoderKL"),
        ({"_class_name": ["VQModel"]}, "takes VQModel and AutoencoderKL"),
        ({"block_out_channels": [10**9, 8]}, "AutoencoderKL|VQModel|absurdly"),
        ({"down_block_types": ["DownEncoderBlock2D"] * 1000}, "more than 64"),
        ({"up_block_types": ["UpDecoderBlock2D"] * 1000}, "more than 64"),
        ({"block_out_channels": [8] * 1000}, "more than 64"),
        *(({"scaling_factor": bad}, "`scaling_factor` is a positive") for bad in BAD_SCALES),
        ({"shift_factor": 0.5}, "has shift_factor, which `LDMPipeline` does not apply"),
        ({"layers_per_block": 1000}, "more than 64"),
        ({"in_channels": 3}, "shape|channels"),
        ({"latent_channels": 10**7}, "absurdly large"),
    ],
)
def test_a_hostile_autoencoder_is_refused(base, changes, complaint):
    edit(base / "vqvae" / "config.json", **changes)
    with pytest.raises(CheckpointError, match=complaint):
        load_backbone(base)


def test_an_old_vq_model_without_a_scale_has_a_scale_of_one(made, base):
    config = json.loads((base / "vqvae" / "config.json").read_text())
    del config["scaling_factor"]
    (base / "vqvae" / "config.json").write_text(json.dumps(config))
    scale = load_backbone(base)[0].autoencoder.config["scaling_factor"]
    assert scale == (1.0 if config["_class_name"] == "VQModel" else 0.18215)


def test_a_reference_says_of_which_kind_a_base_is(base, tmp_path):
    """Whatever else lies in its folder, which somebody may have saved into before."""
    make_tiny_base(base)  # over the denoiser of latents, beside its autoencoder
    plain = make_tiny_base(tmp_path / "plain")
    _, reference = load_backbone(plain)
    assert type(load_backbone(base, expected=reference)[0]) is PixelDiffusion
    with pytest.raises(CheckpointError, match="should be a LDMPipeline: got something else"):
        load_backbone(plain, LatentDiffusion)
    with pytest.raises(CheckpointError, match="should be a LDMPipeline: got a UNet2DModel"):
        load_backbone(base, LatentDiffusion, expected=reference)


def test_a_model_may_be_oblong_and_coloured_and_code_with_fewer_channels(tmp_path, generator):
    base = make_tiny_ldm(
        tmp_path, "VQModel", size=(4, 6), channels=3, latent_channels=5, vq_embed_dim=3
    )
    backbone, _ = load_backbone(base)
    assert (backbone.shape, backbone.image) == ((3, 4, 6), Image(3, 8, 12))
    images = torch.rand(2, 3, 8, 12, generator=generator) * 2 - 1
    assert backbone.encode(images).shape == (2, 3, 4, 6)
    assert backbone.decode(backbone.encode(images)).shape == images.shape


def test_the_precision_of_training_does_not_reach_the_autoencoder(base, generator):
    backbone, _ = load_backbone(base)
    images = torch.rand(4, 1, 8, 8, generator=generator) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16):
        latents = backbone.encode(images)
        decoded = backbone.decode(latents)
    assert torch.equal(latents, backbone.encode(images))
    assert torch.equal(decoded, backbone.decode(latents))


def test_networks_that_grow_images_otherwise_than_they_shrink_them_are_refused(base):
    backbone, _ = load_backbone(base)
    backbone.autoencoder.register_to_config(block_out_channels=(4, 8, 8))
    with pytest.raises(ValueError, match="shrinks images otherwise than it grows them"):
        LatentDiffusion(backbone.unet, DDPMScheduler(), backbone.autoencoder)


def test_missing_and_foreign_weights_are_refused(base):
    state = load_file(base / "vqvae" / WEIGHTS)
    save_file({**state, "other": torch.zeros(1)}, base / "vqvae" / WEIGHTS)
    with pytest.raises(CheckpointError, match="unexpected \\['other'\\]"):
        load_backbone(base)
    (base / "vqvae" / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="base: there is no vqvae/diff"):
        load_backbone(base)


def test_networks_that_do_not_belong_together_are_refused(base):
    backbone, _ = load_backbone(base)
    other = tiny_unet(sample_size=4, in_channels=5, out_channels=5)
    with pytest.raises(ValueError, match=r"latents of 3 channels, and the network denoises 5"):
        LatentDiffusion(other, DDPMScheduler(), backbone.autoencoder)
    backbone.autoencoder.register_to_config(out_channels=3)
    with pytest.raises(ValueError, match="turns 1 channels into 3"):
        LatentDiffusion(backbone.unet, DDPMScheduler(), backbone.autoencoder)

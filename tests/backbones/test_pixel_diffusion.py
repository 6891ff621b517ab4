"""A denoiser of pixels says what it makes; images are what it denoises."""

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler

from causal_diffusers.backbones import PixelDiffusion
from causal_diffusers.variables import Image
from tiny import tiny_unet as unet


@pytest.mark.parametrize(
    ("config", "image"),
    [
        ({}, Image(1, 8, 8)),
        ({"sample_size": (8, 12)}, Image(1, 8, 12)),
        ({"sample_size": [8, 12], "in_channels": 3, "out_channels": 3}, Image(3, 8, 12)),
    ],
)
def test_it_knows_which_images_it_makes(config, image):
    backbone = PixelDiffusion(unet(**config), DDPMScheduler())
    assert backbone.image == image
    assert backbone(torch.zeros(2, *image.shape), torch.tensor(3)).shape == (2, *image.shape)


@pytest.mark.parametrize("channels", [2, 4])
def test_a_network_of_latents_without_an_autoencoder_is_refused(channels):
    network = unet(in_channels=channels, out_channels=channels)
    with pytest.raises(ValueError, match=f"denoises {channels} channels.*needs the autoencoder"):
        PixelDiffusion(network, DDPMScheduler())


def test_it_denoises_the_images_themselves(generator):
    backbone = PixelDiffusion(unet(), DDPMScheduler())
    images = torch.randn(2, 1, 8, 8, generator=generator)
    assert backbone.shape == (1, 8, 8)
    assert backbone.encode(images) is images
    assert backbone.decode(images) is images


def test_a_plan_costs_no_memory_and_no_randomness():
    backbone, state = PixelDiffusion(unet(), DDPMScheduler()), torch.get_rng_state()
    planned = backbone.planned()
    assert {p.device.type for p in planned.parameters()} == {"meta"}
    assert list(planned.state_dict()) == list(backbone.state_dict())
    assert torch.equal(torch.get_rng_state(), state)


def test_it_is_saved_as_a_plain_pipeline(tmp_path):
    backbone = PixelDiffusion(unet(), DDPMScheduler(num_train_timesteps=33))
    backbone.save_pretrained(tmp_path)
    again = DDPMPipeline.from_pretrained(tmp_path)
    assert again.scheduler.config["num_train_timesteps"] == 33
    state = backbone.unet.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in again.unet.state_dict().items())

"""A frozen denoiser measures its errors alike, whatever it predicts and whatever it denoises."""

import pytest
import torch
from diffusers import DDPMScheduler

from causal_diffusers.backbones import PixelDiffusion
from tiny import tiny_unet as unet


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"num_class_embeds": 10}, "conditional on classes"),
        ({"class_embed_type": "timestep"}, "conditional on classes"),
        ({"class_embed_type": "identity"}, "conditional on classes"),
        ({"out_channels": 2}, "turns 1 channels into 2"),
        ({"in_channels": 3, "out_channels": 6}, "turns 3 channels into 6"),
        ({"sample_size": [8, 8, 8]}, "positive integer or two of them: got"),
        ({"sample_size": [None, 8]}, "positive integer or two of them: got"),
        ({"sample_size": "ab"}, "positive integer or two of them: got"),
        ({"sample_size": -8}, "positive integer or two of them: got"),
        ({"sample_size": 4.5}, "positive integer or two of them: got"),
        ({"sample_size": None}, "lacks `sample_size`"),
    ],
)
def test_a_network_that_needs_or_gives_something_else_is_refused(config, complaint):
    with pytest.raises(ValueError, match=complaint):
        PixelDiffusion(unet(**config), DDPMScheduler())


def test_an_unknown_prediction_is_refused():
    with pytest.raises(ValueError, match="predicts an unknown 'flow'"):
        PixelDiffusion(unet(), DDPMScheduler(prediction_type="flow"))


def test_it_is_frozen_and_in_eval_mode():
    backbone = PixelDiffusion(unet(dropout=0.5).train(), DDPMScheduler())
    for each in (backbone, backbone.train(), backbone.train(mode=True)):
        assert not any(module.training for module in each.modules())
        assert not any(p.requires_grad for p in each.parameters())


def test_it_works_in_its_own_precision_and_answers_in_that_of_the_images():
    backbone = PixelDiffusion(unet(), DDPMScheduler())
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    exact = backbone(x, torch.tensor(3))
    rough = torch.nn.Module.to(backbone, torch.bfloat16)(x, torch.tensor(3))
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.1


def predictions(schedule, x_t, image, t):
    """What a network that believes in `image` predicts, in each of the three ways."""
    alpha_bar = schedule.alphas_cumprod[t][:, None, None, None]
    eps = (x_t - alpha_bar.sqrt() * image) / (1 - alpha_bar).sqrt()
    v = alpha_bar.sqrt() * eps - (1 - alpha_bar).sqrt() * image
    return {"epsilon": eps, "sample": image, "v_prediction": v}


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
def test_the_truth_has_no_error(prediction_type, generator):
    schedule = DDPMScheduler(prediction_type=prediction_type)
    backbone = PixelDiffusion(unet(), schedule)
    image, eps = torch.randn(2, 5, 1, 8, 8, generator=generator)
    t = torch.tensor([1, 50, 300, 700, 999])
    x_t, target, weight = backbone.noise(image, eps, t)
    alpha_bar = schedule.alphas_cumprod[t][:, None, None, None]
    torch.testing.assert_close(x_t, alpha_bar.sqrt() * image + (1 - alpha_bar).sqrt() * eps)
    truth = predictions(schedule, x_t, image, t)[prediction_type]
    torch.testing.assert_close(target, truth, atol=1e-3, rtol=1e-3)
    assert weight.shape == (5,)


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample"])
def test_errors_are_weighed_as_those_of_v(prediction_type, generator):
    """One mistaken belief about the image costs the same, whatever the network predicts."""
    schedule = DDPMScheduler(prediction_type=prediction_type)
    backbone = PixelDiffusion(unet(), schedule)
    image, eps, wrong = torch.randn(3, 4, 1, 8, 8, generator=generator, dtype=torch.float64)
    t = torch.tensor([250, 400, 500, 550])  # where no weight is cut
    x_t, target, weight = backbone.noise(image, eps, t)
    mine = predictions(schedule, x_t, wrong, t)[prediction_type]
    found = weight * (mine - target).square().mean(dim=(1, 2, 3))
    believed, true = (predictions(schedule, x_t, x, t)["v_prediction"] for x in (wrong, image))
    torch.testing.assert_close(
        found, (believed - true).square().mean(dim=(1, 2, 3)), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
def test_weights_are_finite_and_at_most_thirty(prediction_type):
    schedule = DDPMScheduler(prediction_type=prediction_type, rescale_betas_zero_snr=True)
    backbone = PixelDiffusion(unet(), schedule)
    t = torch.arange(1000)
    images = torch.zeros(1000, 1, 1, 1)
    weight = backbone.noise(images, images, t)[2]
    assert weight.min() > 0
    assert weight.max() <= 30 + 1e-4

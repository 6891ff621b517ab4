"""An image is prepared as the network was trained to see it."""

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from causal_diffusers.backbones.preprocessing import Preprocessing

DINO = {
    "size": {"shortest_edge": 32},
    "do_center_crop": True,
    "crop_size": {"height": 28, "width": 28},
    "resample": 3,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


@pytest.mark.parametrize(("height", "width"), [(20, 20), (64, 48), (40, 90)])
def test_it_agrees_with_pillow(height, width):
    """A smooth picture, resized and cropped by Pillow, up to the rounding of its bytes."""
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 5, width), indexing="ij")
    unit = torch.stack([0.5 + 0.4 * torch.sin(x + c * y) for c in range(3)])
    short = min(height, width)
    size = 32 * width // short, 32 * height // short
    picture = PILImage.fromarray((unit.permute(1, 2, 0) * 255).round().byte().numpy())
    picture = picture.resize(size, PILImage.Resampling.BICUBIC)
    left, top = (size[0] - 28) // 2, (size[1] - 28) // 2
    picture = picture.crop((left, top, left + 28, top + 28))
    truth = (np.asarray(picture) / 255 - DINO["image_mean"]) / DINO["image_std"]
    found = Preprocessing.of(DINO)(2 * unit[None] - 1, channels=3)[0].permute(1, 2, 0)
    assert np.abs(found.numpy() - truth).max() < 3 / 255 / 0.22


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({"size": 24}, (24, 24)),
        ({"size": {"height": 24, "width": 20}}, (24, 20)),
        ({"size": {"shortest_edge": 24}}, (24, 24)),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (224, 224)),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.9}, (384, 384)),
        ({"size": 24, "crop_size": 30, "do_center_crop": True}, (30, 30)),
        ({"size": 24, "crop_size": 20, "do_center_crop": False}, (24, 24)),
        ({"do_resize": False}, (10, 15)),
    ],
)
def test_sizes_are_those_of_the_file(config, size):
    wants = Preprocessing.of(config)
    assert wants(torch.zeros(1, 3, 10, 15), channels=3).shape[-2:] == size
    assert wants.to_json() == Preprocessing.of(config).to_json()


def test_colours_may_be_left_as_they_are():
    wants = Preprocessing.of({"do_resize": False, "do_normalize": False})
    image = torch.tensor([-1.0, 0.0, 1.0]).view(1, 1, 1, 3)
    assert wants(image, channels=3)[0, 2, 0].tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"size": 0},
        {"size": 10**6},
        {"size": "224"},
        {"size": {"height": 24}},
        {"size": 24, "resample": 9},
        {"size": 24, "image_std": [0.0]},
        {"size": 24, "image_mean": "grey"},
        {"size": 24, "image_mean": [float("nan")]},
        {"size": {"shortest_edge": 224}, "crop_pct": 0.0},
    ],
    ids=str,
)
def test_nonsense_is_refused(config):
    with pytest.raises(ValueError, match=r"size|resample|image_|crop_pct"):
        Preprocessing.of(config)

"""An image is heard by what it causes, through a small trained encoder or a frozen one."""

import pytest
import torch
from safetensors.torch import load_file

from causal_diffusers import (
    Categorical,
    CategoricalMechanism,
    CausalPipeline,
    Continuous,
    DiffusionMechanism,
    FlowMechanism,
    Image,
    ModularTrainer,
    TrainingConfig,
    VisionEncoder,
)
from causal_diffusers.errors import CheckpointError
from causal_diffusers.recipe import Recipe
from tiny import make_tiny_base, make_tiny_encoder, shake

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PICTURE = Image(1, 8, 8)
MADE = {"label": Categorical([0, 1]), "number": Continuous(), "picture": PICTURE}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(params=["trained", "frozen"])
def encoder(request, folder):
    return VisionEncoder.from_pretrained(folder) if request.param == "frozen" else None


def build(base, encoder):
    """I -> label, I -> number, I -> picture: every kind of mechanism listens to an image."""
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(
        "I -> label; I -> number; I -> picture",
        {"I": PICTURE, **MADE},
        {
            "I": DiffusionMechanism.from_pretrained(base, rank=2),
            "label": CategoricalMechanism(width=8, image_encoder=encoder),
            "number": FlowMechanism(width=8, image_encoder=encoder),
            "picture": DiffusionMechanism.from_pretrained(base, rank=2, image_encoder=encoder),
        },
    )
    shake(pipe.components.values())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def ask(pipe, picture):
    asked = {"num_inference_steps": 2, "output_type": "pt"}
    generator = torch.Generator().manual_seed(0)
    return pipe(4, do={"I": picture}, generator=generator, **asked)


def test_every_mechanism_hears_the_image(base, encoder):
    pipe = build(base, encoder)
    dark, light = ask(pipe, torch.zeros(1, 8, 8)), ask(pipe, torch.rand(1, 8, 8))
    assert not torch.equal(dark.probabilities["label"], light.probabilities["label"])
    assert dark.values["number"] != light.values["number"]
    assert not torch.equal(dark.images["picture"], light.images["picture"])


def test_training_moves_no_weight_of_a_frozen_encoder(base, folder, tmp_path):
    encoder = VisionEncoder.from_pretrained(folder)
    before = {name: t.clone() for name, t in encoder.state_dict().items()}
    pipe = build(base, encoder)
    moving = {n: t for m in pipe.mechanisms.values() for n, t in m.trainable_state().items()}
    assert not any("vision" in name for name in moving)
    start = pipe.mechanisms["number"].from_parents.weight.clone()
    rows = {
        "I": torch.rand(12, 1, 8, 8),
        "label": [0, 1] * 6,
        "number": torch.randn(12),
        "picture": torch.rand(12, 1, 8, 8),
    }
    config = TrainingConfig(steps=2, batch_size=4)
    ModularTrainer(pipe, rows, tmp_path, config=config).train()
    assert not torch.equal(pipe.mechanisms["number"].from_parents.weight, start)
    assert all(torch.equal(before[n], t) for n, t in encoder.state_dict().items())
    for name in MADE:
        seen = pipe.mechanisms[name].image_encoder
        assert all(torch.equal(before[n], t) for n, t in seen.state_dict().items())


def test_the_encoder_is_referred_to_and_found_again(base, folder, tmp_path):
    encoder = VisionEncoder.from_pretrained(folder)
    mechanism = CategoricalMechanism(width=8, image_encoder=encoder)
    pipe = CausalPipeline.from_graph(
        "I -> label",
        {"I": PICTURE, "label": MADE["label"]},
        {"I": DiffusionMechanism.from_pretrained(base), "label": mechanism},
    )
    pipe.mechanisms["I"].refer_to("owner/base", "b" * 40)
    with pytest.raises(CheckpointError, match='image encoder of "label" came from a local folder'):
        pipe.save_pretrained(tmp_path)
    encoder.refer_to("owner/encoder", "e" * 40)
    pipe.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "label" / "diffusion_pytorch_model.safetensors")
    assert not any("vision" in name or "network.embeddings" in name for name in stored)
    assert not (tmp_path / "label" / "image_encoder").exists()
    card = (tmp_path / "README.md").read_text()
    assert "| label, to read images | owner/encoder | " + "e" * 40 in card
    moved = {"I": base, "label": folder}
    again = CausalPipeline.from_pretrained(tmp_path, backbones=moved)
    assert again.mechanisms["label"].image_encoder.reference == encoder.reference
    light = torch.rand(1, 8, 8)
    one, two = ask(pipe, light), ask(again, light)
    assert torch.equal(one.probabilities["label"], two.probabilities["label"])


def test_a_copy_of_everything_needs_nothing_else(base, encoder, tmp_path):
    pipe = build(base, encoder)
    pipe.save_pretrained(tmp_path, include_backbones=True)
    again = CausalPipeline.from_pretrained(tmp_path)
    light = torch.rand(1, 8, 8)
    one, two = ask(pipe, light), ask(again, light)
    assert one.values == two.values
    assert torch.equal(one.images["picture"], two.images["picture"])


def test_an_encoder_that_nobody_has_is_not_replaced(base, tmp_path):
    pipe = build(base, None)
    pipe.save_pretrained(tmp_path, include_backbones=True)
    with pytest.raises(CheckpointError, match=r'`backbones` is for variables.*got "label"'):
        CausalPipeline.from_pretrained(tmp_path, backbones={"label": base})


def test_a_training_file_may_name_an_encoder(base, folder):
    record = {
        "graph": "I -> label",
        "variables": {"I": PICTURE.to_dict(), "label": [0, 1]},
        "mechanisms": {"I": str(base), "label": {"width": 8, "image_encoder": str(folder)}},
        "data": "rows.csv",
    }
    made = Recipe.of(record).pipeline().mechanisms["label"]
    assert made.image_encoder.reference == VisionEncoder.from_pretrained(folder).reference


@pytest.mark.parametrize("wrong", ["facebook/dinov2-small", {"repo": None}, VisionEncoder])
def test_what_is_no_encoder_is_refused(wrong):
    for kind in (CategoricalMechanism, FlowMechanism, DiffusionMechanism):
        with pytest.raises(TypeError, match="`image_encoder` is a `VisionEncoder`: got"):
            kind(image_encoder=wrong)

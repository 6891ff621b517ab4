"""A vision encoder is what transformers makes of its folder, frozen; others are refused."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from causal_diffusers import VisionEncoder
from causal_diffusers.backbones.vision import ARCHITECTURES
from causal_diffusers.errors import CheckpointError
from causal_diffusers.variables import Image
from hostile import edit
from tiny import make_tiny_encoder

WEIGHTS = "model.safetensors"
KINDS = ["vit", "dinov2", "clip_vision_model", "convnext"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return {kind: make_tiny_encoder(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made["dinov2"], tmp_path / "copy")


@pytest.fixture
def images(generator):
    return 2 * torch.rand(3, 3, 16, 16, generator=generator) - 1


def expected(folder, kind, images):
    """What the network says of images of its own size, their colours computed by hand."""
    architecture = getattr(transformers, ARCHITECTURES[kind])
    extra = {"add_pooling_layer": False} if kind == "vit" else {}
    network = architecture.from_pretrained(folder, **extra).eval()
    pixels = (images + 1) / 2
    for channel, mean in enumerate((0.5, 0.4, 0.3)):
        pixels[:, channel] = (pixels[:, channel] - mean) / 0.25
    seen = network(pixel_values=pixels)
    told = seen.last_hidden_state[:, 0] if kind == "vit" else seen.pooler_output
    return (told - told.mean(1, keepdim=True)) / told.var(1, correction=0, keepdim=True).sqrt()


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_network_says(made, kind, images):
    encoder = VisionEncoder.from_pretrained(made[kind])
    told = encoder(images)
    assert told.shape == (3, encoder.features) == (3, 8)
    truth = expected(made[kind], kind, images)
    torch.testing.assert_close(told, truth, atol=2e-2, rtol=2e-2)
    assert encoder.reference.class_name == ARCHITECTURES[kind]
    assert encoder.reference.repo is None


def test_it_is_frozen(made, images):
    encoder = VisionEncoder.from_pretrained(made["vit"]).train()
    assert not any(module.training for module in encoder.modules())
    assert not any(p.requires_grad for p in encoder.parameters())
    images.requires_grad_()
    encoder(images)[:, 0].sum().backward()
    assert images.grad.abs().sum() > 0


def test_any_image_is_brought_to_its_size(made):
    encoder = VisionEncoder.from_pretrained(made["dinov2"])
    assert encoder(torch.zeros(2, 1, 5, 40)).shape == (2, 8)
    grey = torch.rand(2, 1, 16, 16)
    assert torch.equal(encoder(grey), encoder(grey.repeat(1, 3, 1, 1)))
    encoder.check_reads(Image(1, 8, 8))
    encoder.check_reads(Image(3, 8, 8))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_it_works_in_any_precision(made, images, dtype):
    encoder = VisionEncoder.from_pretrained(made["dinov2"])
    before = encoder(images)
    assert (encoder.to(dtype)(images.to(dtype)) - before).abs().mean() < 0.1


def test_the_head_of_a_classifier_is_left_out(tmp_path, made, images):
    config = transformers.ViTConfig.from_pretrained(made["vit"])
    whole = transformers.ViTForImageClassification(config)
    whole.vit.load_state_dict(
        transformers.ViTModel.from_pretrained(made["vit"]).state_dict(), strict=False
    )
    whole.save_pretrained(tmp_path)
    shutil.copy(made["vit"] / "preprocessor_config.json", tmp_path)
    found = VisionEncoder.from_pretrained(tmp_path)
    assert torch.equal(found(images), VisionEncoder.from_pretrained(made["vit"])(images))


def test_of_clip_the_vision_tower_is_taken(tmp_path, made, images):
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = json.loads((made["clip_vision_model"] / "config.json").read_text())
    config = transformers.CLIPConfig(
        text_config={**text, "vocab_size": 16, "intermediate_size": 8}, vision_config=vision
    )
    transformers.CLIPModel(config).save_pretrained(tmp_path)
    shutil.copy(made["vit"] / "preprocessor_config.json", tmp_path)
    assert VisionEncoder.from_pretrained(tmp_path)(images).shape == (3, 8)


def test_a_copy_says_the_same(made, tmp_path, images):
    encoder = VisionEncoder.from_pretrained(made["convnext"])
    reference = encoder.save_pretrained(tmp_path)
    again = VisionEncoder.from_pretrained(tmp_path, expected=reference)
    assert torch.equal(again(images), encoder(images))


def test_it_is_referred_to_by_commit(made):
    encoder = VisionEncoder.from_pretrained(made["dinov2"])
    encoder.refer_to("owner/name", "a" * 40)
    assert encoder.reference.repo == "owner/name"
    with pytest.raises(CheckpointError, match="pinned to a commit"):
        encoder.refer_to("owner/name", "main")


def test_no_code_of_the_folder_is_run(folder, images):
    before = VisionEncoder.from_pretrained(folder)(images)
    (folder / "evil.py").write_text("raise SystemExit('run')")
    edit(
        folder / "config.json",
        auto_map={"AutoModel": "evil.Evil"},
        architectures=["Evil"],
        quantization_config={"quant_method": "evil"},
        attn_implementation="evil/kernels",
        _attn_implementation="evil/kernels",
        use_kernels=True,
    )
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/base"}')
    assert torch.equal(VisionEncoder.from_pretrained(folder)(images), before)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model_type": "resnet"}, "the network is a 'resnet'; an image encoder is one of clip"),
        ({"model_type": ...}, "the network is a None"),
        ({"model_type": ["vit"]}, "an image encoder is one of"),
        ({"model_type": "convnext"}, "the file lacks|does not describe|and the network has"),
        ({"hidden_size": 10**9}, "absurdly large"),
        ({"hidden_size": 2**15}, "and the network has"),
        ({"num_hidden_layers": 100}, "and the network has"),
        ({"num_hidden_layers": 10**5}, "more than 128 layers"),
        ({"hidden_size": 4}, "in another shape"),
        ({"hidden_size": "8"}, "does not describe"),
        ({"hidden_act": "evil"}, "does not describe"),
    ],
    ids=str,
)
def test_a_strange_config_is_refused(folder, changes, complaint):
    edit(folder / "config.json", **changes)
    with pytest.raises(CheckpointError, match=complaint):
        VisionEncoder.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", WEIGHTS, "preprocessor_config.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        VisionEncoder.from_pretrained(folder)


def test_a_missing_weight_is_named(folder):
    tensors = load_file(folder / WEIGHTS)
    tensors["head.weight"] = tensors.pop("layernorm.weight")
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"the file lacks \['layernorm.weight'\]"):
        VisionEncoder.from_pretrained(folder)


def test_other_weights_are_refused(made, tmp_path):
    other = make_tiny_encoder(tmp_path, "dinov2", seed=1)
    expected = VisionEncoder.from_pretrained(made["dinov2"]).reference
    with pytest.raises(CheckpointError, match="are not those that the mechanism was trained with"):
        VisionEncoder.from_pretrained(other, expected=expected)


@pytest.mark.parametrize("source", ["nowhere/at/all", "../x"])
def test_what_is_no_folder_is_refused(source):
    with pytest.raises(CheckpointError, match="neither a folder nor a repository id"):
        VisionEncoder.from_pretrained(source)

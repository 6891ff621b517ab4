import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from causal_diffusers.backbones import (
    BackboneReference,
    GANGenerator,
    load_backbone,
    register_generator,
)
from causal_diffusers.backbones.gan import DCGAN, GENERATORS
from causal_diffusers.errors import CheckpointError
from causal_diffusers.variables import Image
from hostile import edit
from tiny import make_tiny_base, make_tiny_gan

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path):
    return make_tiny_gan(tmp_path / "gan")


def z_of(generator, number=5):
    return torch.randn(number, generator.latent_dim, generator=torch.Generator().manual_seed(0))


def tensors(generator):
    return {name: t.clone() for name, t in generator.network.state_dict().items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)


def test_it_is_the_network_that_was_written(folder, tmp_path):
    generator, reference = load_backbone(folder, GANGenerator)
    assert reference.class_name == "GANGenerator"
    assert generator.image == Image(1, 8, 8)
    generator.save_pretrained(tmp_path / "again")
    again, other = load_backbone(tmp_path / "again", GANGenerator, expected=reference)
    assert other is reference
    assert torch.equal(again(z_of(again)), generator(z_of(generator)))


def test_the_layers_are_those_of_the_paper():
    """Transposed convolutions, batch norm and ReLU but for the last, then tanh."""
    network = DCGAN(3, [4, 2], kernel_size=[3, 4], stride=[1, 2], padding=[0, 1], bias=True)
    plain = nn.Sequential(
        nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        nn.ConvTranspose2d(4, 2, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    plain.load_state_dict(
        dict(zip(plain.state_dict(), network.state_dict().values(), strict=True))
    )
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    for mode in (False, True):  # train mode last: it moves the statistics of both alike
        assert torch.equal(network.train(mode)(z), plain.train(mode)(z[:, :, None, None]))


def test_the_statistics_of_the_batches_never_move(folder):
    generator = GANGenerator.load(folder).train()
    before = tensors(generator)
    one = generator(z_of(generator))
    assert torch.equal(generator(z_of(generator)), one)
    assert same(tensors(generator), before)
    assert not any(module.training for module in generator.modules())
    assert not any(p.requires_grad for p in generator.parameters())


def test_counters_stay_whole_in_another_precision(folder):
    generator = GANGenerator.load(folder).to(torch.bfloat16)
    kinds = {n.rpartition(".")[2]: t.dtype for n, t in generator.network.state_dict().items()}
    assert kinds["num_batches_tracked"] == torch.int64
    assert kinds["running_var"] == torch.bfloat16
    assert generator(z_of(generator)).dtype == torch.float32


def test_pixels_fill_the_range_of_an_image():
    arguments = {"latent_dim": 4, "channels": [3], "output": "sigmoid"}
    generator = GANGenerator("dcgan", arguments | {"stride": 1, "padding": 0})
    images = generator(100 * z_of(generator, 50))
    assert images.min() < -0.99
    assert images.max() > 0.99


def test_planning_costs_nothing_and_draws_nothing(folder):
    state = torch.get_rng_state()
    generator = GANGenerator.load(folder)
    assert next(generator.planned().parameters()).device.type == "meta"
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"latent_dim": 1}, "`latent_dim` is one whole number"),
        ({"channels": []}, "1 to 32 layers"),
        ({"channels": [4] * 33}, "1 to 32 layers"),
        ({"channels": [4, 0]}, "`channels`"),
        ({"channels": [4, 2**15]}, "`channels`"),
        ({"channels": [4, 1], "stride": [1]}, "`stride` is one whole number .* 2 layers"),
        ({"channels": [4, 1], "kernel_size": 2.5}, "not iterable"),
        ({"norm": "evil"}, "norm of"),
        ({"output": "relu"}, "output of"),
        ({"channels": [4, 2], "stride": 1, "padding": 0}, "1 or 3 channels"),
    ],
    ids=str,
)
def test_arguments_are_sensible(arguments, complaint):
    with pytest.raises((ValueError, TypeError), match=complaint):
        GANGenerator("dcgan", arguments)


def test_an_unknown_architecture_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"one of .*'dcgan'.*register_generator"):
        GANGenerator("biggan", {})


def test_a_program_may_add_an_architecture_of_its_own(tmp_path):
    class Dots(nn.Module):
        latent_dim, value_range = 4, (0.0, 2.0)

        def __init__(self, size):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(size, size))

        def forward(self, z):
            return self.scale * z[:, :1, None, None].abs().clamp(max=2)

    register_generator("dots", Dots)
    try:
        generator = GANGenerator("dots", {"size": 4})
        generator.save_pretrained(tmp_path)
        again = GANGenerator.load(tmp_path)
        assert again.image == Image(1, 4, 4)
        images = again(torch.tensor([[0.0] * 4, [9.0] * 4]))
        assert images.flatten(1).unique(dim=1).flatten().tolist() == [-1, 1]
    finally:
        del GENERATORS["dots"]


DAMAGES = {
    "missing": (lambda t: t.pop(min(t)), "the file lacks"),
    "unexpected": (lambda t: t.update(evil=torch.zeros(1)), "holds the unexpected"),
    "shape": (lambda t: t.update({min(t): torch.zeros(2)}), "has shape"),
    "nan": (lambda t: t[min(t)].view(-1)[:1].fill_(float("nan")), "no finite numbers"),
    "integers": (lambda t: t.update({min(t): t[min(t)].long()}), "no finite numbers"),
    "float counter": (
        lambda t: t.update({n: v.float() for n, v in t.items() if v.dtype == torch.int64}),
        "no finite numbers of type torch.int64",
    ),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_weights_are_refused(folder, damage, complaint):
    content = load_file(folder / WEIGHTS)
    damage(content)
    save_file(content, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match=complaint):
        load_backbone(folder, GANGenerator)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": ...},
        {"architecture": ["os", "system"]},
        {"architecture": "resnet"},
        {"latent_dim": 10**15},
        {"latent_dim": "wide"},
        {"channels": [2**14] * 3},
        {"channels": None},
        {"stride": [2**14] * 3},
        {"of_the_future": 1},
    ],
    ids=str,
)
def test_a_damaged_config_is_refused_before_it_costs_anything(folder, changes):
    edit(folder / "config.json", **changes)
    with pytest.raises(CheckpointError):
        load_backbone(folder, GANGenerator)


def test_names_that_begin_with_an_underscore_are_for_others(folder):
    before = GANGenerator.load(folder)
    edit(folder / "config.json", _name_or_path="x")
    assert same(tensors(GANGenerator.load(folder)), tensors(before))


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
def test_a_missing_file_is_refused_with_the_way_out(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"no {name}.*convert-generator"):
        load_backbone(folder, GANGenerator)


def test_a_base_of_another_kind_is_refused(folder, tmp_path):
    diffusion = make_tiny_base(tmp_path / "ddpm")
    with pytest.raises(CheckpointError, match="A generator is a folder"):
        load_backbone(diffusion, GANGenerator)
    with pytest.raises(CheckpointError, match="A base is a DDPMPipeline or LDMPipeline folder"):
        load_backbone(folder)


def test_a_reference_names_a_kind_of_the_table():
    assert BackboneReference(None, None, "0" * 64, "GANGenerator").class_name == "GANGenerator"
    with pytest.raises(CheckpointError, match=r"one of .*GANGenerator"):
        BackboneReference(None, None, "0" * 64, "Evil")


def test_the_card_states_the_licence(folder):
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    assert load_backbone(folder, GANGenerator)[1].license == "mit"
    assert json.loads((folder / "config.json").read_text())["architecture"] == "dcgan"

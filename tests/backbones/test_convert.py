import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from causal_diffusers.backbones import GANGenerator, convert_generator, load_backbone
from causal_diffusers.cli import main
from causal_diffusers.errors import CheckpointError

ARGUMENTS = {"latent_dim": 6, "channels": [8, 4, 1], "kernel_size": [3, 4, 3]}
ARGUMENTS |= {"stride": [1, 2, 1], "padding": [0, 1, 0], "bias": True}
MNIST = {"latent_dim": 64, "channels": [256, 128, 64, 1], "kernel_size": [3, 4, 3, 4]}
MNIST |= {"stride": [2, 1, 2, 2], "padding": 0, "bias": True}


def theirs(*, latent=6, channels=(8, 4, 1), kernels=(3, 4, 3), strides=(1, 2, 1), pads=(0, 1, 0)):
    """A generator as somebody else writes it, its layers in one long list."""
    layers, width = [], latent
    for made, kernel, stride, pad in zip(channels, kernels, strides, pads, strict=True):
        layers += [nn.ConvTranspose2d(width, made, kernel, stride, pad)]
        layers += [nn.BatchNorm2d(made), nn.ReLU()] if len(layers) < 6 else [nn.Tanh()]
        width = made
    main_ = nn.Sequential(*layers)
    with torch.no_grad():
        for name, tensor in main_.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
    return nn.Sequential(dict_of(main=main_))


def dict_of(**modules):
    from collections import OrderedDict

    return OrderedDict(modules)


def picture(network, z):
    with torch.no_grad():
        return network.eval()(z[:, :, None, None])


def test_a_pickle_of_tensors_becomes_safetensors(tmp_path, generator):
    network = theirs()
    torch.save(network.state_dict(), tmp_path / "g.pth")
    converted = convert_generator(tmp_path / "g.pth", tmp_path / "out", arguments=ARGUMENTS)
    loaded, reference = load_backbone(tmp_path / "out", GANGenerator)
    z = torch.randn(5, 6, generator=generator)
    assert torch.equal(converted(z), picture(network, z))
    assert torch.equal(loaded(z), picture(network, z))
    assert reference.license is None
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"config.json", "model.safetensors"}


@pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s}, lambda s: {"generator": {"G": s}}])
def test_a_training_checkpoint_is_opened(tmp_path, generator, wrap):
    network = theirs()
    torch.save({**wrap(network.state_dict()), "epoch": 3}, tmp_path / "g.pt")
    converted = convert_generator(tmp_path / "g.pt", tmp_path / "out", arguments=ARGUMENTS)
    z = torch.randn(5, 6, generator=generator)
    assert torch.equal(converted(z), picture(network, z))


def test_a_safetensors_file_has_forgotten_the_order_of_its_layers(tmp_path, generator):
    """There `main.10` comes before `main.2`: numbers are read as numbers."""
    network = theirs()
    many = {f"main.{4 * int(n.split('.')[1])}.{n.split('.')[2]}": t for n, t in
            network.state_dict().items()}  # fmt: skip
    save_file(many, tmp_path / "g.safetensors")
    converted = convert_generator(
        tmp_path / "g.safetensors", tmp_path / "out", arguments=ARGUMENTS, license="mit"
    )
    z = torch.randn(5, 6, generator=generator)
    assert torch.equal(converted(z), picture(network, z))
    assert load_backbone(tmp_path / "out", GANGenerator)[1].license == "mit"


class Evil:
    def __reduce__(self):
        return os.mkdir, ("caught",)


def test_nothing_in_a_pickle_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.pth").write_bytes(pickle.dumps({"weight": Evil()}, protocol=2))
    with pytest.raises(CheckpointError, match="A pickle that needs code to be read is refused"):
        convert_generator("g.pth", "out", arguments=ARGUMENTS)
    torch.save(theirs(), tmp_path / "whole.pth")
    with pytest.raises(CheckpointError, match="have its owner save the `state_dict"):
        convert_generator("whole.pth", "out", arguments=ARGUMENTS)
    assert not (tmp_path / "caught").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "holds no plain tensors"),
        (b"", "holds no plain tensors"),
        (b"PK garbage", "holds no plain tensors"),
        ({"epoch": 3}, "holds no state dict"),
        ([1, 2], "holds no state dict"),
        ({}, "holds no state dict"),
    ],
    ids=str,
)
def test_what_holds_no_tensors_is_refused(tmp_path, content, complaint):
    path = tmp_path / "g.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=complaint):
        convert_generator(path, tmp_path / "out", arguments=ARGUMENTS)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"latent_dim": 7}, r"`main.0.weight` has shape \(6, 8, 3, 3\).* has \(7, 8, 3, 3\)"),
        ({"kernel_size": 3}, "Change the arguments of the architecture"),
        ({"bias": False}, "Change the arguments"),
        ({"norm": "none"}, "Change the arguments"),
        ({"channels": [8, 4, 1, 1], "kernel_size": [3, 4, 3, 3], "stride": 1, "padding": 0},
         "Change the arguments|the architecture"),
    ],
    ids=str,
)  # fmt: skip
def test_weights_of_another_generator_are_refused(tmp_path, changes, complaint):
    torch.save(theirs().state_dict(), tmp_path / "g.pth")
    with pytest.raises(CheckpointError, match=complaint):
        convert_generator(tmp_path / "g.pth", tmp_path / "out", arguments=ARGUMENTS | changes)


def test_a_tensor_too_many_is_named(tmp_path):
    state = theirs().state_dict()
    torch.save({**state, "critic.weight": torch.zeros(3)}, tmp_path / "g.pth")
    with pytest.raises(CheckpointError, match=r"without a partner is `critic\.weight`"):
        convert_generator(tmp_path / "g.pth", tmp_path / "out", arguments=ARGUMENTS)


@pytest.mark.parametrize("arguments", [{"depth": 3}, {"kernel_size": "x"}, {"kernel_size": 99}])
def test_arguments_that_do_not_fit_are_refused(tmp_path, arguments):
    torch.save(theirs().state_dict(), tmp_path / "g.pth")
    with pytest.raises((ValueError, CheckpointError)):
        convert_generator(tmp_path / "g.pth", tmp_path / "out", arguments=ARGUMENTS | arguments)


def test_the_shell_converts(tmp_path, capsys):
    torch.save(theirs().state_dict(), tmp_path / "g.pth")
    words = ["latent_dim=6", "channels=8,4,1", "kernel_size=[3,4,3]", "stride=1,2,1"]
    words += ["padding=0,1,0", "bias=true", "norm=batch"]
    where = [str(tmp_path / "g.pth"), "--output", str(tmp_path / "out"), "--license", "mit"]
    assert main(["convert-generator", *where, "--arguments", *words]) == 0
    assert "Image(channels=1, height=8, width=8)" in capsys.readouterr().out
    assert load_backbone(tmp_path / "out", GANGenerator)[1].license == "mit"
    assert main(["convert-generator", *where, "--arguments", "latent_dim=7"]) == 2
    assert "causal-diffusers: " in capsys.readouterr().err


def test_the_generator_of_somebody_else(tmp_path, data_folder, generator):
    """A DCGAN that a third party trained on MNIST, against its layers written out."""
    from safetensors.torch import load_file

    weights = data_folder / "checkpoints" / "mnist_dcgan" / "generator.safetensors"
    made = convert_generator(weights, tmp_path, arguments=MNIST)
    assert (made.image.shape, made.latent_dim) == ((1, 28, 28), 64)
    state, x = load_file(weights), torch.randn(3, 64, generator=generator)[:, :, None, None]
    z = x[:, :, 0, 0]
    for layer, stride in enumerate([2, 1, 2, 2]):
        at = f"gen.{layer}"
        x = nn.functional.conv_transpose2d(
            x, state[f"{at}.0.weight"], state[f"{at}.0.bias"], stride
        )
        if layer < 3:
            means, variances = state[f"{at}.1.running_mean"], state[f"{at}.1.running_var"]
            affine = state[f"{at}.1.weight"], state[f"{at}.1.bias"]
            x = nn.functional.batch_norm(x, means, variances, *affine).relu()
    torch.testing.assert_close(made(z), x.tanh())

"""Gates choose the update of a frozen network, and begin by changing nothing."""

import copy
import pickle

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from torch import nn

from causal_diffusers.adapters import ChannelGates, GatedLoRA, unadapted


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 5), nn.SiLU(), nn.Linear(5, 2)).requires_grad_(False)


def adapt(frozen, targets=("0", "2"), **options):
    return GatedLoRA(frozen, 4, **{"rank": 2, "alpha": 6, "target_modules": targets, **options})


def move(frozen, generator):
    """Give every B of the adapter a value."""
    for name, parameter in frozen.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator)


X, C = torch.linspace(-1, 1, 12).reshape(4, 3), torch.linspace(0, 1, 16).reshape(4, 4)


def test_the_network_is_untouched_bit_for_bit_until_training():
    frozen = network()
    before = frozen(X)
    gates = adapt(frozen)
    for context in (C, 100 * C):
        gates.set_context(context)
        assert torch.equal(frozen(X), before)


def test_a_layer_is_its_equation(generator):
    r"""$y = W x + (alpha / r) B (g(c) * A x)$, row by row."""
    frozen = network()
    W, b = frozen[0].weight.clone(), frozen[0].bias.clone()
    gates = adapt(frozen, ["0"])
    move(frozen, generator)
    A, B = frozen[0].lora_A["default"].weight, frozen[0].lora_B["default"].weight
    gates.set_context(C)
    for x, c, y in zip(X, C, frozen[0](X), strict=True):
        g = gates.head(gates.trunk(c))
        torch.testing.assert_close(y, W @ x + b + 6 / 2 * B @ (g * (A @ x)))


def test_a_convolution_and_a_sequence_are_gated_in_every_place(generator):
    frozen = nn.ModuleDict({"conv": nn.Conv2d(3, 5, 3, padding=1), "linear": nn.Linear(3, 5)})
    gates = adapt(frozen, ["conv", "linear"])
    move(frozen, generator)
    image = torch.randn(4, 3, 2, 2, generator=generator)
    flat = image.flatten(2).transpose(1, 2)
    gates.set_context(C)
    together = frozen["conv"](image), frozen["linear"](flat)
    for row in range(4):
        gates.set_context(C[row : row + 1])
        mine = slice(row, row + 1)
        torch.testing.assert_close(frozen["conv"](image[mine]), together[0][mine])
        torch.testing.assert_close(frozen["linear"](flat[mine]), together[1][mine])


def test_the_context_chooses_the_update(generator):
    frozen = network()
    gates = adapt(frozen)
    move(frozen, generator)
    gates.set_context(C)
    one = frozen(X)
    gates.set_context(C.flip(0))
    assert not torch.equal(frozen(X), one)


def test_only_the_adapter_can_move():
    frozen = network()
    gates = adapt(frozen)
    moving = {name for name, p in frozen.named_parameters() if p.requires_grad}
    assert moving == {f"{i}.lora_{side}.default.weight" for i in (0, 2) for side in "AB"}
    assert all(p.requires_grad for p in gates.parameters())


def test_only_the_named_layers_are_adapted():
    frozen = network()
    gates = adapt(frozen, ["2"])
    assert type(frozen[0]) is nn.Linear
    assert gates.head.out_features == 2


def test_a_layer_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="not found"):
        adapt(network(), ["no_such_layer"])


def test_a_name_is_no_pattern():
    with pytest.raises(ValueError, match="not found"):
        adapt(network(), [".*"])


def test_an_adapted_network_must_know_its_context():
    frozen = network()
    adapt(frozen)
    with pytest.raises(RuntimeError, match="`set_context` must be called"):
        frozen(X)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_has_gates_of_its_own(generator, again):
    frozen = network()
    gates = adapt(frozen)
    move(frozen, generator)
    gates.set_context(C)
    before = frozen(X)
    before.sum().backward()  # so that the gates are part of a graph
    twin, its_gates = again((frozen, gates))
    its_gates.set_context(C.flip(0))
    assert not torch.equal(twin(X), before)
    assert torch.equal(frozen(X), before)
    its_gates.set_context(C)
    assert torch.equal(twin(X), before)


@torch.no_grad()
def test_it_works_for_denoisers_that_take_other_conditions(generator):
    """No input of the network is needed: the same adapter fits another family."""
    small = {
        "sample_size": 8,
        "in_channels": 1,
        "out_channels": 1,
        "layers_per_block": 1,
        "block_out_channels": (4, 8),
        "norm_num_groups": 4,
        "attention_head_dim": 4,
    }
    plain = UNet2DModel(
        **small,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    told = UNet2DConditionModel(
        **small,
        cross_attention_dim=6,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    x = torch.randn(4, 1, 8, 8, generator=generator)
    words = torch.randn(4, 3, 6, generator=generator)
    for unet, extra in ((plain, {}), (told, {"encoder_hidden_states": words})):
        unet.requires_grad_(False).eval()  # layers that can move round in another way
        before = unet(x, 3, **extra).sample
        gates = adapt(unet, ["to_q", "to_out.0", "conv1"])
        gates.set_context(C)
        assert torch.equal(unet(x, 3, **extra).sample, before)
        move(unet, generator)
        assert not torch.equal(unet(x, 3, **extra).sample, before)


def test_a_network_without_its_adapters_is_what_it_was(generator):
    """Frozen tensors are shared, and what was adapted stays so."""
    frozen = network()
    before, gates = frozen(X), adapt(frozen)
    move(frozen, generator)
    gates.set_context(C)
    after, bare = frozen(X), unadapted(frozen)
    assert torch.equal(bare(X), before)
    assert torch.equal(frozen(X), after)
    assert not torch.equal(after, before)
    assert bare[0].weight.data_ptr() == frozen[0].get_base_layer().weight.data_ptr()
    assert {name for name, _ in bare.named_parameters()} == {
        name for name, _ in network().named_parameters()
    }
    again = adapt(bare)  # it can be adapted anew
    again.set_context(C)
    assert torch.equal(bare(X), before)


def test_channel_gates_are_taken_off_too(generator):
    frozen = network()
    before, gates = frozen(X), ChannelGates(frozen, 4)
    with torch.no_grad():
        gates.head.weight.normal_(generator=generator)
    gates.set_context(C)
    assert not torch.equal(frozen(X), before)
    assert torch.equal(unadapted(frozen)(X), before)

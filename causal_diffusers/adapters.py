r"""Gated LoRA: condition a frozen network by choosing its low-rank update.

A LoRA layer adds a low-rank update to a frozen weight $W$. Here the context $c$ (what
the parents are) multiplies the $r$ coordinates of that update by a gate,

$$ y = W x + \tfrac{\alpha}{r} \, B \big(g(c) \odot A x\big) , $$

so that the context selects the update instead of being fed to a network that was never
built to take it. It works for any denoiser, unconditional ones included. $B = 0$ at the
start, hence the network is untouched, bit for bit, until training moves $B$.

References:
    LoRA: low-rank adaptation of large language models (Hu et al., 2022), Sec. 4.1.
    The layers are those of peft; only the gate is ours.

`ChannelGates` is the same idea for layers that LoRA does not know.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

__all__ = ["ChannelGates", "GatedLoRA", "twin", "unadapted"]

_N = TypeVar("_N", bound=nn.Module)
_LAYERS = nn.Conv2d, nn.ConvTranspose2d, nn.Linear


class _Gate:
    """Multiply the output of one `lora_A` by its gate (picklable, unlike a closure)."""

    def __init__(self, owner: GatedLoRA, index: int) -> None:
        self.owner = owner
        self.index = index

    def __call__(self, module: nn.Module, arguments: object, output: Tensor) -> Tensor:
        if not self.owner.gates:
            raise RuntimeError("`set_context` must be called before the adapted network.")
        gate = self.owner.gates[self.index].to(output.dtype)
        if output.dim() == 4:  # (B, r, H, W) of a convolution
            return output * gate[:, :, None, None]
        return output * gate.view(len(gate), *[1] * (output.dim() - 2), gate.shape[-1])


class GatedLoRA(nn.Module):
    r"""Gates for LoRA updates that are injected into a frozen network.

    The network keeps the updates (peft's `lora_A`, `lora_B`) in its own state; this
    module holds $g$, and hooks that apply it.

    Arguments:
        network: The frozen network; LoRA layers are injected into it, in place.
        context_features: The width of the context $c$.
        rank: The rank $r$ of every update.
        alpha: The scale $\alpha$ of every update.
        target_modules: Literal names of the layers to adapt, as peft matches them: a
            layer is adapted if its name ends with one of them.
        width: The width of the two hidden layers of $g$.

    Raises:
        ValueError: If no layer of the network has one of these names.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Linear(3, 3))
        >>> x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
        >>> before = network(x)
        >>> gates = GatedLoRA(network, 4, rank=2, alpha=2, target_modules=["0"])
        >>> gates.set_context(torch.ones(2, 4))
        >>> torch.equal(network(x), before)
        True
    """

    def __init__(
        self,
        network: nn.Module,
        context_features: int,
        *,
        rank: int,
        alpha: float,
        target_modules: Sequence[str],
        width: int = 64,
    ) -> None:
        super().__init__()
        targets = list(target_modules)
        scale: Any = alpha  # peft says integer and takes any number
        config = LoraConfig(r=rank, lora_alpha=scale, target_modules=targets)
        inject_adapter_in_model(config, network)
        layers = [module for module in network.modules() if isinstance(module, LoraLayer)]
        self.trunk = nn.Sequential(
            nn.Linear(context_features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.head = nn.Linear(width, rank * len(layers))
        self.gates: tuple[Tensor, ...] = ()
        for index, layer in enumerate(layers):
            layer.lora_A["default"].register_forward_hook(_Gate(self, index))
        self._rank = rank

    def set_context(self, context: Tensor) -> None:
        """Compute the gates that the network uses from now on.

        Call it once for a batch, not once for a denoising step.

        Arguments:
            context: What the parents are, with shape (B, context_features); B is the
                batch size of the network's next calls.
        """
        self.gates = self.head(self.trunk(context)).split(self._rank, dim=-1)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the gates of the last batch, which may carry gradients, out of copies."""
        return {**self.__dict__, "gates": ()}


class _Scale:
    """Multiply the channels of one layer (picklable, unlike a closure)."""

    def __init__(self, owner: ChannelGates, index: int) -> None:
        self.owner = owner
        self.index = index

    def __call__(self, module: nn.Module, arguments: object, output: Tensor) -> Tensor:
        if not self.owner.gates:
            raise RuntimeError("`set_context` must be called before the gated network.")
        gate = self.owner.gates[self.index].to(output.dtype)
        return output * gate.view(*gate.shape, *[1] * (output.dim() - 2))


class ChannelGates(nn.Module):
    r"""Gates $1 + g(c)$ on the channels inside a frozen network.

    For layers that LoRA has no form of, such as the transposed convolutions of a
    generator. $g = 0$ at the start, hence the network is untouched, bit for bit.

    Arguments:
        network: The frozen network; hooks are put on all its convolutions and linear
            layers but the last.
        context_features: The width of the context $c$.
        width: The width of the hidden layer of $g$.

    Raises:
        ValueError: If the network has fewer than two such layers.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
        >>> x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
        >>> before = network(x)
        >>> gates = ChannelGates(network, 7)
        >>> gates.set_context(torch.ones(4, 7))
        >>> torch.equal(network(x), before)
        True
    """

    def __init__(self, network: nn.Module, context_features: int, *, width: int = 64) -> None:
        super().__init__()
        inner = [module for module in network.modules() if isinstance(module, _LAYERS)][:-1]
        if not inner:
            raise ValueError("there is no layer to gate but the last one: pass `gates=False`.")
        self._sizes = [
            m.out_features if isinstance(m, nn.Linear) else m.out_channels for m in inner
        ]
        self.trunk = nn.Sequential(nn.Linear(context_features, width), nn.SiLU())
        self.head = nn.Linear(width, sum(self._sizes))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.gates: tuple[Tensor, ...] = ()
        for index, layer in enumerate(inner):
            layer.register_forward_hook(_Scale(self, index))

    def set_context(self, context: Tensor) -> None:
        """Compute the gates that the network uses from now on; see `GatedLoRA`."""
        self.gates = (1 + self.head(self.trunk(context))).split(self._sizes, dim=-1)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the gates of the last batch, which may carry gradients, out of copies."""
        return {**self.__dict__, "gates": ()}


def unadapted(network: _N) -> _N:
    """Give a frozen network as it was before it was adapted; its weights are shared.

    Arguments:
        network: The network, which keeps its adapters.

    Returns:
        A `twin` of the network, without adapters.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Linear(3, 3))
        >>> x, weight = torch.ones(2, 3), network[0].weight
        >>> before = network(x)
        >>> _ = GatedLoRA(network, 4, rank=2, alpha=2, target_modules=["0"])
        >>> bare = unadapted(network)
        >>> torch.equal(bare(x), before), bare[0].weight.data_ptr() == weight.data_ptr()
        (True, True)
    """
    bare = twin(network)
    for module in list(bare.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoraLayer):
                setattr(module, name, child.get_base_layer())
        if hasattr(module, "peft_config"):
            del module.peft_config
        for key, hook in list(module._forward_hooks.items()):
            if isinstance(hook, _Scale):
                del module._forward_hooks[key]
    return bare


def twin(network: _N) -> _N:
    """Copy a network without its memory.

    The tensors are on the same memory, but the parameters are others: whoever moves one of
    the two networks to another device leaves the other where it is.

    Arguments:
        network: The network; it is frozen, for what is written to one is written to both.

    Returns:
        Another network on the same memory.

    Example:
        >>> network = nn.Linear(3, 3)
        >>> other = twin(network)
        >>> other.weight.data_ptr() == network.weight.data_ptr()
        True
        >>> other.double().weight.dtype, network.weight.dtype
        (torch.float64, torch.float32)
    """
    shared: dict[int, Any] = {
        id(p): nn.Parameter(p.detach(), requires_grad=p.requires_grad)
        for p in network.parameters()
    }
    shared |= {id(buffer): buffer.detach() for buffer in network.buffers()}
    return copy.deepcopy(network, shared)

r"""How is a mechanism made anew, for a graph in which it listens to others?

A bound mechanism belongs to its parents. In another graph one of the same kind and size
takes its place, not yet bound and not yet trained. One that stands on a frozen network stands
on the same frozen tensors; once it is bound it may start from the trained adapter, as far
as the shapes allow: the updates of the frozen network do not depend on the parents, and the first
layer of what reads the parents does.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any, TypeVar

import torch

from causal_diffusers.adapters import twin, unadapted
from causal_diffusers.mechanisms.base import Mechanism
from causal_diffusers.mechanisms.pretrained import PretrainedMechanism

__all__ = ["renew", "start_from"]

_M = TypeVar("_M", bound=Mechanism)
_OWN = {"self", "variable", "parents", "confounders", "image_encoder", "sampler"}


def renew(mechanism: _M) -> _M:
    """Make a mechanism of the same kind and size, not yet bound.

    Arguments:
        mechanism: The mechanism; it is left as it is.

    Returns:
        A new one. The memory of frozen tensors is shared, and moving one of the two to
        another device moves it alone; trainable tensors are its own.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> from causal_diffusers.variables import Categorical
        >>> f = CategoricalMechanism(width=5).bind(Categorical("ab"), {}, {})
        >>> new = renew(f)
        >>> new.is_bound, new.config["width"]
        (False, 5)
    """
    kind: Any = type(mechanism)
    taken = set(inspect.signature(kind.__init__).parameters) - _OWN
    chosen = {name: copy.deepcopy(mechanism.config[name]) for name in sorted(taken)}
    encoder = mechanism.image_encoder
    new = kind(**chosen, image_encoder=encoder if encoder is None else twin(encoder))
    if isinstance(mechanism, PretrainedMechanism) and mechanism.backbone is not None:
        new._attach(unadapted(mechanism.backbone))
        if hasattr(mechanism, "scheduler"):
            new.scheduler = copy.deepcopy(mechanism.scheduler)
    return new


@torch.no_grad()
def start_from(new: Mechanism, old: Mechanism) -> tuple[str, ...]:
    """Copy the trainable tensors of a mechanism into another, where names and shapes agree.

    Arguments:
        new: The bound mechanism that is to be trained.
        old: The trained one.

    Returns:
        The names of the tensors that were copied.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> from causal_diffusers.variables import Categorical
        >>> two = Categorical("ab")
        >>> old = CategoricalMechanism(depth=1).bind(two, {"X": two}, {})
        >>> start_from(CategoricalMechanism(depth=1).bind(two, {}, {}), old)
        ('network.1.weight', 'network.1.bias')
    """
    known, copied = old.trainable_state(), []
    for name, tensor in new.trainable_state().items():
        if name in known and known[name].shape == tensor.shape:
            tensor.copy_(known[name])
            copied.append(name)
    return tuple(copied)

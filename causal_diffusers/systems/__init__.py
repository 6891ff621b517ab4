"""Data-generating systems whose truth is known, for tests, demos and benchmarks.

| System | File | Truth |
|---|---|---|
| Random discrete SCM over any ADMG | `discrete` | enumeration of P(V), P(Y given do X, Z) |
| Asia, with smoking hidden | `asia` | enumeration |
| Proteins in real cells | `sachs` | an experiment that is held out |
| Front-door digits, 8x8 | `front_door`, `digits` | enumeration of U, W and the images |
| Front-door MNIST, 32x32 | `front_door`, `mnist` | enumeration of U, W and the images |
| Coloured bars: an image of everything | `bars` | enumeration of the labels |
| Chest X-rays between a label and its consequence | `xrays` | enumeration of U and the images |
| Diamond with two images, both confounded | `diamond` | enumeration of U, V and the images |
| Apple leaves on a painted background | `leaves` | real leaves on either background |
| Faces in the layout of CelebA | `faces` | none: rows of a data set |
| Families of linear and additive models | `sem` | the weights of each data set |
| Confounded digits: an image that shares a hidden cause | `confounded_digits` | enumeration |
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from causal_diffusers.systems.asia import asia_network
    from causal_diffusers.systems.bars import ColoredBarMNIST
    from causal_diffusers.systems.confounded_digits import ConfoundedDigits
    from causal_diffusers.systems.diamond import ImageDiamond
    from causal_diffusers.systems.digits import FrontDoorDigits
    from causal_diffusers.systems.discrete import DiscreteSCM
    from causal_diffusers.systems.leaves import AppleLeaves
    from causal_diffusers.systems.mnist import FrontDoorMNIST
    from causal_diffusers.systems.sem import AdditiveFamily, LinearFamily, Tasks
    from causal_diffusers.systems.xrays import ChestXrays

__all__ = [
    "AdditiveFamily",
    "AppleLeaves",
    "ChestXrays",
    "ColoredBarMNIST",
    "ConfoundedDigits",
    "DiscreteSCM",
    "FrontDoorDigits",
    "FrontDoorMNIST",
    "ImageDiamond",
    "LinearFamily",
    "Tasks",
    "asia_network",
]

_HOMES = {
    "AppleLeaves": "causal_diffusers.systems.leaves",
    "ChestXrays": "causal_diffusers.systems.xrays",
    "ColoredBarMNIST": "causal_diffusers.systems.bars",
    "ConfoundedDigits": "causal_diffusers.systems.confounded_digits",
    "DiscreteSCM": "causal_diffusers.systems.discrete",
    "FrontDoorDigits": "causal_diffusers.systems.digits",
    "FrontDoorMNIST": "causal_diffusers.systems.mnist",
    "ImageDiamond": "causal_diffusers.systems.diamond",
    "AdditiveFamily": "causal_diffusers.systems.sem",
    "LinearFamily": "causal_diffusers.systems.sem",
    "Tasks": "causal_diffusers.systems.sem",
    "asia_network": "causal_diffusers.systems.asia",
}


def __getattr__(name: str) -> object:
    """Import a system from its home module on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

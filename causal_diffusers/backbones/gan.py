r"""A frozen GAN generator, $x = G(z)$ with $z \sim N(0, I)$, in one of our own architectures.

No library has a class for GAN generators, and code that comes with weights is never run.
So the architecture is one of the table `GENERATORS`, which `register_generator` extends
from a program of your own, and only numbers are read from disk. A folder holds

```
config.json           {"architecture": "dcgan", "latent_dim": 64, ...}, the arguments
model.safetensors     every parameter and buffer of the network, by name
```

`causal-diffusers convert-generator` writes one from the weights of somebody else.

References:
    Unsupervised representation learning with deep convolutional generative adversarial
    networks (Radford, Metz & Chintala, 2016), Sec. 3.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from causal_diffusers.backbones.base import Backbone
from causal_diffusers.backbones.files import blame, check_shapes, read_json, stored_shapes
from causal_diffusers.errors import CheckpointError
from causal_diffusers.variables import Image

__all__ = ["DCGAN", "GENERATORS", "GANGenerator", "register_generator"]

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_MOST_LAYERS, _LARGEST, _LARGEST_IMAGE = 32, 2**14, 2**26
_RANGES = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "none": lambda channels: nn.Identity(),
}


class DCGAN(nn.Module):
    """Transposed convolutions from a vector to an image.

    The defaults are those of the paper at 64 x 64 pixels. A number may be one for all
    layers, or a list with one for each.

    Arguments:
        latent_dim: The length of $z$.
        channels: The channels that each layer makes; the last are those of the image.
        kernel_size: The sizes of the kernels.
        stride: The strides.
        padding: The paddings.
        output_padding: The paddings on one side of the output.
        bias: Whether the convolutions have one.
        norm: What follows all convolutions but the last: `"batch"` or `"none"`.
        output: What follows the last: `"tanh"` or `"sigmoid"`.

    Raises:
        ValueError: If there are too few or too many numbers, or one is out of range.

    Example:
        >>> network = DCGAN(8, [4, 1], kernel_size=4, stride=[1, 2], padding=[0, 1])
        >>> network(torch.zeros(2, 8)).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        latent_dim: int = 100,
        channels: Sequence[int] = (512, 256, 128, 64, 3),
        kernel_size: int | Sequence[int] = 4,
        stride: int | Sequence[int] = (1, 2, 2, 2, 2),
        padding: int | Sequence[int] = (0, 1, 1, 1, 1),
        output_padding: int | Sequence[int] = 0,
        bias: bool = False,
        norm: str = "batch",
        output: str = "tanh",
    ) -> None:
        super().__init__()
        widths = _each("channels", channels, 0, least=1)
        if not 1 <= len(widths) <= _MOST_LAYERS or norm not in _NORMS or output not in _RANGES:
            raise ValueError(
                f"a DCGAN has 1 to {_MOST_LAYERS} layers, norm of {sorted(_NORMS)} and output of "
                f"{sorted(_RANGES)}: got {len(widths)} layers, {norm!r} and {output!r}."
            )
        self.latent_dim = _each("latent_dim", latent_dim, 1, least=2)[0]
        self.output = output
        layers = zip(
            itertools.pairwise([self.latent_dim, *widths]),
            _each("kernel_size", kernel_size, len(widths), least=1),
            _each("stride", stride, len(widths), least=1),
            _each("padding", padding, len(widths), least=0),
            _each("output_padding", output_padding, len(widths), least=0),
            strict=True,
        )
        convolutions = [
            nn.ConvTranspose2d(*io, kernel, step, pad, extra, bias=bool(bias))
            for io, kernel, step, pad, extra in layers
        ]
        norms = [_NORMS[norm](width) for width in widths[:-1]]
        self.layers = nn.ModuleList(  # in the order of the tensors of other people's DCGANs
            nn.Sequential(*pair) for pair in zip(convolutions[:-1], norms, strict=True)
        )
        self.layers.append(convolutions[-1])

    @property
    def value_range(self) -> tuple[float, float]:
        """The values that pixels take, black to white."""
        return _RANGES[self.output]

    def forward(self, z: Tensor) -> Tensor:
        """Turn latents (N, latent_dim) into images (N, C, H, W)."""
        x = z[:, :, None, None]
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        x = self.layers[-1](x)
        return x.tanh() if self.output == "tanh" else x.sigmoid()


GENERATORS: dict[str, Callable[..., nn.Module]] = {"dcgan": DCGAN}


def register_generator(architecture: str, factory: Callable[..., nn.Module]) -> None:
    """Add an architecture to the table, under a name of its own.

    Arguments:
        architecture: What `config.json` calls it.
        factory: Builds the network from plain JSON arguments. The network has an
            attribute `latent_dim`, turns (N, latent_dim) into images (N, C, H, W), and
            says in `value_range` which values pixels take, (-1, 1) if it has none.

    Raises:
        ValueError: If the name is taken.

    Example:
        >>> register_generator("dcgan", DCGAN)
        Traceback (most recent call last):
        ...
        ValueError: `architecture` is a new name: got 'dcgan', which is taken...
    """
    if architecture in GENERATORS:
        raise ValueError(
            f"`architecture` is a new name: got {architecture!r}, which is taken. The table "
            f"has {sorted(GENERATORS)}."
        )
    GENERATORS[architecture] = factory


class GANGenerator(Backbone):
    """A frozen generator, always in eval mode: its batch statistics never move.

    Arguments:
        architecture: A name of the table `GENERATORS`.
        arguments: What the architecture is built from, plain JSON.

    Raises:
        ValueError: If the architecture is unknown, its arguments do not fit, or it makes
            no grey or RGB images.

    Example:
        >>> backbone = GANGenerator("dcgan", {"channels": [8, 8, 8, 8, 1]})
        >>> backbone.image, backbone.latent_dim
        (Image(channels=1, height=64, width=64), 100)
        >>> backbone.train().network.training
        False
    """

    class_name = "GANGenerator"
    files = (_CONFIG, _WEIGHTS)

    def __init__(self, architecture: str, arguments: Mapping[str, Any]) -> None:
        super().__init__()
        if architecture not in GENERATORS:
            raise ValueError(
                f"`architecture` is one of {sorted(GENERATORS)}: got {architecture!r}. Others "
                "are added with `register_generator`."
            )
        self.architecture, self.arguments = architecture, dict(arguments)
        with torch.device("meta"):  # only to see what it makes
            planned = GENERATORS[architecture](**arguments).eval()
            made = planned(torch.empty(1, cast(int, planned.latent_dim))).shape
        self.latent_dim = cast(int, planned.latent_dim)
        if made.numel() > _LARGEST_IMAGE:
            raise ValueError(f"the generator makes images of {tuple(made[1:])}, absurdly large.")
        self.image = Image(*made[1:])
        self.network = GENERATORS[architecture](**arguments).requires_grad_(False).eval()

    def forward(self, z: Tensor) -> Tensor:
        """Make images, in the precision of the network.

        Arguments:
            z: Latents with shape (N, latent_dim), standard normal in training.

        Returns:
            Images with shape (N, C, H, W), in [-1, 1], with the type of `z`.
        """
        dtype = next(self.network.parameters()).dtype
        images = self.network(z.to(dtype)).to(z.dtype)
        low, high = getattr(self.network, "value_range", (-1.0, 1.0))
        return images if (low, high) == (-1, 1) else 2 * (images - low) / (high - low) - 1

    @classmethod
    def weights_of(cls, folder: Path) -> tuple[Path, ...]:
        """Find the weights; see `Backbone.weights_of`."""
        for name in cls.files:
            if not (folder / name).is_file():
                raise CheckpointError(
                    f"{folder}: there is no {name}. A generator is a folder with "
                    f"{' and '.join(cls.files)}; `causal-diffusers convert-generator` makes one.",
                    path=folder,
                )
        return (folder / _WEIGHTS,)

    @classmethod
    def load(cls, folder: Path) -> GANGenerator:
        """Load a folder; see `Backbone.load`."""
        (weights,), path = cls.weights_of(folder), folder / _CONFIG
        arguments = read_json(path)
        architecture = arguments.pop("architecture", None)
        arguments = {key: value for key, value in arguments.items() if key[:1] != "_"}
        with blame(path, "generator"), torch.device("meta"):
            plan = cls(str(architecture), arguments).network.state_dict()
        check_shapes(plan, stored_shapes(weights), weights)
        with blame(path, "generator"), torch.random.fork_rng(devices=[]):
            generator = cls(str(architecture), arguments)
        content = load_file(weights)
        for name, tensor in content.items():
            if tensor.is_floating_point() != plan[name].is_floating_point() or not bool(
                tensor.isfinite().all()
            ):
                raise CheckpointError(
                    f"{weights}: `{name}` holds no finite numbers of type {plan[name].dtype}. "
                    "The file is damaged.",
                    path=weights,
                )
        generator.network.load_state_dict(content)
        return generator

    def planned(self) -> GANGenerator:
        """Build the same network on the meta device; see `Backbone.planned`."""
        with torch.device("meta"):
            return GANGenerator(self.architecture, self.arguments)

    def save_pretrained(self, folder: Path) -> None:
        """Write the network in the layout that `load` reads; see `Backbone`."""
        folder.mkdir(parents=True, exist_ok=True)
        config = {"architecture": self.architecture, **self.arguments}
        (folder / _CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        state = {n: t.detach().cpu().contiguous() for n, t in self.network.state_dict().items()}
        save_file(state, folder / _WEIGHTS, metadata={"format": "pt"})


def _each(name: str, value: int | Sequence[int], number: int, *, least: int) -> list[int]:
    """Give one number for each layer; with `number` 0, as many as there are."""
    numbers = [value] * max(number, 1) if isinstance(value, int) else list(value)
    if (number and len(numbers) != number) or not all(
        type(n) is int and least <= n <= _LARGEST for n in numbers
    ):
        raise ValueError(
            f"`{name}` is one whole number in [{least}, {_LARGEST}] for each of the "
            f"{number or ''} layers: got {value!r:.60}."
        )
    return numbers

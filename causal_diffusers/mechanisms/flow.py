r"""A continuous variable: noise, bent by a spline that parents and confounders choose.

Number by number, with $h$ a small network,

$$ \varepsilon_i = g_\theta\big((v_i - a) / b\big), \qquad
   (a, \log b, \theta) = h_i(pa, u, v_{<i}), \qquad \varepsilon_i \sim N(0, 1) , $$

where $g_\theta$ is a monotonic rational-quadratic spline on $[-5, 5]$ and the identity
beyond, so that far values have Gaussian tails. It is inverted in closed form, and

$$ \log p(v \mid pa, u) = \sum_i \log N(\varepsilon_i; 0, 1)
   + \log \frac{\partial \varepsilon_i}{\partial v_i} . $$

Densities are those of standardised values. As in `categorical`, the first layer is a sum
of what the parents say and what the confounders say.

References:
    Neural spline flows (Durkan, Bekasov, Murray & Papamakarios, 2019), Sec. 3.1.
    Masked autoregressive flow for density estimation (Papamakarios, Pavlakou & Murray,
    2017), Sec. 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from zuko.transforms import ComposedTransform, MonotonicAffineTransform, MonotonicRQSTransform

from causal_diffusers.backbones import VisionEncoder
from causal_diffusers.mechanisms.base import (
    InvertibleMechanism,
    RelaxedMechanism,
    SamplingOptions,
)
from causal_diffusers.mechanisms.encoders import ParentEncoder, confounder_features
from causal_diffusers.variables import Confounder, Continuous, Variable

__all__ = ["FlowMechanism"]

_MOST_NUMBERS = 64  # each has a network of its own


class FlowMechanism(InvertibleMechanism, RelaxedMechanism):
    r"""The mechanism of a continuous variable: a conditional neural spline flow.

    Arguments:
        width: The width of the hidden layers.
        depth: The number of hidden layers, in [2, 64]; each number has a last one of its own.
        bins: The number of pieces of a spline, in [2, 256].
        image_encoder: A frozen encoder that reads parents which are images; None trains a
            small one for each.
        variable: The variable that is made, in plain JSON; set by `bind`.
        parents: Its parents, by name, in plain JSON; set by `bind`.
        confounders: Its confounders, by name, in plain JSON; set by `bind`.

    Raises:
        ValueError: If `width`, `depth` or `bins` is out of range.

    Example:
        >>> f = FlowMechanism().bind(Continuous(), {"X": Continuous(dim=2)}, {})
        >>> inputs = {"X": torch.zeros(5, 2)}, {}
        >>> v = f.sample(*inputs, num_samples=5, generator=torch.Generator().manual_seed(0))
        >>> v.shape, bool(f.assign(f.abduct(v, *inputs), *inputs).isclose(v, atol=1e-4).all())
        (torch.Size([5, 1]), True)
    """

    @register_to_config
    def __init__(
        self,
        width: int = 64,
        depth: int = 2,
        bins: int = 8,
        image_encoder: VisionEncoder | None = None,
        variable: dict | None = None,
        parents: dict | None = None,
        confounders: dict | None = None,
    ) -> None:
        super().__init__()
        self._see_with(image_encoder)
        whole = all(type(number) is int for number in (width, depth, bins))
        if not whole or width < 1 or not 2 <= depth <= 64 or not 2 <= bins <= 256:
            raise ValueError(
                "`FlowMechanism` needs an integer width of at least 1, an integer depth in "
                f"[2, 64] and integer bins in [2, 256]: got {width!r}, {depth!r} and {bins!r}."
            )
        self._build_if_bound()

    def log_prob(
        self,
        values: Tensor,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
        *,
        outer: bool = False,
    ) -> Tensor:
        r"""Compute the log-density $\log p(v \mid pa, u)$; see `LikelihoodMechanism.log_prob`.

        Example:
            >>> f = FlowMechanism().bind(Continuous(), {}, {"U": Confounder()})
            >>> f.log_prob(torch.zeros(3, 1), {}, {"U": torch.zeros(7, 2)}, outer=True).shape
            torch.Size([3, 7])
        """
        hidden = self._hidden(parents, confounders, batch=len(values), outer=outer)
        values = _at_least_single(values)[:, None] if outer else _at_least_single(values)
        values = values.expand(*hidden.shape[:-1], -1)
        total = values.new_zeros(())
        for i in range(values.shape[-1]):
            eps, slope = self._transform(i, hidden, values).call_and_ladj(values[..., i])
            total = total + slope - 0.5 * (eps.square() + math.log(2 * math.pi))
        return total

    def abduct(
        self,
        values: Tensor,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
    ) -> Tensor:
        """Read off the noise; see `InvertibleMechanism.abduct`.

        Example:
            >>> f = FlowMechanism().bind(Continuous(dim=2), {}, {})
            >>> f.abduct(torch.zeros(3, 2), {}, {}).shape
            torch.Size([3, 2])
        """
        hidden = self._hidden(parents, confounders, batch=len(values))
        values = _at_least_single(values)
        noise = [self._transform(i, hidden, values)(v) for i, v in enumerate(values.unbind(-1))]
        return torch.stack(noise, dim=-1)

    def assign(
        self,
        exogenous: Tensor,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
    ) -> Tensor:
        """Compute values from noise; see `InvertibleMechanism.assign`.

        Example:
            >>> f = FlowMechanism().bind(Continuous(), {}, {})
            >>> f.assign(torch.zeros(3, 1), {}, {}).shape
            torch.Size([3, 1])
        """
        hidden = self._hidden(parents, confounders, batch=len(exogenous))
        exogenous = _at_least_single(exogenous)
        values = exogenous[:, :0]
        for i, eps in enumerate(exogenous.unbind(-1)):  # each number listens to those before
            value = self._transform(i, hidden, values).inv(eps)
            values = torch.cat([values, value[:, None]], dim=-1)
        return values

    @torch.no_grad()
    def sample(
        self,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
        *,
        num_samples: int,
        generator: torch.Generator,
        options: SamplingOptions = SamplingOptions(),  # noqa: B008 (frozen)
    ) -> Tensor:
        """Draw noise, and assign; see `Mechanism.sample`.

        Example:
            >>> f = FlowMechanism().bind(Continuous(dim=3), {}, {})
            >>> f.sample({}, {}, num_samples=4, generator=torch.Generator()).shape
            torch.Size([4, 3])
        """
        return self.assign(self._noise(num_samples, generator), parents, confounders).float()

    def relaxed_sample(
        self,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
        *,
        num_samples: int,
        generator: torch.Generator,
        temperature: float = 0.5,
    ) -> Tensor:
        """Draw samples with a gradient; see `RelaxedMechanism.relaxed_sample`.

        They are those of `sample`, for a flow is smooth; the temperature changes nothing.

        Example:
            >>> f = FlowMechanism().bind(Continuous(), {}, {})
            >>> f.relaxed_sample({}, {}, num_samples=4, generator=torch.Generator()).requires_grad
            True
        """
        return self.assign(self._noise(num_samples, generator), parents, confounders).float()

    def _noise(self, number: int, generator: torch.Generator) -> Tensor:
        shape = (number, *self.variable.shape)
        return torch.randn(shape, generator=generator, device=generator.device).to(self.device)

    def _hidden(
        self,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
        *,
        batch: int,
        outer: bool = False,
    ) -> Tensor:
        """Hear parents and confounders: (B, width), or (B, M, width) if `outer`."""
        hidden = self.from_parents(self.encoder(parents, batch))
        if outer:
            hidden = hidden[:, None]
        if self.confounders:
            features = confounder_features(self.confounders, confounders)
            hidden = hidden + self.from_confounders(features.to(hidden.dtype))
        return self.network(hidden)

    def _transform(self, number: int, hidden: Tensor, values: Tensor) -> Any:  # noqa: ANN401
        """Give the map from one number to its noise, which listens to those before it.

        It is one of zuko's, which have more methods than those of torch.
        """
        before = values[..., :number].to(hidden.dtype)
        theta = self.heads[number](torch.cat([hidden, before], dim=-1))
        theta = _at_least_single(theta).to(torch.promote_types(theta.dtype, values.dtype))
        bins = self.config["bins"]
        shift, scale, widths, heights, slopes = theta.split([1, 1, bins, bins, bins - 1], dim=-1)
        return ComposedTransform(
            MonotonicAffineTransform(shift.squeeze(-1), scale.squeeze(-1)),
            MonotonicRQSTransform(widths, heights, slopes),
        )

    def _check_signature(
        self,
        variable: Variable,
        parents: Mapping[str, Variable],
        confounders: Mapping[str, Confounder],
    ) -> None:
        if not isinstance(variable, Continuous):
            raise ValueError(  # noqa: TRY004 (a wrong choice of mechanism)
                f"`FlowMechanism` makes continuous variables: got {type(variable).__name__}. "
                "Labels are made by `CategoricalMechanism`, images by `DiffusionMechanism`."
            )
        if variable.dim > _MOST_NUMBERS:
            raise ValueError(
                f"`FlowMechanism` makes vectors of at most {_MOST_NUMBERS} numbers: got "
                f"{variable.dim}. Split the vector into variables, or reduce its dimension."
            )

    def _build(self) -> None:
        width, bins = self.config["width"], self.config["bins"]
        self.encoder = ParentEncoder(self.parents, self.image_encoder)
        self.from_parents = nn.Linear(self.encoder.features, width, bias=False)
        if self.confounders:
            total = sum(u.width for u in self.confounders.values())
            self.from_confounders = nn.Linear(total, width, bias=False)
        layers: list[nn.Module] = []
        for _ in range(self.config["depth"] - 2):
            layers += [nn.SiLU(), nn.Linear(width, width)]
        self.network = nn.Sequential(*layers, nn.SiLU())
        dim = self.config["variable"]["dim"]
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width + i, width), nn.SiLU(), nn.Linear(width, 3 * bins + 1))
            for i in range(dim)
        )


def _at_least_single(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))

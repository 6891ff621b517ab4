r"""A categorical variable: a softmax over its values, given parents and confounders.

$$ p(v = k \mid pa, u) = \mathrm{softmax}_k \, h\big(W_{pa}\,\phi(pa) + W_u\, u\big), \qquad
   v = \arg\max_k \{\log p(k \mid pa, u) + \varepsilon_k\}, \quad \varepsilon_k \sim
   \mathrm{Gumbel} . $$

The first layer is a sum of what the parents say and what the confounders say, so a batch
of rows meets a set of confounder draws without being copied.

References:
    Categorical reparameterization with Gumbel-softmax (Jang, Gu & Poole, 2017), Sec. 2.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from causal_diffusers.backbones import VisionEncoder
from causal_diffusers.mechanisms.base import (
    LikelihoodMechanism,
    RelaxedMechanism,
    SamplingOptions,
)
from causal_diffusers.mechanisms.encoders import ParentEncoder, confounder_features
from causal_diffusers.mechanisms.relaxation import gumbel, relaxed_one_hot
from causal_diffusers.variables import Categorical, Confounder, Variable

__all__ = ["CategoricalMechanism"]


class CategoricalMechanism(LikelihoodMechanism, RelaxedMechanism):
    """The mechanism of a categorical variable: a small network that ends in a softmax.

    Arguments:
        width: The width of the hidden layers.
        depth: The number of hidden layers, in [1, 64].
        image_encoder: A frozen encoder that reads parents which are images; None trains a
            small one for each.
        variable: The variable that is made, in plain JSON; set by `bind`.
        parents: Its parents, by name, in plain JSON; set by `bind`.
        confounders: Its confounders, by name, in plain JSON; set by `bind`.

    Raises:
        ValueError: If `width` or `depth` is out of range.

    Example:
        >>> f = CategoricalMechanism().bind(Categorical([0, 1]), {"X": Categorical("abc")}, {})
        >>> f.probabilities({"X": torch.tensor([0, 2])}, {}).shape
        torch.Size([2, 2])
    """

    @register_to_config
    def __init__(
        self,
        width: int = 64,
        depth: int = 2,
        image_encoder: VisionEncoder | None = None,
        variable: dict | None = None,
        parents: dict | None = None,
        confounders: dict | None = None,
    ) -> None:
        super().__init__()
        self._see_with(image_encoder)
        whole = type(width) is int and type(depth) is int
        if not whole or width < 1 or not 1 <= depth <= 64:
            raise ValueError(
                "`CategoricalMechanism` needs an integer width of at least 1 and an integer depth "
                f"in [1, 64]: got {width!r} and {depth!r}."
            )
        self._build_if_bound()

    def logits(
        self,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
        *,
        batch: int | None = None,
        outer: bool = False,
    ) -> Tensor:
        r"""Compute unnormalised $\log p(v = \cdot \mid pa, u)$.

        Arguments:
            parents: Encoded parents, each with shape (B, *shape).
            confounders: Values (B, ...), or (M, ...) if `outer`.
            batch: B, needed only if there is neither a parent nor a confounder.
            outer: Whether to combine every row with every draw of the confounders.

        Returns:
            Logits with shape (B, K), or (B, M, K) if `outer`, in single precision or more.

        Example:
            >>> u = {"U": Confounder()}
            >>> f = CategoricalMechanism().bind(Categorical([0, 1]), {}, u)
            >>> f.logits({}, {"U": torch.zeros(7, 2)}, batch=3, outer=True).shape
            torch.Size([3, 7, 2])
        """
        sizes = [len(v) for v in parents.values()] or [batch]
        if not parents and not outer:
            sizes = [len(v) for v in confounders.values()] or sizes
        rows = 1 if sizes[0] is None else sizes[0]
        hidden = self.from_parents(self.encoder(parents, rows))
        if outer:
            hidden = hidden[:, None]
        if self.confounders:
            features = confounder_features(self.confounders, confounders)
            hidden = hidden + self.from_confounders(features.to(hidden.dtype))
        logits = self.network(hidden)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def log_prob(
        self,
        values: Tensor,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
        *,
        outer: bool = False,
    ) -> Tensor:
        r"""Compute $\log p(v \mid pa, u)$; see `LikelihoodMechanism.log_prob`.

        Example:
            >>> f = CategoricalMechanism().bind(Categorical([0, 1]), {}, {})
            >>> bool((f.log_prob(torch.tensor([0, 1]), {}, {}) < 0).all())
            True
        """
        logits = self.logits(parents, confounders, batch=len(values), outer=outer)
        index = values.view(-1, *[1] * (logits.dim() - 1)).expand(*logits.shape[:-1], 1)
        return logits.log_softmax(dim=-1).gather(-1, index).squeeze(-1)

    def probabilities(
        self,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
        *,
        num_samples: int | None = None,
    ) -> Tensor:
        r"""Compute $p(v = \cdot \mid pa, u)$ row by row.

        Arguments:
            parents: Encoded parents, each with shape (N, *shape).
            confounders: One draw a row, (N, ...).
            num_samples: N, needed only if there is neither a parent nor a confounder.

        Returns:
            Probabilities with shape (N, K).

        Example:
            >>> f = CategoricalMechanism().bind(Categorical("ab"), {}, {})
            >>> f.probabilities({}, {}, num_samples=3).shape
            torch.Size([3, 2])
        """
        logits = self.logits(parents, confounders, batch=num_samples)
        return logits.softmax(dim=-1)

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
        """Draw codes by the Gumbel-max rule; see `Mechanism.sample`.

        Example:
            >>> f = CategoricalMechanism().bind(Categorical([0, 1]), {}, {})
            >>> f.sample({}, {}, num_samples=4, generator=torch.Generator()).shape
            torch.Size([4])
        """
        logits = self.logits(parents, confounders, batch=num_samples)
        return (logits + gumbel(logits, generator)).argmax(dim=-1)

    def relaxed_sample(
        self,
        parents: Mapping[str, Tensor],
        confounders: Mapping[str, Tensor],
        *,
        num_samples: int,
        generator: torch.Generator,
        temperature: float = 0.5,
    ) -> Tensor:
        """Draw one-hot samples whose gradient is that of a Gumbel-softmax.

        Under the same generator the values are those of `sample`.

        Arguments:
            parents: Encoded parents, (N, *shape); categorical ones may be one-hot.
            confounders: One draw a row, (N, ...).
            num_samples: N.
            generator: The source of the exogenous noise.
            temperature: The temperature of the softmax, positive.

        Returns:
            One-hot samples with shape (N, K).

        Raises:
            ValueError: If the temperature is not positive.

        Example:
            >>> f = CategoricalMechanism().bind(Categorical([0, 1]), {}, {})
            >>> x = f.relaxed_sample({}, {}, num_samples=4, generator=torch.Generator())
            >>> x.sum(dim=1).tolist(), x.requires_grad
            ([1.0, 1.0, 1.0, 1.0], True)
        """
        logits = self.logits(parents, confounders, batch=num_samples)
        return relaxed_one_hot(logits, generator, temperature)

    def _check_signature(
        self,
        variable: Variable,
        parents: Mapping[str, Variable],
        confounders: Mapping[str, Confounder],
    ) -> None:
        if not isinstance(variable, Categorical):
            raise ValueError(  # noqa: TRY004 (a wrong choice of mechanism)
                "`CategoricalMechanism` makes categorical variables: got "
                f"{type(variable).__name__}. Numbers are made by `FlowMechanism`, images by "
                "`DiffusionMechanism`."
            )

    def _build(self) -> None:
        width, labels = self.config["width"], self.config["variable"]["labels"]
        self.encoder = ParentEncoder(self.parents, self.image_encoder)
        self.from_parents = nn.Linear(self.encoder.features, width, bias=False)
        if self.confounders:
            total = sum(u.width for u in self.confounders.values())
            self.from_confounders = nn.Linear(total, width, bias=False)
        layers: list[nn.Module] = []
        for _ in range(self.config["depth"] - 1):
            layers += [nn.SiLU(), nn.Linear(width, width)]
        self.network = nn.Sequential(*layers, nn.SiLU(), nn.Linear(width, len(labels)))

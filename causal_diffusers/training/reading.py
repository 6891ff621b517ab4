r"""Fit the representation of a confounded image: the first lesson of its district.

The code $r_V = \phi_V(\text{image})$ of an image $V$ must keep all that the image says
about the other members of the district. So it maximises

$$ I(r_V; W_1, W_2, \dots \mid pa(D)) = \sum_i I(r_V; W_i \mid W_{<i}, pa(D)) , $$

where $pa(D)$ are the parents outside of the district, another image $W_i$ is seen through
its own code, which is fitted at the same time, and a number is cut into eighths. Two codes
that say nothing yet have nothing to learn from each other; so an image is also seen
through the cluster that it falls into among some images of the data, which is there from
the start and is a part of what there is to know about it. While
$\phi$ is fitted a code is drawn, $r \sim \mathrm{softmax}\,\phi$, and a small network
$J(r, w \mid z)$ learns the joint distribution of the codes. The gradient of

$$ I(r; w \mid z) = E \sum_{r, w} \phi_r \, \phi_w
   \log \frac{J(r, w \mid z)}{J(r \mid z) \, J(w \mid z)} $$

in $\phi$ is the one with $J$ held fixed, for the rest of it vanishes where $J$ is right. The
sum is linear in each $\phi$, hence its maximum is a hard code. Added is a part of the
entropy $H(r)$, without which codes die before they are of use. It spends those that are
not needed on other differences between images, which does no harm as long as there are
more codes than differences that matter: over-provide.

References:
    Invariant information clustering for unsupervised image classification and
    segmentation (Ji, Henriques & Vedaldi, 2019), Sec. 3.1.
    Deterministic information bottleneck (Strouse & Schwab, 2017), Sec. 3: why hard.
    Discriminative clustering by regularized information maximization (Krause, Perona &
    Gomes, 2010), Sec. 2: balanced codes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from causal_diffusers.mechanisms import CategoricalMechanism, DiffusionMechanism, Mechanism
from causal_diffusers.mechanisms.representation import code_of
from causal_diffusers.seeding import spawn
from causal_diffusers.training.config import Descent
from causal_diffusers.training.data import Rows
from causal_diffusers.training.objective import Objective
from causal_diffusers.variables import Categorical, Continuous, Variable

__all__ = ["ReadingObjective"]

_BALANCE = 0.3  # in nats about the others; at 1 codes stay soft, at 0 they die

_CLUSTERS, _CLUSTERED, _ROUNDS = 16, 2048, 20  # of images, found among how many, in which rounds
_CUTS = torch.special.ndtri(torch.arange(1, 8) / 8)  # eighths of a standard normal


class ReadingObjective(Objective):
    r"""Minus the information that the codes of a district carry about its other members.

    Arguments:
        mechanisms: The mechanisms of the district, by variable; those of its confounded
            images are `DiffusionMechanism`s.
        seed: Where the initial weights of $J$ come from.

    Raises:
        TypeError: If a member is none of a label, a single number and such an image.

    Example:
        >>> ReadingObjective({}).columns
        ()
    """

    name = "reading"

    def __init__(self, mechanisms: Mapping[str, Mechanism], seed: int = 0) -> None:
        self.images = {n: m for n, m in mechanisms.items() if isinstance(m, DiffusionMechanism)}
        outside = {
            name: variable
            for mechanism in mechanisms.values()
            for name, variable in mechanism.parents.items()
            if name not in mechanisms
        }
        readers = {code_of(name): m.reader for name, m in self.images.items()}
        super().__init__(readers, tuple(sorted({*mechanisms, *outside})))
        self.members = {name: _symbols(name, m) for name, m in mechanisms.items()}
        self.outside = outside
        seen = {v: [*self._others(v), *self._clustered(v)] for v in self.images}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.judges = nn.ModuleDict(
                {f"{v}, {w}": self._judge(v, w) for v, others in seen.items() for w in others}
            )
        self.centres: dict[str, Tensor] = {}

    def select(self, rows: Rows) -> Rows:
        """Keep the rows in which no member was set, for those show what confounds them."""
        return rows.untouched(self.members)

    @property
    def defaults(self) -> Descent:
        """Short: a reader is small, and so is what it has to tell apart."""
        return Descent(steps=800, batch_size=256, learning_rate=3e-3, weight_decay=1e-2)

    def trainable_state(self) -> dict[str, Tensor]:
        """Give the readers and the networks that judge them; see `Objective`."""
        return super().trainable_state() | dict(self.judges.named_parameters(prefix="judges"))

    def forward(self, batch: Mapping[str, Tensor], seed: int) -> Tensor:
        """Compute minus the information, row by row; see `Objective.forward`."""
        seen = {n: self._symbol(n, batch[n]) for n in self.members}
        for name, centres in self.centres.items():
            nearest = torch.cdist(batch[name].flatten(1), centres).argmin(dim=1)
            seen[_cluster_of(name)] = one_hot(nearest, _CLUSTERS).float()
        seen |= {name: batch[name] for name in self.outside}
        loss = torch.zeros(len(next(iter(seen.values()))), device=next(self.parameters()).device)
        for image in self.images:
            loss = loss - _BALANCE * _balance(seen[image])
            for other in (*self._others(image), *self._clustered(image)):
                loss = loss + self.judges[f"{image}, {other}"](seen, image, other)
        return loss

    def prepare(self, rows: Rows, seed: int, device: torch.device) -> None:
        """Find clusters of each image that another image is read for; see `Objective.prepare`."""
        numbers = torch.randperm(len(rows), generator=spawn(seed, "clusters"))[:_CLUSTERED]
        for name in self.images if len(self.images) > 1 else ():
            flat = rows.batch(numbers, [name])[name].flatten(1)
            self.centres[name] = _cluster(flat, spawn(seed, "centres", name)).to(device)

    def culprits(self, batch: Mapping[str, Tensor], seed: int) -> tuple[str, ...]:
        """Name the images; see `Objective.culprits`."""
        return tuple(self.images)

    def _others(self, image: str) -> list[str]:
        return [name for name in self.members if name != image]

    def _clustered(self, image: str) -> list[str]:
        """Name the clusters of the other images."""
        return [_cluster_of(name) for name in self._others(image) if name in self.images]

    def _symbol(self, name: str, values: Tensor) -> Tensor:
        """Give a member as probabilities of its symbols, with shape (B, symbols)."""
        if name in self.images:
            return self.images[name].reader(values)
        if values.is_floating_point():
            values = torch.bucketize(values.squeeze(1).contiguous(), _CUTS.to(values.device))
        return one_hot(values, len(self.members[name].labels)).float()

    def _judge(self, image: str, other: str) -> _Judge:
        codes, others = len(self.members[image].labels), self._others(image)
        if other not in others:
            return _Judge(codes, _CLUSTERS, self.outside)
        before = {name: self.members[name] for name in others[: others.index(other)]}
        return _Judge(codes, len(self.members[other].labels), {**self.outside, **before})


class _Judge(nn.Module):
    r"""The network $J(r, w \mid z)$ of one term."""

    def __init__(self, codes: int, symbols: int, context: Mapping[str, Variable]) -> None:
        super().__init__()
        self.shape = codes, symbols
        self.joint = CategoricalMechanism().bind(Categorical(range(codes * symbols)), context, {})

    def forward(self, seen: Mapping[str, Tensor], image: str, other: str) -> Tensor:
        r"""Give a loss that moves $\phi$ up in information, and $J$ in likelihood."""
        z = {name: seen[name].detach() for name in self.joint.parents}
        pairs = torch.einsum("br,bw->brw", seen[image], seen[other])
        logits = self.joint.logits(z, {}, batch=len(pairs))
        J = logits.log_softmax(dim=1).view(-1, *self.shape)
        apart = J.logsumexp(dim=2, keepdim=True) + J.logsumexp(dim=1, keepdim=True)
        information = (pairs * (J - apart).detach()).sum(dim=(1, 2))
        return -information - (pairs.detach() * J).sum(dim=(1, 2))


def _cluster_of(name: str) -> str:
    """Name the cluster of an image; no variable can have such a name."""
    return f"cluster({name})"


def _cluster(points: Tensor, generator: torch.Generator) -> Tensor:
    """Find centres by Lloyd's algorithm, from points drawn at random, (clusters, d)."""
    centres = points[torch.randperm(len(points), generator=generator)[:_CLUSTERS]].clone()
    centres = torch.cat([centres, centres[:1].expand(_CLUSTERS - len(centres), -1)])
    for _ in range(_ROUNDS):
        mine = one_hot(torch.cdist(points, centres).argmin(dim=1), _CLUSTERS).to(points.dtype)
        held = mine.sum(dim=0)[:, None]
        centres = torch.where(held > 0, mine.T @ points / held.clamp(min=1), centres)
    return centres


def _balance(r: Tensor) -> Tensor:
    r"""Give the entropy of the codes in use, row by row, the marginal being the batch's."""
    return -(r * r.mean(dim=0).clamp(min=1e-9).log()).sum(dim=1)


def _symbols(name: str, mechanism: Mechanism) -> Categorical:
    """Say by which symbols a member is seen."""
    if isinstance(mechanism, DiffusionMechanism):
        return Categorical(range(mechanism.config["codes"]))
    if isinstance(mechanism.variable, Categorical):
        return mechanism.variable
    if isinstance(mechanism.variable, Continuous) and mechanism.variable.dim == 1:
        return Categorical(range(len(_CUTS) + 1))
    raise TypeError(
        f'"{name}" shares a district with a confounded image, which is read for labels, images '
        f"and single numbers: got {mechanism.variable}. Declare its dimensions as variables of "
        "their own."
    )

r"""Propose a graph for a data set.

References:
    Learning causal graphs at scale: a foundation model approach (Yin, Gao & Yu, 2025).
    Beware of the simulated DAG! (Reisach, Seiler & Weichwald, 2021): varsortability.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from causal_diffusers.discovery.adag import ADAG
from causal_diffusers.discovery.columns import Table, read_table
from causal_diffusers.discovery.knowledge import Knowledge
from causal_diffusers.discovery.result import DiscoveryResult
from causal_diffusers.errors import GraphError

__all__ = ["discover", "varsortability"]

SHIPPED = "causal-diffusers/adag"
_VARSORTABLE = 0.9
_MOST = 1 - 1e-6  # only what is required is certain


def discover(
    data: object,
    model: ADAG | str | os.PathLike[str] = SHIPPED,
    *,
    required: Iterable[tuple[str, str]] = (),
    forbidden: Iterable[tuple[str, str]] = (),
    tiers: Sequence[Iterable[str]] = (),
    density: float | None = None,
    deviation: float | None = None,
) -> DiscoveryResult:
    """Propose a graph for a data set, in one forward pass.

    References:
        Yin, Gao & Yu (2025).

    Arguments:
        data: Observational rows: a mapping of columns, a pandas frame, a
            `datasets.Dataset`, or an array with shape (n, d). Images and vectors enter
            through their principal components; for what an encoder sees in images, pass
            its features as vectors.
        model: The network, or where it is.
        required: Edges (cause, effect) that exist.
        forbidden: Edges (cause, effect) that do not.
        tiers: Groups of names, the earliest first: no edge leads to an earlier tier.
        density: The chance that two variables are joined, if known.
        deviation: The standard deviation of all noises, if known and the same.

    Returns:
        Edge probabilities, and the graphs that go with them; print it.

    Raises:
        GraphError: If what is required and forbidden contradict each other.
        ValueError: If the data cannot be read, or the model is of other variables.

    Example:
        >>> x = torch.randn(500, generator=torch.Generator().manual_seed(0))
        >>> y = 2 * x + torch.randn(500, generator=torch.Generator().manual_seed(1))
        >>> z = 2 * y + torch.randn(500, generator=torch.Generator().manual_seed(2))
        >>> print(discover({"X": x, "Y": y, "Z": z}).to_admg())
        X -> Y; Y -> Z
    """
    table = read_table(data)
    model = model if isinstance(model, ADAG) else ADAG.from_pretrained(model)
    table = _in_order(table, model)
    known = Knowledge(table.variables, required, forbidden, tiers)
    possible, needed = known.masks()
    possible = possible & _left_by_family(needed, table, model)
    edges = model.edges(
        table.values[None],
        table.spread(possible) & ~_same(table),
        table.spread(needed) if not table.has_blocks else None,
        density=density,
        deviation=deviation,
    )
    P = edges.probabilities[0].cpu()
    weights = table.gather(edges.weights[0].cpu(), P)
    P = _exclusive(table.gather(P, P))
    P = torch.where(needed, 1.0, torch.where(possible, P.clamp(max=_MOST), 0.0))
    cautions = (*table.ties(), *(table.cautions() or _leaning(table, P)))
    linear = not model.config["bent"]
    return DiscoveryResult(table.variables, P, weights, (*cautions, *_tied(model)), linear)


def varsortability(variances: Tensor, graph: Tensor) -> float:
    r"""Measure how well variances alone sort a graph.

    References:
        Reisach et al. (2021), Sec. 3.2.

    Arguments:
        variances: Of the variables, with shape (d,).
        graph: The edges, booleans with shape (d, d).

    Returns:
        The share of directed paths that lead to a larger variance; 0.5 if there are none.

    Example:
        >>> chain = torch.tensor([[False, True], [False, False]])
        >>> varsortability(torch.tensor([1.0, 2.0]), chain)
        1.0
    """
    d, walks = len(graph), graph.double()
    paths, rising = 0.0, 0.0
    larger = (variances[:, None] < variances[None, :]).double()
    for _ in range(d - 1):
        exists = (walks > 0).double()
        paths += float(exists.sum())
        rising += float((exists * larger).sum())
        walks = (exists @ graph.double() > 0).double()
    return rising / paths if paths else 0.5


def _in_order(table: Table, model: ADAG) -> Table:
    """Put the columns in the order of the family, if the model is tied to one."""
    family = model.family
    names = None if family is None else family.variables
    if family is None or names is None:
        return table
    if set(names) != set(table.variables) or table.has_blocks:
        raise ValueError(
            f"this model is tied to the {family.setting} family of {list(names)}: got "
            f"{list(table.variables)}. The shipped model takes any variables."
        )
    index = torch.tensor([table.variables.index(name) for name in names])
    return Table(tuple(names), table.values[:, index], torch.arange(len(names)))


def _left_by_family(needed: Tensor, table: Table, model: ADAG) -> Tensor:
    """Give the edges that a family with a shared order or graph leaves possible."""
    family = model.family
    if family is None or family.variables is None:
        return torch.ones_like(needed)
    for i, j in (needed & ~family.possible).nonzero().tolist():
        raise GraphError(
            f"`required` has {table.variables[i]} -> {table.variables[j]}, which the "
            f"{family.setting} family of this model rules out. Leave it out, or ask the shipped "
            "model."
        )
    return family.possible


def _same(table: Table) -> Tensor:
    """Tell which columns belong to one variable."""
    return table.owner[:, None] == table.owner[None, :]


def _exclusive(P: Tensor) -> Tensor:
    """Scale pairs whose two probabilities, taken from several columns, exceed 1 together."""
    return P / (P + P.mT).clamp(min=1)


def _leaning(table: Table, P: Tensor) -> tuple[str, ...]:
    if table.has_blocks:
        return ()
    sorted_by = varsortability(table.values.var(dim=0), P >= 0.5)
    if sorted_by < _VARSORTABLE or not (P >= 0.5).any():
        return ()
    return (
        f"Caution: variances rise along {sorted_by:.0%} of the paths found. If the units of the "
        "columns are arbitrary, so is this order: standardise the columns and see what stays.",
    )


def _tied(model: ADAG) -> tuple[str, ...]:
    if model.family is None or model.family.variables is None:
        return ()
    shared = {"heterogeneous": "graph", "order-consistent": "causal order"}[model.family.setting]
    return (f"The model knows the {shared} of these variables, from other data sets of theirs.",)

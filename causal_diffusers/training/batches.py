"""What does a step see? All rows at once, as counts, or some of them drawn at random.

Counts give the exact gradient. Drawn rows give it in expectation only, so they are for
what cannot be counted, and for more distinct rows than a step can hold.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from causal_diffusers.training.data import Rows
from causal_diffusers.training.objective import Objective

__all__ = ["Draw", "drawn_from"]

Draw = Callable[[torch.Generator], tuple[dict[str, Tensor], Tensor, Tensor | None]]


def drawn_from(
    rows: Rows, objective: Objective, size: int | None, device: torch.device
) -> tuple[Draw, str]:
    """Say how the batches of an objective are drawn.

    Arguments:
        rows: The data.
        objective: What the batches are for.
        size: Rows a batch, or None for all of them as counts. If the distinct ones are
            more than the objective's `most_rows`, so many rows are drawn instead.
        device: Where the batches live.

    Returns:
        A function of a generator that gives values, weights and row numbers (None if the
        rows are counts); and in words, how much that is.

    Example:
        >>> from causal_diffusers.mechanisms import CategoricalMechanism
        >>> from causal_diffusers.training import LikelihoodObjective
        >>> from causal_diffusers.variables import Categorical
        >>> f = CategoricalMechanism().bind(Categorical([0, 1]), {}, {})
        >>> rows = Rows({"X": [0, 1, 1]}, {"X": Categorical([0, 1])})
        >>> objective = LikelihoodObjective({"X": f}, {}, {})
        >>> draw, size = drawn_from(rows, objective, None, torch.device("cpu"))
        >>> size, draw(torch.Generator())[1].tolist()
        ('all rows', [1.0, 2.0])
    """
    columns, most = objective.columns, objective.most_rows
    if size is None:
        distinct, counts = rows.counts(columns)
        if most is None or len(counts) <= most:
            whole = {name: v.to(device) for name, v in distinct.items()}, counts.to(device)
            return lambda _: (*whole, None), "all rows"
        size = most

    def draw(generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor, Tensor | None]:
        numbers = torch.randint(len(rows), (size,), generator=generator)
        values = {name: v.to(device) for name, v in rows.batch(numbers, columns).items()}
        return values, torch.ones(size, device=device), numbers

    return draw, f"{size} rows a step"

r"""Who listens to whom, and what follows from it. This folder never imports torch.

| Question | File | Paper |
|---|---|---|
| Which variables, edges and confounders? | `admg` | Richardson (2003) |
| Which independences hold? | `separation` | Richardson (2003) |
"""

from __future__ import annotations

from causal_diffusers.graphs.admg import ADMG
from causal_diffusers.graphs.separation import m_separated

__all__ = ["ADMG", "m_separated"]

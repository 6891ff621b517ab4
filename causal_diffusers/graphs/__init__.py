r"""Who listens to whom, and what follows from it. This folder never imports torch.

| Question | File | Paper |
|---|---|---|
| Which variables, edges and confounders? | `admg`, `kinship` | Richardson (2003) |
| Which latent variables do edges stand for? | `confounders`, `projection` | Evans (2016) |
| Which independences hold? | `separation` | Richardson (2003), Thm. 1 |
| What trains together, and in which order? | `hgraph` | Rahman & Kocaoglu (2024), Sec. 4 |
| How is a graph written, read and drawn? | `convert`, `dot`, `draw` | |
"""

from __future__ import annotations

from causal_diffusers.graphs.admg import ADMG
from causal_diffusers.graphs.hgraph import HGraph, HNode, Stage, least_rule2_superset
from causal_diffusers.graphs.separation import m_separated

__all__ = ["ADMG", "HGraph", "HNode", "Stage", "least_rule2_superset", "m_separated"]

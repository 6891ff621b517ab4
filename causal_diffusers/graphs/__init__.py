r"""Who listens to whom, and what follows from it. This folder never imports torch.

| Question | File | Paper |
|---|---|---|
| Which variables, edges and confounders? | `admg`, `kinship` | Richardson (2003) |
| Which latent variables are there? | `confounders`, `projection` | Evans (2016) |
| Which independences hold? | `separation` | Richardson (2003), Thm. 1 |
| Which must hold, also after fixing? | `implications` | Richardson et al. (2023) |
| Is a query answerable? | `identify`, `recursion`, `estimand` | Shpitser & Pearl (2006), Fig. 3 |
| Is it with experiments? | `identify`, `regimes` | Lee, Correa & Bareinboim (2019), Alg. 1 |
| Why is it not? | `hedge`, `refusal` | Shpitser & Pearl (2006), Thm. 4 |
| On which conditions does the answer rest? | `demand` | D'Amour et al. (2021) |
| Which graphs differ by one edge? | `changes` | |
| What trains together, and when? | `hgraph` | Rahman & Kocaoglu (2024), Sec. 4 |
| What is known of textbook graphs? | `named` | see each |
| How is a graph written, read and drawn? | `convert`, `dot`, `draw` | |
"""

from __future__ import annotations

from causal_diffusers.graphs.admg import ADMG
from causal_diffusers.graphs.estimand import Estimand
from causal_diffusers.graphs.hedge import Hedge
from causal_diffusers.graphs.hgraph import HGraph, HNode, Stage, least_rule2_superset
from causal_diffusers.graphs.identify import identify
from causal_diffusers.graphs.named import NAMED
from causal_diffusers.graphs.separation import m_separated

__all__ = [
    "ADMG",
    "NAMED",
    "Estimand",
    "HGraph",
    "HNode",
    "Hedge",
    "Stage",
    "identify",
    "least_rule2_superset",
    "m_separated",
]

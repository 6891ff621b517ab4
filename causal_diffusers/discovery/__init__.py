"""Which graph made the data? Proposed by a pretrained attention model.

| What | File | Paper |
|---|---|---|
| Data in, edge probabilities out | `discover` | Yin, Gao & Yu (2025) |
| The attention model | `adag`, `layers`, `edges` | Yin, Gao & Yu (2025); Lorch et al. (2022) |
| What it sees of data | `summary`, `regression`, `ordering` | Hernandez-Lobato et al. (2015) |
| What it learns from | `dreams`, `lessons` | Lorch et al. (2022), Sec. 4 |
| What a family shares | `family`, `pooling` | Bello et al. (2022); Tipping (2001) |
| What is known beforehand | `knowledge`, `beforehand` | |
| Probabilities in, graphs out | `result`, `acyclic` | Hoeting et al. (1999) |
| What the columns hold | `columns` | |
"""

from causal_diffusers.discovery.adag import ADAG
from causal_diffusers.discovery.discover import discover, varsortability
from causal_diffusers.discovery.family import Family
from causal_diffusers.discovery.knowledge import Knowledge
from causal_diffusers.discovery.result import AveragedAnswer, DiscoveryResult

__all__ = [
    "ADAG",
    "AveragedAnswer",
    "DiscoveryResult",
    "Family",
    "Knowledge",
    "discover",
    "varsortability",
]

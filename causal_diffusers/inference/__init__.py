r"""How a query is answered from a model, once it is known to be answerable.

| file | query | method | paper |
|---|---|---|---|
| `interventional` | $P(Y \mid do(X))$ | sampling the mutilated graph | Pearl, 2009 |
| `interventional` | $P(Y \mid do(X), Z)$ | likelihood weighting | Fung & Chang, 1990 |
| `diagnose`, `overlap` | do the data support it? | demand beside data | D'Amour et al., 2021 |
| `falsify` | do the data contradict the graph? | testing | Richardson et al., 2023 |
| `sensitivity`, `changed` | which edges matter? | one edge changed | Cinelli & Hazlett, 2020 |
"""

from causal_diffusers.inference.changed import SensitivityTable
from causal_diffusers.inference.diagnose import diagnose
from causal_diffusers.inference.falsify import Falsification, falsify
from causal_diffusers.inference.interventional import Sample, sample
from causal_diffusers.inference.overlap import OverlapReport
from causal_diffusers.inference.sensitivity import sensitivity

__all__ = [
    "Falsification",
    "OverlapReport",
    "Sample",
    "SensitivityTable",
    "diagnose",
    "falsify",
    "sample",
    "sensitivity",
]

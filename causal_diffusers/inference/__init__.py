r"""How a query is answered from a model, once it is known to be answerable.

| file | query | method | paper |
|---|---|---|---|
| `interventional` | $P(Y \mid do(X))$ | sampling the mutilated graph | Pearl, 2009 |
| `interventional` | $P(Y \mid do(X), Z)$ | likelihood weighting | Fung & Chang, 1990 |
"""

from causal_diffusers.inference.interventional import Sample, sample

__all__ = ["Sample", "sample"]

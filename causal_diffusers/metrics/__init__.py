"""How far is an answer from the truth, and how far would a perfect sampler be?

| Measure | File | Paper |
|---|---|---|
| Total variation, and its floor under sampling | `distance` | Levin & Peres (2017), Ch. 4 |
"""

from causal_diffusers.metrics.distance import SamplingFloor, sampling_floor, total_variation

__all__ = ["SamplingFloor", "sampling_floor", "total_variation"]

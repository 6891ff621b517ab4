"""How far is an answer from the truth, and how far would a perfect sampler be?

| Measure | File | Beside it | Paper |
|---|---|---|---|
| Total variation | `distance` | its floor under sampling | Levin & Peres (2017), Ch. 4 |
| KL divergence | `divergence` | the same floor, simulated | Cover & Thomas (2006) |
| MMD | `kernel` | floor and p-value by permutation | Gretton et al. (2012) |
| FID, KID | `images` | what real images score | Heusel et al. (2017), Bińkowski et al. (2018) |
| Classifier agreement | `agreement` | Wilson's interval | Odena et al. (2017) |
| Real or made? | `pairs` | exact: chance is one half | Lopez-Paz & Oquab (2017) |
| Rank among draws | `ranks` | Kolmogorov's law | Talts et al. (2018) |
| What features tell of labels | `propensity` | cross-fitted, calibrated | Imbens (2000) |
| Dependent given a third? | `dependence` | multiplier bootstrap | Shah & Peters (2020) |
| Graphs: SHD, SID, rates of edges, calibration | `structure` | | Peters & Bühlmann (2015) |
| Anything else | `bootstrap` | a percentile interval | Efron & Tibshirani (1993) |
"""

from causal_diffusers.metrics.agreement import classifier_agreement
from causal_diffusers.metrics.bootstrap import Interval, bootstrap_interval, wilson_interval
from causal_diffusers.metrics.distance import SamplingFloor, sampling_floor, total_variation
from causal_diffusers.metrics.divergence import kl_divergence
from causal_diffusers.metrics.images import (
    ImageDistance,
    extract_features,
    frechet_distance,
    kernel_distance,
)
from causal_diffusers.metrics.kernel import KernelTest, kernel_two_sample_test, squared_mmd
from causal_diffusers.metrics.structure import (
    Calibration,
    EdgeRates,
    average_precision,
    calibration,
    edge_rates,
    structural_hamming_distance,
    structural_intervention_distance,
)

__all__ = [
    "Calibration",
    "EdgeRates",
    "ImageDistance",
    "Interval",
    "KernelTest",
    "SamplingFloor",
    "average_precision",
    "bootstrap_interval",
    "calibration",
    "classifier_agreement",
    "edge_rates",
    "extract_features",
    "frechet_distance",
    "kernel_distance",
    "kernel_two_sample_test",
    "kl_divergence",
    "sampling_floor",
    "squared_mmd",
    "structural_hamming_distance",
    "structural_intervention_distance",
    "total_variation",
    "wilson_interval",
]

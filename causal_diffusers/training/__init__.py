r"""How mechanisms learn: a plan, an objective for each district, one loop.

| file | what | paper |
|---|---|---|
| `plan` | order of the H-graph, objective of each district | Rahman & Kocaoglu, 2024 |
| `data` | columns of labels and images, checked and encoded | |
| `intervened` | rows of experiments: what was set in each | Lee, Correa & Bareinboim, 2019 |
| `config` | what the user may choose, and what is left to the objective | |
| `lessons` | the objectives by name, and what each can train | |
| `objective` | the interface of what is minimised | |
| `likelihood` | $-\log Q[D]$ | Tian & Pearl, 2002 |
| `denoising` | the v-weighted denoising loss | Ho, Jain & Abbeel, 2020 |
| `adversarial` | a game against a critic, under $do(pa(S))$ | Rahman & Kocaoglu, 2024 |
| `critics` | the critic, its gradient penalty, its view of images | Gulrajani et al., 2017 |
| `bank` | samples of frozen images, drawn beforehand | |
| `player` | who moves weights: the objective, and its opponent | |
| `posterior` | Bayes on a frozen GAN | Azadi et al., 2019 |
| `derived` | columns that are computed from others | |
| `reading` | the codes of confounded images, by information | Ji, Henriques & Vedaldi, 2019 |
| `independence` | do these codes hold what they must? | Lopez-Paz & Oquab, 2017 |
| `batches` | what a step sees: counts of all rows, or some rows | |
| `stage` | the loop, on accelerate | |
| `checkpoint` | what the loop keeps on disk, safe from a kill | |
| `log` | the JSON lines that it writes | |
| `modular` | `ModularTrainer`: the whole plan | Rahman & Kocaoglu, 2024 |
| `report` | does the model fit rows that it has not seen? | Lopez-Paz & Oquab, 2017 |
| `past` | what the model says of a variable given its past | Tian & Pearl, 2002 |
| `judgement` | labels and numbers, held against rows | Talts et al., 2018 |
| `shown` | images, by what can be read from them | Odena, Olah & Shlens, 2017 |
"""

from causal_diffusers.training.adversarial import AdversarialObjective
from causal_diffusers.training.config import TrainingConfig
from causal_diffusers.training.data import Rows
from causal_diffusers.training.denoising import DenoisingObjective
from causal_diffusers.training.independence import Gain, RepresentationReport
from causal_diffusers.training.likelihood import LikelihoodObjective
from causal_diffusers.training.modular import ModularTrainer
from causal_diffusers.training.plan import PlannedStage, TrainingPlan
from causal_diffusers.training.posterior import PosteriorObjective
from causal_diffusers.training.reading import ReadingObjective
from causal_diffusers.training.report import FitReport, MisfitWarning, report_fit
from causal_diffusers.training.stage import train_stage

__all__ = [
    "AdversarialObjective",
    "DenoisingObjective",
    "FitReport",
    "Gain",
    "LikelihoodObjective",
    "MisfitWarning",
    "ModularTrainer",
    "PlannedStage",
    "PosteriorObjective",
    "ReadingObjective",
    "RepresentationReport",
    "Rows",
    "TrainingConfig",
    "TrainingPlan",
    "report_fit",
    "train_stage",
]

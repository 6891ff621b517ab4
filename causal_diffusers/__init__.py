"""Causal queries, answered with frozen pretrained image generators.

A *graph* says who listens to whom, a *mechanism* says how, a *query* says what we ask.

Names are imported from their home module on first use (PEP 562): to look at a graph
loads neither torch nor diffusers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from causal_diffusers.backbones import VisionEncoder
    from causal_diffusers.discovery import ADAG, DiscoveryResult, discover
    from causal_diffusers.errors import (
        CheckpointError,
        GraphError,
        NotIdentifiableError,
        NotInvertibleError,
        ShapeError,
    )
    from causal_diffusers.graphs import ADMG, HGraph, identify
    from causal_diffusers.inference import (
        Falsification,
        OverlapReport,
        SensitivityTable,
        diagnose,
        falsify,
        sensitivity,
    )
    from causal_diffusers.mechanisms import (
        CategoricalMechanism,
        ConfounderPrior,
        DiffusionMechanism,
        FlowMechanism,
        GANMechanism,
        Mechanism,
    )
    from causal_diffusers.pipeline import CausalPipeline, CausalPipelineOutput
    from causal_diffusers.query import Query
    from causal_diffusers.scm import StructuralCausalModel
    from causal_diffusers.training import FitReport, ModularTrainer, TrainingConfig, report_fit
    from causal_diffusers.variables import Categorical, Confounder, Continuous, Image

__version__ = "0.1.0"

__all__ = [
    "ADAG",
    "ADMG",
    "Categorical",
    "CategoricalMechanism",
    "CausalPipeline",
    "CausalPipelineOutput",
    "CheckpointError",
    "Confounder",
    "ConfounderPrior",
    "Continuous",
    "DiffusionMechanism",
    "DiscoveryResult",
    "Falsification",
    "FitReport",
    "FlowMechanism",
    "GANMechanism",
    "GraphError",
    "HGraph",
    "Image",
    "Mechanism",
    "ModularTrainer",
    "NotIdentifiableError",
    "NotInvertibleError",
    "OverlapReport",
    "Query",
    "SensitivityTable",
    "ShapeError",
    "StructuralCausalModel",
    "TrainingConfig",
    "VisionEncoder",
    "diagnose",
    "discover",
    "falsify",
    "identify",
    "report_fit",
    "sensitivity",
]

_HOMES = {
    "ADMG": "causal_diffusers.graphs",
    "HGraph": "causal_diffusers.graphs",
    "identify": "causal_diffusers.graphs",
    "CheckpointError": "causal_diffusers.errors",
    "GraphError": "causal_diffusers.errors",
    "NotIdentifiableError": "causal_diffusers.errors",
    "NotInvertibleError": "causal_diffusers.errors",
    "ShapeError": "causal_diffusers.errors",
    "VisionEncoder": "causal_diffusers.backbones",
    "Categorical": "causal_diffusers.variables",
    "Confounder": "causal_diffusers.variables",
    "Continuous": "causal_diffusers.variables",
    "Image": "causal_diffusers.variables",
    "CategoricalMechanism": "causal_diffusers.mechanisms",
    "ConfounderPrior": "causal_diffusers.mechanisms",
    "DiffusionMechanism": "causal_diffusers.mechanisms",
    "FlowMechanism": "causal_diffusers.mechanisms",
    "GANMechanism": "causal_diffusers.mechanisms",
    "Mechanism": "causal_diffusers.mechanisms",
    "StructuralCausalModel": "causal_diffusers.scm",
    "ModularTrainer": "causal_diffusers.training",
    "TrainingConfig": "causal_diffusers.training",
    "ADAG": "causal_diffusers.discovery",
    "DiscoveryResult": "causal_diffusers.discovery",
    "discover": "causal_diffusers.discovery",
    "Falsification": "causal_diffusers.inference",
    "OverlapReport": "causal_diffusers.inference",
    "SensitivityTable": "causal_diffusers.inference",
    "diagnose": "causal_diffusers.inference",
    "falsify": "causal_diffusers.inference",
    "sensitivity": "causal_diffusers.inference",
    "FitReport": "causal_diffusers.training",
    "report_fit": "causal_diffusers.training",
    "Query": "causal_diffusers.query",
    "CausalPipeline": "causal_diffusers.pipeline",
    "CausalPipelineOutput": "causal_diffusers.pipeline",
    # Not ours and not in __all__: diffusers loads a component only if the library that
    # model_index.json names, here this package, has an attribute called as its base class.
    "ModelMixin": "diffusers",
}


def __getattr__(name: str) -> object:
    """Import a public name from its home module on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names before they are imported, for completion in a shell."""
    return sorted({*globals(), *__all__})

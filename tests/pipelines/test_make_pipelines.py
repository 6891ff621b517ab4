"""What is shipped is what the committed scripts make: graph, variables, base and adapter."""

import importlib.util
import sys
from pathlib import Path

import pytest

from causal_diffusers import ADAG, CausalPipeline, Image
from causal_diffusers.aliases import shipped_names

SCRIPTS = Path(__file__).parents[2] / "pipelines"


def load(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECIPES, BASES = load("make_pipelines").RECIPES, load("make_bases").BASES
MODELS = load("make_adag").MODELS


def test_every_shipped_folder_has_a_recipe():
    assert set(shipped_names()) <= {*RECIPES, *BASES, *MODELS}


@pytest.mark.parametrize("name", [name for name in MODELS if name in shipped_names()])
def test_the_shipped_model_is_of_the_size_that_the_script_makes(name):
    shipped = ADAG.from_pretrained(f"causal-diffusers/{name}")
    made = ADAG(bent=MODELS[name].prior.bent)
    for size in ("width", "layers", "heads", "bent", "family"):
        assert shipped.config[size] == made.config[size]


def test_every_recipe_stands_on_a_base_that_can_be_made():
    assert {recipe.base for recipe in RECIPES.values()} <= {*BASES}


@pytest.mark.parametrize("name", [name for name in RECIPES if name in shipped_names()])
def test_the_shipped_pipeline_is_that_of_the_recipe(name):
    recipe, pipe = RECIPES[name], CausalPipeline.from_pretrained(f"causal-diffusers/{name}")
    assert pipe.graph == recipe.graph
    assert pipe.variables == dict(recipe.variables)
    assert {n: c.states for n, c in pipe.confounders.items()} == {
        n: c.states for n, c in recipe.confounders.items()
    }
    for image in (n for n, v in recipe.variables.items() if isinstance(v, Image)):
        mechanism = pipe.components[image]
        assert mechanism.config["rank"] == recipe.rank
        assert mechanism.base_reference.repo == f"causal-diffusers/{recipe.base}"

"""A training file says all that training needs, and is read without surprises."""

import json

import pytest
import torch

from causal_diffusers import CausalPipeline, CheckpointError, GraphError
from causal_diffusers.recipe import Recipe
from tiny import make_tiny_base

MINIMAL = {"graph": "X -> Y", "variables": {"X": [0, 1], "Y": ["a", "b"]}, "data": "rows.csv"}


def read(folder, text, name="recipe.yaml"):
    (folder / name).write_text(text)
    return Recipe.read(folder / name)


def test_the_example_of_the_documentation_is_read(tmp_path):
    from causal_diffusers import recipe

    text = recipe.__doc__.partition("```yaml\n")[2].partition("```")[0]
    example = read(tmp_path, text)
    pipe = example.pipeline()
    assert pipe.confounders["U_D_A"].states == 4
    assert pipe.components["I"].config["rank"] == 8
    assert example.config("I").learning_rate == 5e-3
    assert (example.output, example.include_backbones) == ("my-pipeline", False)


def test_yaml_and_json_say_the_same(tmp_path):
    text = json.dumps(MINIMAL)
    assert read(tmp_path, text) == read(tmp_path, text, "recipe.json") == Recipe.of(MINIMAL)


def test_yaml_means_what_it_seems_to_mean(tmp_path):
    text = """
        graph: X -> Y
        variables: {X: [no, yes, on, off], Y: [2020-01-01, 1:30, 010]}
        data: rows.csv
        training: {learning_rate: 1e-3, steps: 20, seed: 0}
    """
    recipe = read(tmp_path, text)
    assert recipe.variables["X"] == ["no", "yes", "on", "off"]
    assert recipe.variables["Y"] == ["2020-01-01", "1:30", "010"]
    assert recipe.config().learning_rate == 0.001
    assert recipe.config().steps == 20


@pytest.mark.parametrize("name", ["recipe.yaml", "recipe.json"])
def test_a_key_that_occurs_twice_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"cannot be read: .*the key `data` occurs twice"):
        read(tmp_path, '{"data": "a", "data": "b"}', name)


@pytest.mark.parametrize(
    "text", ["graph: [", "graph: !!python/object/apply:os.getcwd []", "\t- x"]
)
def test_bad_yaml_is_one_error_with_the_file(text, tmp_path):
    with pytest.raises(ValueError, match=r"`.*recipe\.yaml` cannot be read: ") as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def build(record):
    recipe = Recipe.of(record)
    return recipe.pipeline(), [recipe.config(v) for v in recipe.training.get("overrides", {})]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"graf": 1}, "the training file has no key `graf`. Did you mean `graph`?"),
        ({"qqq": 1}, "has no key `qqq`. Known are graph, variables"),
        ({"training": {"step": 1}}, "`training` has no key `step`. Did you mean `steps`?"),
        (
            {"training": {"steps": "many"}},
            "`TrainingConfig.steps` is an integer of at least 1: got 'many'",
        ),
        ({"training": {"overrides": {"Z": {}}}}, "`overrides` has no key `Z`"),
        ({"training": {"overrides": {"X": {"step": 1}}}}, "no key `step`. Did you mean `steps`"),
        ({"training": 3}, "`training` holds keys and values: got 3"),
        ({"mechanisms": {"X": {"widht": 1}}}, "`mechanisms: X` has no key `widht`"),
        ({"mechanisms": {"X": {"rank": 1}}}, "`mechanisms: X` has no key `rank`"),
        ({"confounders": {"U": {"state": 1}}}, "`confounders: U` has no key `state`"),
        ({"confounders": {"U": {"states": "k"}}}, "takes a whole number as `states`: got 'k'"),
        ({"data": {"src": "x"}}, "`data` has no key `src`"),
        ({"data": {"split": "x"}}, "`data` needs the key `source`"),
        ({"variables": {"X": {"type": "sound"}, "Y": [0, 1]}}, "`variables: X` is not understood"),
        ({"variables": {"X": [0, 1]}}, "got none for Y"),
        ({"graph": ["X", "Y"]}, "`graph` is text"),
    ],
)
def test_a_mistake_is_named(change, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        build({**MINIMAL, **change})
    assert message in str(caught.value)


@pytest.mark.parametrize("key", ["graph", "variables", "data"])
def test_a_missing_key_is_named(key):
    with pytest.raises(ValueError, match=f"needs the key `{key}`"):
        Recipe.of({k: v for k, v in MINIMAL.items() if k != key})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no training file `.*none\.yaml`"):
        Recipe.read(tmp_path / "none.yaml")


def test_the_graph_may_be_a_file(tmp_path):
    (tmp_path / "graph.dot").write_text("digraph { X -> Y }")
    recipe = Recipe.of({**MINIMAL, "graph": str(tmp_path / "graph.dot")})
    assert recipe.pipeline().graph.parents("Y") == {"X"}


def weights(pipe):
    return {
        f"{name}.{key}": value
        for name, component in pipe.components.items()
        for key, value in component.trainable_state().items()
    }


def test_the_first_weights_follow_from_the_seed():
    state = torch.get_rng_state()
    first, again, other = (
        weights(Recipe.of({**MINIMAL, "training": {"seed": seed}}).pipeline())
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
    assert torch.equal(torch.get_rng_state(), state)


def write_rows(folder):
    lines = ["X,Y", *(f"{i % 2},{'ab'[i % 2]}" for i in range(40))]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "rows.csv")


def test_it_trains_and_saves(tmp_path):
    training = {"steps": 60, "overrides": {"X": {"steps": 2}}}
    recipe = Recipe.of({**MINIMAL, "data": write_rows(tmp_path), "training": training})
    trained = recipe.train(tmp_path / "out")
    loaded = CausalPipeline.from_pretrained(tmp_path / "out")
    assert all(torch.equal(weights(trained)[k], value) for k, value in weights(loaded).items())
    assert loaded(50, do={"X": 0}).values["Y"].count("a") > 40  # Y copies X in the rows


@pytest.mark.parametrize(("held_out", "kind"), [(0.5, "20 held-out rows"), (0, "40 rows that it")])
def test_it_reports_on_rows_that_are_held_out(held_out, kind, tmp_path):
    training = {"steps": 60, "held_out": held_out}
    recipe = Recipe.of({**MINIMAL, "data": write_rows(tmp_path), "training": training})
    reports = []
    recipe.train(tmp_path / "out", on_report=reports.append)
    assert kind in str(reports[0])


def test_what_cannot_be_saved_is_refused_before_training(tmp_path):
    base = make_tiny_base(tmp_path / "base")
    image = {"type": "image", "channels": 1, "height": 8, "width": 8}
    record = {
        "graph": "X -> I",
        "variables": {"X": [0, 1], "I": image},
        "mechanisms": {"I": str(base)},
        "data": "never-read.csv",
    }
    with pytest.raises(CheckpointError, match="include_backbones"):
        Recipe.of(record).train(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileNotFoundError, match=r"never-read\.csv"):
        Recipe.of({**record, "include_backbones": True}).train(tmp_path / "out")


def test_an_image_needs_a_mechanism():
    image = {"type": "image", "channels": 1, "height": 8, "width": 8}
    with pytest.raises(ValueError, match='"Y" is an image'):
        Recipe.of({**MINIMAL, "variables": {"X": [0, 1], "Y": image}}).pipeline()


def test_a_variable_that_is_not_in_the_graph_is_refused():
    with pytest.raises(GraphError, match="Z"):
        Recipe.of({**MINIMAL, "variables": {**MINIMAL["variables"], "Z": [0, 1]}}).pipeline()


def test_an_objective_is_chosen_for_all_or_for_one():
    training = {"objective": "adversarial", "overrides": {"Y": {"objective": "likelihood"}}}
    recipe = Recipe.of({**MINIMAL, "training": training})
    chosen = {v: o for _, names, o in recipe.plan(recipe.pipeline()).modules for v in names}
    assert chosen == {"X": "adversarial", "Y": "likelihood"}

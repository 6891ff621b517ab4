"""A continuous variable goes wherever a variable goes: asked, saved, written, read, trained."""

import copy
import csv
import json

import numpy as np
import pytest
import torch

from causal_diffusers import (
    Categorical,
    CausalPipeline,
    Confounder,
    Continuous,
    FlowMechanism,
    GraphError,
    ModularTrainer,
    ShapeError,
    TrainingConfig,
)
from causal_diffusers.blueprint import Blueprint
from causal_diffusers.cli import main
from causal_diffusers.recipe import Recipe
from causal_diffusers.sources import read_rows
from causal_diffusers.training import Rows
from tiny import shake

VARIABLES = {
    "age": Continuous(mean=50, scale=10),
    "drug": Categorical(["no", "yes"]),
    "gait": Continuous(dim=2, mean=(1, 100), scale=(0.1, 20)),
}
GRAPH = "age -> drug -> gait; age -> gait; drug <-> gait"


@pytest.fixture(scope="module")
def pipe():
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(
        GRAPH, VARIABLES, confounders={"U_drug_gait": Confounder(states=3)}
    )
    shake(pipe.components.values())
    return pipe


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_number_is_made_by_a_flow(pipe):
    kinds = {name: type(m).__name__ for name, m in pipe.mechanisms.items()}
    assert kinds == {
        "age": "FlowMechanism",
        "drug": "CategoricalMechanism",
        "gait": "FlowMechanism",
    }


def test_answers_are_in_the_units_of_the_user(pipe):
    out = pipe(5, do={"age": 63.5}, generator=seeded())
    assert np.allclose(out.values["age"], 63.5)
    assert all(type(age) is float for age in out.values["age"])
    assert all(type(gait) is tuple and len(gait) == 2 for gait in out.values["gait"])
    assert abs(np.mean([gait[1] for gait in out.values["gait"]]) - 100) < 200
    assert out.to_pandas().shape == (5, 3)
    assert "63.5" in out._repr_html_()
    assert out.query == "P(drug, gait | do(age=63.5))"


@pytest.mark.parametrize(
    ("value", "ages"),
    [
        (40, [40] * 3),
        (np.float32(40), [40] * 3),
        ([40, 50, 60], [40, 50, 60]),
        (torch.tensor([40.0, 50.0, 60.0]), [40, 50, 60]),
    ],
)
def test_do_takes_one_number_or_one_for_each(pipe, value, ages):
    assert np.allclose(pipe(3, do={"age": value}, generator=seeded()).values["age"], ages)


@pytest.mark.parametrize("value", [(1.1, 90), [(1.1, 90)] * 2, np.array([[1.1, 90]] * 2)])
def test_do_takes_one_vector_or_one_for_each(pipe, value):
    assert np.allclose(pipe(2, do={"gait": value}).values["gait"], [(1.1, 90)] * 2)


@pytest.mark.parametrize(
    ("do", "kind", "message"),
    [
        ({"age": "old"}, ValueError, "\"age\" takes finite numbers: got 'old'"),
        ({"age": float("nan")}, ValueError, '"age" takes finite numbers: got nan'),
        ({"age": [1, 2]}, ShapeError, "one value, or one for each of the 3"),
        ({"gait": [1, 2, 3]}, ShapeError, '"gait" should have 2'),
        ({"gait": 1.0}, ShapeError, '"gait" should have 2'),
    ],
)
def test_other_values_are_refused(pipe, do, kind, message):
    with pytest.raises(kind, match=message):
        pipe(3, do=do)


def test_a_condition_may_be_a_number(pipe):
    out = pipe(20, given={"age": 45.0, "gait": (1.0, 100.0)}, generator=seeded())
    assert np.allclose(out.values["age"], 45)
    assert out.probabilities["drug"].shape == (20, 2)
    assert 0 < out.effective_sample_size <= 1000


def test_what_is_saved_answers_the_same(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    again = CausalPipeline.from_pretrained(tmp_path)
    assert again.variables == VARIABLES
    assert again(9, generator=seeded()).values == pipe(9, generator=seeded()).values
    card = (tmp_path / "README.md").read_text()
    assert "| age | real numbers, mean 50.0, standard deviation 10.0 | FlowMechanism" in card
    assert "vectors of 2 numbers" in card


def test_what_was_sampled_in_a_shell_can_be_read_again(pipe, tmp_path, capsys):
    pipe.save_pretrained(tmp_path / "pipe")
    words = ["sample", str(tmp_path / "pipe"), "--do", "age=41.5", "--num-samples", "6"]
    assert main([*words, "--output", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "age: mean 41.5, standard deviation 0" in told
    assert "gait: mean [" in told
    rows = read_rows(str(tmp_path / "out" / "values.csv"), VARIABLES)
    assert len(Rows(rows, VARIABLES)) == 6
    assert np.allclose(rows["age"], 41.5)
    with (tmp_path / "out" / "values.csv").open() as file:
        assert len(next(csv.DictReader(file))["gait"].split()) == 2
    words = ["sample", str(tmp_path / "pipe"), "--do", "gait=1.0 100", "--num-samples", "2"]
    assert main([*words, "--output", str(tmp_path / "more")]) == 0


def test_a_word_in_a_csv_that_is_no_number_is_named(tmp_path):
    (tmp_path / "rows.csv").write_text("age\n50\nold\n")
    rows = read_rows(str(tmp_path / "rows.csv"), {"age": VARIABLES["age"]})
    with pytest.raises(ValueError, match="\"age\" takes finite numbers: got 'old' in row 1"):
        Rows(rows, {"age": VARIABLES["age"]})


def test_a_training_file_describes_it(tmp_path):
    record = {
        "graph": "age -> drug",
        "variables": {
            "age": {"type": "continuous", "mean": 50, "scale": 10},
            "drug": ["no", "yes"],
        },
        "mechanisms": {"age": {"width": 16, "bins": 4}},
        "data": "rows.csv",
    }
    (tmp_path / "recipe.json").write_text(json.dumps(record))
    made = Recipe.read(tmp_path / "recipe.json").pipeline().mechanisms["age"]
    assert isinstance(made, FlowMechanism)
    assert (made.config["width"], made.config["bins"]) == (16, 4)


@pytest.mark.parametrize(
    "change",
    [
        {"mean": "0"},
        {"mean": [1, 2]},
        {"mean": float("nan")},
        {"scale": float("inf")},
        {"scale": [1] * (2**20 + 1)},
        {"scale": True},
        {"scale": {"a": 1}},
        {"mean": 10**400},
        {"dim": 2**21},
        {"dim": 10**9, "mean": 0},
        {"of": [1]},
    ],
    ids=lambda change: f"{change!s:.30}",
)
def test_a_hostile_index_is_refused(change):
    age = {"type": "continuous", "dim": 1, "mean": 0.0, "scale": 1.0}
    record = {"variables": {"age": age}, "directed": [], "confounders": {}}
    assert Blueprint.from_dict(record).variables == {"age": Continuous()}
    with pytest.raises(GraphError):
        Blueprint.from_dict({**record, "variables": {"age": {**age, **change}}})


@pytest.mark.parametrize("shift", [(500, 1), (0, 0.001), (0, 1000), (-21, 1)])
def test_numbers_far_from_their_scale_are_refused_as_data(shift, generator):
    mean, spread = shift
    column = mean + spread * torch.randn(50, generator=generator)
    with pytest.raises(ValueError, match=r'"V" should lie near its `mean`.*Continuous\.of'):
        Rows({"V": column}, {"V": Continuous()})
    assert len(Rows({"V": column}, {"V": Continuous.of(column)})) == 50


def test_one_value_set_by_an_experiment_is_no_trouble():
    assert len(Rows({"V": [2.0] * 9}, {"V": Continuous()})) == 9


def test_far_numbers_are_refused_with_the_description_that_fits():
    with pytest.raises(ValueError, match=r"here `Continuous\(dim=1, mean=102\.0, scale=2\.0\)`"):
        Rows({"V": [100.0, 104.0]}, {"V": Continuous()})
    with pytest.raises(ValueError, match=r"`Continuous\.of\(column\)`\.$"):
        Rows({"V": [100.0, 100.0]}, {"V": Continuous()})


def test_it_can_be_trained_by_sampling(pipe, generator):
    """The adversarial objective moves flows too, through the labels that listen to them."""
    pipe = copy.deepcopy(pipe)
    before = pipe.mechanisms["gait"].from_parents.weight.clone()
    age, gait = torch.randn(64, generator=generator), torch.randn(64, 2, generator=generator)
    rows = {
        "age": 50 + 10 * age,
        "drug": torch.randint(2, (64,), generator=generator),
        "gait": torch.tensor([1.0, 100.0]) + torch.tensor([0.1, 20.0]) * gait,
    }
    config = TrainingConfig(steps=2, batch_size=16, objective="adversarial")
    ModularTrainer(pipe, rows, config=config).train()
    assert not torch.equal(pipe.mechanisms["gait"].from_parents.weight, before)
    assert np.isfinite(pipe(8, generator=generator).values["age"]).all()


def test_it_is_trained(generator):
    """A dose of two spreads, by label: both mean and spread are learned."""
    drug = torch.randint(2, (2000,), generator=generator)
    noise = torch.randn(2000, generator=generator)
    age = 50 + 10 * drug + (1 + 3 * drug) * noise
    pipe = CausalPipeline.from_graph(
        "drug -> age", {"drug": Categorical([0, 1]), "age": Continuous.of(age)}
    )
    config = TrainingConfig(steps=150, learning_rate=1e-2, ema_decay=0.9, batch_size=256)
    ModularTrainer(pipe, {"drug": drug, "age": age}, config=config).train()
    for label, mean, spread in ((0, 50, 1), (1, 60, 4)):
        drawn = pipe(3000, do={"drug": label}, generator=seeded()).values["age"]
        assert abs(np.mean(drawn) - mean) < 0.15 * spread + 0.1
        assert abs(np.std(drawn) / spread - 1) < 0.15

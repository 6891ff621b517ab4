"""Answers of changed graphs against their estimands on the same data."""

import numpy as np
import pytest
import torch

from causal_diffusers import (
    Categorical,
    CausalPipeline,
    Confounder,
    ModularTrainer,
    Query,
    TrainingConfig,
)
from causal_diffusers.graphs import ADMG, identify
from causal_diffusers.graphs.changes import changed_graphs
from causal_diffusers.inference import sensitivity
from causal_diffusers.inference.changed import SensitivityTable
from causal_diffusers.inference.sensitivity import _Study
from causal_diffusers.systems import DiscreteSCM
from causal_diffusers.training.data import Rows

CONFIG = TrainingConfig(steps=150)


@pytest.fixture(scope="module")
def trained():
    """A back-door system: rows, and a pipeline trained on them."""
    graph = ADMG.parse("Z -> X -> Y <- Z")
    scm = DiscreteSCM.random(graph, generator=torch.Generator().manual_seed(3))
    rows = scm.sample(5000, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(
        graph,
        dict.fromkeys(graph.variables, Categorical([0, 1])),
        confounders=dict.fromkeys(graph.confounders, Confounder(states=4)),
    )
    ModularTrainer(pipe, rows, config=CONFIG).train()
    return pipe, rows


@pytest.fixture(scope="module")
def table(trained):
    pipe, rows = trained
    return sensitivity(pipe, pipe.identify("Y", do="X"), rows, config=CONFIG, num_samples=4000)


def on_data(graph, rows):
    counts = np.zeros((2,) * len(graph.variables))
    np.add.at(counts, tuple(rows[v].numpy() for v in graph.variables), 1)
    return identify(graph, ["Y"], ["X"]).evaluate(counts, graph.variables).order("X", "Y").values


def test_answers_are_those_of_the_estimands(trained, table):
    pipe, rows = trained
    assert [row.change for row in table.rows] == [c for c, _, _ in changed_graphs(pipe.graph)]
    assert np.allclose(table.answer, on_data(pipe.graph, rows), atol=0.03)
    for change, _, graph in changed_graphs(pipe.graph):
        row = table[change]
        if row.is_identifiable:
            assert np.allclose(row.answer, on_data(graph, rows), atol=0.03), change
            difference = np.abs(on_data(graph, rows) - on_data(pipe.graph, rows)).sum(1).max() / 2
            assert row.moved == pytest.approx(difference, abs=0.04)


def test_what_flips_is_said(table):
    assert table["add Z <-> Y"].is_identifiable
    assert not table["add X <-> Y"].is_identifiable
    assert table["add X <-> Y"].moved is None
    assert "NOT IDENTIFIABLE" in str(table).splitlines()[1]  # those first


def test_the_same_estimand_trains_nothing(table):
    assert table["add Z <-> X"].note == "same estimand"
    assert table["add Z <-> X"].moved == 0
    assert table["add Z <-> X"].retrained == ()


def test_only_what_is_touched_is_trained(table):
    assert table["remove Z -> Y"].retrained == (("Y",),)


def test_the_rest_is_the_pipelines_own_and_does_not_move(trained):
    pipe, rows = trained
    before = {n: {k: v.clone() for k, v in pipe.components[n].state_dict().items()} for n in "XYZ"}
    query = Query.ask(pipe.graph, "Y", do="X")
    study = _Study(pipe, query, Rows(rows, pipe.variables), TrainingConfig(steps=2), 10, None)
    graph = {c: G for c, _, G in changed_graphs(pipe.graph)}["remove Z -> Y"]
    changed = study._districts_to_train(graph)
    other = study._trained("remove Z -> Y", *study._prepared("remove Z -> Y", graph, changed))
    assert changed == [("Y",)]
    assert other.components["Z"] is pipe.components["Z"]
    assert other.components["X"] is pipe.components["X"]
    assert other.components["Y"] is not pipe.components["Y"]
    for name, state in before.items():
        assert all(torch.equal(v, state[k]) for k, v in pipe.components[name].state_dict().items())


def test_edges_and_values_restrict(trained, tmp_path):
    pipe, rows = trained
    options = {"config": TrainingConfig(steps=2), "num_samples": 50, "edges": [("Y", "Z")]}
    query = Query.ask(pipe.graph, "Y", do={"X": 1})
    table = sensitivity(pipe, query, rows, output_dir=tmp_path, **options)
    assert {row.change for row in table.rows} == {"remove Z -> Y", "add Z <-> Y"}
    assert table.answer.shape == (1, 2)
    files = sorted(tmp_path.rglob("finished.safetensors"))
    assert files
    times = [file.stat().st_mtime_ns for file in files]
    again = sensitivity(pipe, query, rows, output_dir=tmp_path, **options)
    assert [file.stat().st_mtime_ns for file in files] == times  # restored, not trained
    assert [row.moved for row in again.rows] == [row.moved for row in table.rows]


@pytest.mark.parametrize("one", [1, np.int64(1), torch.tensor(1), [1], torch.tensor([1])])
def test_a_value_is_read_as_a_pipeline_reads_it(trained, one):
    pipe, rows = trained
    query = Query.ask(pipe.graph, "Y", do={"X": one})
    few = TrainingConfig(steps=1)
    table = sensitivity(pipe, query, rows, edges=[("Z", "X")], num_samples=50, config=few)
    assert table.answer.shape == (1, 2)


def test_the_floor_is_how_far_training_again_moves_the_answer(trained, table):
    assert 0 < table.floor < 0.03
    assert f"(trained again without a change, it moves by {table.floor:.3f}):" in str(table)
    pipe, rows = trained
    query = Query.ask(pipe.graph, "Y", do="X")
    few = TrainingConfig(steps=1, learning_rate=1e-6)  # not as the pipeline was
    careless = sensitivity(pipe, query, rows, edges=[("Z", "Y")], num_samples=4000, config=few)
    assert careless.floor > 0.05


def test_nothing_trained_needs_no_floor(trained):
    pipe, rows = trained
    query = Query.ask(pipe.graph, "Y", do="X", given="Z")
    table = sensitivity(pipe, query, rows, edges=[("Z", "X")], num_samples=50)
    assert all(row.note == "same estimand" for row in table.rows if row.is_identifiable)
    assert table.floor is None
    assert "trained again" not in str(table)


def test_experiments_count_as_they_do_for_the_pipeline():
    """X <-> Y hides what X does to Y; rows in which X was set show it, in changed graphs too."""
    graph = ADMG.parse("X -> Y; X <-> Y")
    scm = DiscreteSCM.random(graph, generator=torch.Generator().manual_seed(5))
    seen = scm.sample(4000, generator=torch.Generator().manual_seed(0))
    done = [
        scm.sample(2000, do={"X": k}, generator=torch.Generator().manual_seed(k)) for k in (0, 1)
    ]
    rows = {n: torch.cat([t[n] for t in (seen, *done)]) for n in "XY"}
    rows["intervened"] = [""] * 4000 + ["X"] * 4000
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(
        graph,
        dict.fromkeys("XY", Categorical([0, 1])),
        confounders=dict.fromkeys(graph.confounders, Confounder(states=4)),
    )
    config = TrainingConfig(steps=300)
    ModularTrainer(pipe, rows, config=config).train()
    table = sensitivity(pipe, pipe.identify("Y", do="X"), rows, config=config, num_samples=8000)
    truth = torch.stack([one["Y"].double().mean() for one in done])
    assert "not identifiable" not in str(table)
    assert torch.allclose(table.answer[:, 1], truth, atol=0.04)
    assert {row.note for row in table.rows} == {"same estimand"}  # what the experiment shows
    query = Query.ask(graph, "Y", do="X")
    study = _Study(pipe, query, Rows(rows, pipe.variables), config, 10, None)
    reverse = {c: G for c, _, G in changed_graphs(graph)}["reverse X -> Y"]
    other, lessons = study._prepared("reverse X -> Y", reverse, [("X", "Y")])
    assert other.experiments == pipe.experiments
    assert [(len(seen), "do(X)" in seen.variables) for _, _, seen in lessons] == [(8000, True)]


def test_what_every_row_sets_cannot_be_sampled_in_a_changed_graph(trained):
    pipe, rows = trained
    tagged = {**rows, "intervened": ["Z"] * 5000}
    query = Query.ask(pipe.graph, "Y", do={"X": 1})
    options = {"config": TrainingConfig(steps=1), "num_samples": 50}
    table = sensitivity(pipe, query, tagged, edges=[("Z", "Y")], **options)
    notes = [row.note for row in table.rows if row.is_identifiable and row.moved is None]
    assert all("cannot be trained anew" in note for note in notes)


@pytest.mark.gpu
@pytest.mark.parametrize("home", ["cpu", "cuda"])
def test_the_pipeline_stays_on_its_device(trained, home):
    pipe, rows = trained
    pipe.to(home)
    options = {"config": TrainingConfig(steps=2), "num_samples": 50}
    table = sensitivity(pipe, pipe.identify("Y", do="X"), rows, **options)
    assert {t.device.type for c in pipe.components.values() for t in c.parameters()} == {home}
    assert table["remove Z -> Y"].moved is not None
    assert table.floor is not None
    pipe.to("cpu")


def test_the_table_is_a_frame(table):
    frame = table.to_pandas()
    assert len(frame) == len(table.rows)
    assert {"change", "moved", "identifiable"} <= set(frame.columns)
    assert isinstance(table, SensitivityTable)

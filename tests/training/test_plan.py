"""The plan says what is trained, given what, beside what."""

import pytest

from causal_diffusers import ADMG, Categorical, CategoricalMechanism, CausalPipeline
from causal_diffusers.training import TrainingPlan
from causal_diffusers.training.plan import objective_of
from helpers import random_admgs
from tiny import make_tiny_base, make_tiny_pipeline


def plan(graph):
    graph = ADMG.parse(graph) if isinstance(graph, str) else graph
    mechanism = CategoricalMechanism()
    return TrainingPlan.of(graph, dict.fromkeys(graph.variables, mechanism))


def test_the_text_of_the_front_door(tmp_path):
    pipe = make_tiny_pipeline(make_tiny_base(tmp_path))
    assert str(pipe.plan()).splitlines() == [
        "stage 1: {W} by likelihood; matched on {W} given {D}",
        "stage 2: {I} by denoising; matched on {I} given {W}",
        "stage 3: {A, D} by likelihood; matched on {A, D, I, W}, {I, W} frozen",
    ]


def test_districts_that_need_each_other_share_a_stage():
    """They are one h-node, and still two districts for the likelihood."""
    text = (
        "X0 -> X1; X0 -> X2; X1 -> X2; X2 -> X3; X1 -> X4; X3 -> X4; X0 -> X5; X3 -> X5; X4 -> X5"
    )
    merged = [stage for stage in plan(f"{text}; X2 <-> X5; X0 <-> X4") if len(stage.districts) > 1]
    assert [dict(stage.districts) for stage in merged] == [
        {("X0", "X4"): "likelihood", ("X2", "X5"): "likelihood"}
    ]
    assert str(merged[0]).startswith("{X0, X4} by likelihood; {X2, X5} by likelihood; matched on")


def test_every_district_is_trained_once_in_an_order_that_freezes_only_what_is_trained():
    for graph in random_admgs(50):
        trained = set()
        for planned in plan(graph):
            assert planned.stage.frozen <= trained
            for district, _ in planned.districts:
                assert not trained & set(district)
                assert frozenset(district) in graph.districts()
                trained |= set(district)
        assert trained == set(graph.variables)


def test_it_is_a_sequence():
    stages = plan("X -> Y -> Z")
    assert len(stages) == len(list(stages)) == 3
    assert str(stages).count("\n") == 2
    assert [stages[0], stages[1], stages[-1]] == list(stages)


def test_a_planned_stage_has_what_its_stage_has():
    for planned in plan("D -> W -> I -> A; D <-> A"):
        assert planned.variables == {v for names, _ in planned.districts for v in names}
        for name in ("variables", "joint", "parents", "frozen"):
            assert getattr(planned, name) == getattr(planned.stage, name)
    assert planned.frozen == {"W", "I"}


def test_a_label_is_matched_by_likelihood():
    assert objective_of(CategoricalMechanism()) == "likelihood"


def test_a_variable_without_a_mechanism_is_named():
    two = Categorical([0, 1])
    pipe = CausalPipeline.from_graph("X -> Y", dict.fromkeys("XY", two))
    with pytest.raises(ValueError, match=r"mechanism of every variable: got none for {Y}"):
        TrainingPlan.of(pipe.graph, {"X": pipe.mechanisms["X"]})

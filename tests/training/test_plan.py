"""The plan says what is trained, given what, beside what."""

import pytest

from causal_diffusers import ADMG, Categorical, CategoricalMechanism, CausalPipeline
from causal_diffusers.training import TrainingPlan
from causal_diffusers.training.lessons import objective_of
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
    merged = [stage for stage in plan(f"{text}; X2 <-> X5; X0 <-> X4") if len(stage.modules) > 1]
    assert [dict(stage.modules) for stage in merged] == [
        {("X0", "X4"): "likelihood", ("X2", "X5"): "likelihood"}
    ]
    assert str(merged[0]).startswith("{X0, X4} by likelihood; {X2, X5} by likelihood; matched on")


def test_every_district_is_trained_once_in_an_order_that_freezes_only_what_is_trained():
    for graph in random_admgs(50):
        trained = set()
        for planned in plan(graph):
            assert planned.stage.frozen <= trained
            for district, _ in planned.modules:
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
        assert planned.variables == {v for names, _ in planned.modules for v in names}
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


def labels(graph, **options):
    graph = ADMG.parse(graph)
    mechanisms = {name: CategoricalMechanism() for name in graph.variables}
    return TrainingPlan.of(graph, mechanisms, **options)


MUTUAL = "X0 -> X1 -> X2 -> X3 -> X4; X0 -> X5; X4 -> X5; X2 <-> X5; X0 <-> X4"


def test_districts_matched_by_sampling_are_one_module():
    """Those of one h-node, and after the districts that are trained on their own."""
    apart = [stage for stage in labels(MUTUAL) if len(stage.modules) > 1]
    assert [[o for _, o in stage.modules] for stage in apart] == [["likelihood"] * 2]
    together = labels(MUTUAL, objective="adversarial")
    merged = [stage for stage in together if len(stage.variables) == 4]
    assert [stage.modules for stage in merged] == [((("X0", "X4", "X2", "X5"), "adversarial"),)]
    mixed = labels(MUTUAL, objective="adversarial", overrides={"X5": "likelihood"})
    (stage,) = (stage for stage in mixed if len(stage.variables) == 4)
    assert stage.modules == ((("X2", "X5"), "likelihood"), (("X0", "X4"), "adversarial"))
    assert str(stage).startswith("{X2, X5} by likelihood; {X0, X4} by adversarial; matched on")


def test_the_modules_of_a_plan_are_all_that_is_trained_in_order():
    for graph in random_admgs(10):
        for objective in (None, "adversarial"):
            planned = labels(str(graph), objective=objective)
            trained = [v for _, variables, _ in planned.modules for v in variables]
            assert sorted(trained) == sorted(graph.variables)
            for stage, variables, _ in planned.modules:
                assert set(variables) <= stage.variables


def test_an_override_goes_before_the_choice_for_all():
    planned = labels("X -> Y; Z <-> W", objective="adversarial", overrides={"Y": None, "Z": None})
    chosen = {v: objective for _, variables, objective in planned.modules for v in variables}
    assert chosen == {"X": "adversarial", "Y": "likelihood", "Z": "likelihood", "W": "likelihood"}


def test_what_suits_a_mechanism(tmp_path):
    image = make_tiny_pipeline(make_tiny_base(tmp_path)).mechanisms["I"]
    assert objective_of(image) == "denoising"
    assert objective_of(image, CategoricalMechanism()) == "likelihood"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"objective": "likelihood"},
            r'`objective="likelihood"` cannot train {I}: got DiffusionMechanism for "I", which '
            r'has no likelihood.*`overrides={"I": TrainingConfig\(objective="denoising"\)}`',
        ),
        (
            {"overrides": {"I": "adversarial"}},
            r'"adversarial"` cannot train {I}: .* which has no draws with a gradient',
        ),
        (
            {"overrides": {"W": "denoising"}},
            r'"denoising"` cannot train {W}: got CategoricalMechanism for "W", which has nothing',
        ),
        (
            {"objective": "likelyhood"},
            r"is one of 'likelihood', .*'representation', .*got 'likelyhood'\. None takes",
        ),
        ({"overrides": {"A": "adversarial", "D": "likelihood"}}, r"D and A different objectives"),
    ],
)
def test_an_objective_that_cannot_be_is_refused(options, message, tmp_path):
    pipe = make_tiny_pipeline(make_tiny_base(tmp_path))
    with pytest.raises(ValueError, match=message):
        pipe.plan(**options)


def test_an_objective_of_no_variable_is_refused():
    with pytest.raises(KeyError, match=r"`overrides` names \['Z'\]"):
        labels("X -> Y", overrides={"Z": "likelihood"})

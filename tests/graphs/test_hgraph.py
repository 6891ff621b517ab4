"""The training plan, on cases that earlier procedures get wrong."""

import random

import pytest

from causal_diffusers import GraphError
from causal_diffusers.graphs import ADMG, HGraph, Stage, least_rule2_superset
from helpers import least_superset, random_admg, random_admgs, satisfies_rule_2

FOUR_CYCLE = "; ".join(f"b{i} -> a{(i + 1) % 4} -> d{i}; a{i} <-> d{i} <-> b{i}" for i in range(4))

# text: the stages as (H, S(H), outside parents)
PLANS = {
    "front door": (
        "D -> I -> A; D <-> A",
        [("I", "I", "D"), ("A D", "A D I", "")],
    ),
    "the parent that offends late": (
        "hp -> a -> h; p -> h; hp <-> h; p <-> a",
        [("a p", "a p", "hp"), ("h hp", "a h hp p", "")],
    ),
    "mutual need": (
        "X0->X1; X0->X2; X1->X2; X2->X3; X1->X4; X3->X4; X0->X5; X3->X5; X4->X5; X2<->X5; X0<->X4",
        [("X1", "X1", "X0"), ("X3", "X3", "X2"), ("X0 X2 X4 X5", "X0 X1 X2 X3 X4 X5", "")],
    ),
    "a cycle of four": (
        FOUR_CYCLE,
        [(names := " ".join(f"{v}{i}" for v in "abd" for i in range(4)), names, "")],
    ),
    "no confounder": (
        "A -> B -> C; A -> C",
        [("A", "A", ""), ("B", "B", "A"), ("C", "C", "A B")],
    ),
    "no edge": ("A; B", [("A", "A", ""), ("B", "B", "")]),
    "one bow": ("X -> Y; X <-> Y", [("X Y", "X Y", "")]),
    "digits": (
        "D -> W -> I -> A; D <-> A",
        [("W", "W", "D"), ("I", "I", "W"), ("A D", "A D I W", "")],
    ),
}


@pytest.mark.parametrize(("text", "plan"), PLANS.values(), ids=PLANS)
def test_plan(text, plan):
    expected = tuple(Stage(*(frozenset(names.split()) for names in stage)) for stage in plan)
    assert HGraph(ADMG.parse(text)).plan() == expected


@pytest.mark.parametrize(("text", "plan"), PLANS.values(), ids=PLANS)
def test_the_expected_plans_themselves_satisfy_rule_2(text, plan):
    G = ADMG.parse(text)
    for _, joint, parents in plan:
        assert satisfies_rule_2(G, joint.split())
        assert G.parents(joint.split()) - set(joint.split()) == set(parents.split())


def test_the_reference_procedure_would_forget_a_parent():
    """Without p, the set that is matched for {hp, h} is not valid; so the test above can fail."""
    G = ADMG.parse("hp -> a -> h; p -> h; hp <-> h; p <-> a")
    assert not satisfies_rule_2(G, ["hp", "h", "a"])
    assert satisfies_rule_2(G, ["hp", "h", "a", "p"])


def test_the_edges_say_who_is_sampled_for_whom():
    H = HGraph(ADMG.parse("D -> W -> I -> A; D <-> A"))
    edges = {(frozenset(a.variables), frozenset(b.variables)) for a, b in H.edges}
    assert edges == {(frozenset("W"), frozenset("AD")), (frozenset("I"), frozenset("AD"))}


def test_a_merged_node_remembers_its_districts():
    (node,) = HGraph(ADMG.parse(FOUR_CYCLE)).nodes
    assert node.districts == set(ADMG.parse(FOUR_CYCLE).districts())
    assert len(node.variables) == 12


def test_frozen_is_the_joint_without_the_variables():
    *_, last = HGraph(ADMG.parse("D -> I -> A; D <-> A")).plan()
    assert (last.variables, last.frozen) == (set("DA"), set("I"))


def test_equal_graphs_have_equal_plans():
    text = "D -> I -> A; D <-> A"
    assert HGraph(ADMG.parse(text)) == HGraph(ADMG.parse(text))
    assert HGraph(ADMG(())).plan() == ()


def test_the_closed_form_on_any_set_is_the_least_valid_superset():
    rng = random.Random(0)
    for G in random_admgs(100, sizes=(2, 6)):
        H = rng.sample(G.variables, rng.randint(1, len(G.variables)))
        assert least_rule2_superset(G, H) == least_superset(G, H)


def test_the_superset_is_a_closure():
    rng = random.Random(1)
    for G in random_admgs(200):
        A, B = (rng.sample(G.variables, rng.randint(0, len(G.variables))) for _ in range(2))
        S, T = least_rule2_superset(G, A), least_rule2_superset(G, B)
        assert set(A) <= S
        assert least_rule2_superset(G, S) == S
        assert least_rule2_superset(G, {*A, *B}) == least_rule2_superset(G, S | T) >= S


def test_an_unknown_variable_is_refused():
    with pytest.raises(GraphError, match='`H` must name variables of the graph: got "Z"'):
        least_rule2_superset(ADMG.parse("X -> Y"), ["X", "Z"])


def test_two_hundred_dense_variables():
    plan = HGraph(random_admg(random.Random(0), 200, 0.5, 0.005)).plan()
    assert sum(len(stage.variables) for stage in plan) == 200


def test_ten_thousand_sparse_variables():
    rng = random.Random(0)
    names = [f"X{i}" for i in range(10_000)]
    arrows = {tuple(sorted(rng.sample(range(10_000), 2))) for _ in range(20_000)}
    arcs = {tuple(sorted(rng.sample(range(10_000), 2))) for _ in range(3_000)}
    G = ADMG(
        names,
        [(names[a], names[b]) for a, b in arrows],
        [(names[a], names[b]) for a, b in arcs],
    )
    plan = HGraph(G).plan()
    assert sum(len(stage.variables) for stage in plan) == 10_000
    assert len(plan) > 5_000

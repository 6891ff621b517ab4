"""A blueprint is read strictly and written as it was."""

import copy
import json

import pytest

from causal_diffusers import ADMG, Categorical, Confounder, GraphError, Image
from causal_diffusers.blueprint import Blueprint

GRAPH = ADMG.parse("Z -> I; A -> I; U: A, B, Z")
VARIABLES = {
    "I": Image(3, 4, 5),
    "A": Categorical("xy"),
    "B": Categorical([3, 5]),
    "Z": Categorical([True, False]),
}
BLUEPRINT = Blueprint.of(GRAPH, VARIABLES, {"U": Confounder(states=4)})


def test_names_are_in_the_order_of_the_graph():
    assert tuple(BLUEPRINT.variables) == GRAPH.variables == ("Z", "I", "A", "B")


def test_it_survives_json():
    record = json.loads(json.dumps(BLUEPRINT.to_dict()))
    again = Blueprint.from_dict(record)
    assert again == BLUEPRINT
    assert again.graph.variables == GRAPH.variables
    assert again.variables["Z"].labels == (True, False)


def test_confounders_of_bare_edges_keep_their_names():
    blueprint = Blueprint.of(ADMG.parse("A <-> B"), dict.fromkeys("AB", Categorical([0, 1])))
    assert blueprint.confounders == {"U_A_B": Confounder()}
    assert Blueprint.from_dict(blueprint.to_dict()).graph == blueprint.graph


def test_components_are_variables_and_finite_confounders():
    graph = ADMG.parse("U: A, B; V: A, B")
    two = dict.fromkeys("AB", Categorical([0, 1]))
    blueprint = Blueprint.of(graph, two, {"V": Confounder(states=2)})
    assert blueprint.components == ("A", "B", "V")
    assert blueprint.finite == ("V",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((GRAPH, {}), "`variables` must describe each of the graph's: got none for Z, I, A, B"),
        (
            (GRAPH, VARIABLES | {"Q": Image(1, 1, 1)}),
            "`variables` must be those of the graph: got Q",
        ),
        (
            (GRAPH, VARIABLES, {"V": Confounder()}),
            "`confounders` must be those of the graph: got V",
        ),
    ],
)
def test_names_must_be_those_of_the_graph(arguments, message):
    with pytest.raises(GraphError) as caught:
        Blueprint.of(*arguments)
    assert message in str(caught.value)


def broken(change):
    record = copy.deepcopy(BLUEPRINT.to_dict())
    result = change(record)
    return record if result is None else result


@pytest.mark.parametrize(
    "change",
    [
        lambda r: [],
        lambda r: "graph",
        lambda r: 3,
        lambda r: {},
        lambda r: r.pop("directed") and None,
        lambda r: r.update(nodes=[]),
        lambda r: r.update(variables=["A"]),
        lambda r: r.update(variables={"A": None}),
        lambda r: r.update(variables={"A": {"type": "evil"}}),
        lambda r: r.update(variables={"A": {"type": ["categorical"]}}),
        lambda r: r["variables"].update(A={"type": "categorical"}),
        lambda r: r["variables"].update(A={"type": "categorical", "labels": [1]}),
        lambda r: r["variables"].update(A={"type": "categorical", "labels": 7}),
        lambda r: r["variables"].update(A={"type": "categorical", "labels": [[1], [2]]}),
        lambda r: r["variables"].update(A={"type": "categorical", "labels": [{}, None]}),
        lambda r: r["variables"].update(I={"type": "image", "channels": 3}),
        lambda r: r["variables"].update(
            I={"type": "image", "channels": 3, "height": 1e3, "width": 2}
        ),
        lambda r: r["variables"].update(
            I={"type": "image", "channels": "3", "height": 2, "width": 2}
        ),
        lambda r: r["variables"].update(
            I={"type": "image", "channels": 3, "height": 10**6, "width": 10**6}
        ),
        lambda r: r["variables"].update({"../../x": {"type": "categorical", "labels": [0, 1]}}),
        lambda r: r["variables"].update({"to": {"type": "categorical", "labels": [0, 1]}}),
        lambda r: r["variables"].update({"": {"type": "categorical", "labels": [0, 1]}}),
        lambda r: r.update(directed=[["A"]]),
        lambda r: r.update(directed=[["A", "Q"]]),
        lambda r: r.update(directed=[["A", "B"], ["B", "A"]]),
        lambda r: r.update(directed=[[["A"], "B"]]),
        lambda r: r.update(directed=[3]),
        lambda r: r.update(directed=None),
        lambda r: r.update(confounders=[]),
        lambda r: r.update(confounders={"U": {}}),
        lambda r: r.update(confounders={"U": {"children": ["A"], "dim": 2, "states": None}}),
        lambda r: r["confounders"]["U"].update(dim="2"),
        lambda r: r["confounders"]["U"].update(dim=2.5),
        lambda r: r["confounders"]["U"].update(dim=0),
        lambda r: r["confounders"]["U"].update(states=1.5),
        lambda r: r["confounders"]["U"].update(states=True),
        lambda r: r["confounders"]["U"].update(states=10**12),
        lambda r: r["confounders"]["U"].update(evil=1),
        lambda r: r["confounders"].update({"../U": r["confounders"]["U"]}),
    ],
)
def test_a_malformed_record_is_a_graph_error(change):
    with pytest.raises(GraphError):
        Blueprint.from_dict(broken(change))


@pytest.mark.parametrize(
    "experiments",
    [
        [],
        None,
        {"set": [], "tried": None},
        [{"set": ["A"]}],
        [{"set": ["Q"], "tried": None}],
        [{"set": ["A", "A"], "tried": None}],
        [{"set": "A", "tried": None}],
        [{"set": ["A"], "tried": [[9]]}],
        [{"set": ["A"], "tried": [[True]]}],
        [{"set": ["A"], "tried": [["0"]]}],
        [{"set": ["A"], "tried": [[0, 0]]}],
        [{"set": ["A"], "tried": None}, {"set": ["A"], "tried": [[0]]}],
        [{"set": ["A"], "tried": None, "evil": 1}],
    ],
)
def test_malformed_experiments_are_a_graph_error(experiments):
    with pytest.raises(GraphError):
        Blueprint.from_dict(broken(lambda record: record.update(experiments=experiments)))


def test_experiments_are_written_and_read():
    listed = [{"set": [], "tried": None}, {"set": ["A", "B"], "tried": [[0, 1]]}]
    blueprint = Blueprint.from_dict(broken(lambda record: record.update(experiments=listed)))
    assert blueprint.to_dict()["experiments"] == listed
    assert "experiments" not in BLUEPRINT.to_dict()


def test_the_record_above_is_well_formed_unless_broken():
    assert Blueprint.from_dict(broken(lambda record: None)) == BLUEPRINT

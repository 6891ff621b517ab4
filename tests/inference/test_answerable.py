"""What may be asked of a model that was trained in several regimes."""

import pytest

from causal_diffusers import ADMG, Categorical, NotIdentifiableError
from causal_diffusers.inference.answerable import check_answerable
from causal_diffusers.query import Query
from causal_diffusers.scm import StructuralCausalModel
from causal_diffusers.variables import Experiment

TWO = Categorical([0, 1])
WATCHED, X, XZ = Experiment(), Experiment(("X",)), Experiment(("X", "Z"))


def scm(text):
    graph = ADMG.parse(text)
    return StructuralCausalModel(graph, dict.fromkeys(graph.variables, TWO), {})


def ask(text, query, *experiments):
    check_answerable(query, scm(text), experiments)


def test_what_was_observed_needs_no_proof():
    ask("X -> Y; X <-> Y", Query(("X", "Y")), WATCHED)
    ask("X -> Y; X <-> Y", Query(("Y",), given={"X": 1}), WATCHED, X)


def test_conditioning_needs_how_its_causes_are_made():
    """P(Y | X) is P(Y | do(X)) here, but to weigh by X would sample X."""
    with pytest.raises(ValueError, match='"X" was set by hand in every row'):
        ask("X -> Y", Query(("Y",), given={"X": 1}), X)
    with pytest.raises(NotIdentifiableError):
        ask("X -> Y; X <-> Y", Query(("Y",), given={"X": 1}), X)


def test_values_that_were_not_tried_matter_only_where_they_are_needed():
    some = Experiment(("X", "Z"), ((1, 0),))
    text = "X -> Y; X <-> Y; Y -> Z"  # Z has no effect on Y
    ask(text, Query(("Y",), do={"X": 1}), WATCHED, some)
    ask(text, Query(("Y",), do={"X": None}), WATCHED, XZ)
    for query in (Query(("Y",), do={"X": 0}), Query(("Y",), do={"X": None})):
        with pytest.raises(NotIdentifiableError):
            ask(text, query, WATCHED, some)
    with pytest.raises(NotIdentifiableError):
        ask("X -> Y <- Z; X <-> Y", Query(("Y",), do={"X": 1}), WATCHED, some)


def test_one_value_for_each_sample():
    tried = Experiment(("X",), ((1,),))
    ask("X -> Y; X <-> Y", Query(("Y",), do={"X": [1, 1]}), WATCHED, tried)
    with pytest.raises(NotIdentifiableError):
        ask("X -> Y; X <-> Y", Query(("Y",), do={"X": [1, 0]}), WATCHED, tried)

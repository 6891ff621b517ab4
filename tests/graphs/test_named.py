"""What is known of the named graphs is what the library finds."""

import pytest

from causal_diffusers import NotIdentifiableError
from causal_diffusers.graphs import NAMED, identify

ANSWERS = [(name, answer) for name, named in NAMED.items() for answer in named.answers]


@pytest.mark.parametrize("name", NAMED)
def test_districts(name):
    known = [set(district.split()) for district in NAMED[name].districts]
    assert list(NAMED[name].graph.districts()) == known


@pytest.mark.parametrize(("name", "answer"), ANSWERS, ids=lambda item: str(item))
def test_answers(name, answer):
    if answer.is_identifiable:
        identify(NAMED[name].graph, *answer.query)
        return
    with pytest.raises(NotIdentifiableError):
        identify(NAMED[name].graph, *answer.query)


@pytest.mark.parametrize("name", NAMED)
def test_every_graph_has_a_source(name):
    assert any(year in NAMED[name].reference for year in ("19", "20"))
    assert NAMED[name].about.endswith(".")
    assert NAMED[name].answers


def test_there_are_refusals_among_the_answers():
    assert {answer.is_identifiable for _, answer in ANSWERS} == {True, False}

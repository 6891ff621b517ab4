"""Probabilities in; graphs, orders, tables and averages out."""

import itertools

import pytest
import torch

from causal_diffusers import ADMG, GraphError, NotIdentifiableError
from causal_diffusers.discovery import AveragedAnswer, DiscoveryResult
from discovery.dags import random_dag

NAMES = ("A", "B", "C", "D")


def random_result(generator, d=4):
    logits = 1.5 * torch.randn(3, d, d, generator=generator)
    forth, back, _ = logits.softmax(dim=0)
    P = forth.triu(diagonal=1) + back.triu(diagonal=1).T
    weights = torch.randn(d, d, generator=generator)
    return DiscoveryResult(NAMES[:d], P, weights)


def matrix(**edges):
    """Give probabilities of edges written `AB=0.9`."""
    P = torch.zeros(4, 4)
    for (a, b), probability in edges.items():
        P[NAMES.index(a), NAMES.index(b)] = probability
    return P


def test_a_graph_has_the_edges_that_are_likely_enough(generator):
    for _ in range(20):
        truth = random_dag(4, generator)
        P = torch.where(truth, 0.6 + 0.3 * torch.rand(4, 4, generator=generator), 0.1)
        found = DiscoveryResult(NAMES, P, torch.zeros(4, 4))
        expected = {(NAMES[i], NAMES[j]) for i, j in truth.nonzero().tolist()}
        assert found.to_admg() == ADMG(NAMES, expected)
        assert found.to_admg(0.95) == ADMG(NAMES)
        order = found.order
        assert sorted(order) == list(NAMES)
        assert all(order.index(a) < order.index(b) for a, b in expected)


def test_confounders_are_added_by_who_knows_them():
    found = DiscoveryResult(NAMES, matrix(AB=0.9, BC=0.8), torch.zeros(4, 4))
    graph = found.to_admg(bidirected=[("A", "C"), ["B", "D"]])
    assert graph == ADMG.parse("A -> B -> C; D; A <-> C; B <-> D")
    for G in found.sample_graphs(5, [("A", "C")], generator=torch.Generator().manual_seed(0)):
        assert G.bidirected == {frozenset("AC")}


@pytest.mark.parametrize("pairs", [[("A", "E")], [("A",)], ["A"], [("A", "B", "C")]])
def test_other_than_pairs_of_variables_are_refused(pairs):
    found = DiscoveryResult(NAMES, matrix(AB=0.9), torch.zeros(4, 4))
    with pytest.raises(GraphError):
        found.to_admg(bidirected=pairs)


def test_the_weakest_edge_of_a_cycle_is_left_out():
    P = matrix(AB=0.9, BC=0.8, CA=0.7, CD=0.6)
    found = DiscoveryResult(NAMES, P, torch.zeros(4, 4))
    assert found.to_admg() == ADMG.parse("A -> B -> C -> D")
    assert " ? C -> A: P = 0.70" in str(found)
    assert "   A -> B: P = 0.90" in str(found)


@pytest.mark.parametrize("probability", [0, -0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(probability):
    found = DiscoveryResult(NAMES, matrix(AB=0.9), torch.zeros(4, 4))
    with pytest.raises(ValueError, match=r"`probability` is in \(0, 1\]: got"):
        found.to_admg(probability)


def test_edges_are_listed_the_likeliest_first(generator):
    found = random_result(generator)
    edges = found.edges()
    assert [edge[2] for edge in edges] == sorted((edge[2] for edge in edges), reverse=True)
    assert len(edges) == 12
    for cause, effect, probability, weight in found.edges(0.3):
        i, j = NAMES.index(cause), NAMES.index(effect)
        assert probability == float(found.probabilities[i, j]) >= 0.3
        assert weight == float(found.weights[i, j])
    table = found.to_pandas()
    assert list(table.columns) == ["cause", "effect", "probability", "weight"]
    assert [tuple(row) for row in table.itertuples(index=False)] == list(edges)


def test_nothing_found_is_an_empty_table():
    found = DiscoveryResult(NAMES, torch.zeros(4, 4), torch.zeros(4, 4))
    assert found.edges() == ()
    assert found.to_pandas().shape == (0, 4)
    assert found.to_admg() == ADMG(NAMES)


def test_it_is_written_with_what_was_assumed():
    found = DiscoveryResult(NAMES, matrix(AB=0.9), torch.ones(4, 4), ("Caution: of the units.",))
    text = str(found)
    assert text.startswith("Found: A -> B")
    assert "A -> B: P = 0.90, weight 1.00" in text
    assert "Caution: of the units." in text
    assert "nothing is confounded" in text
    assert "`to_admg(bidirected=...)`" in text
    assert "`falsify`" in text


def test_it_is_drawn_in_a_notebook():
    found = DiscoveryResult(NAMES, matrix(AB=0.9), torch.zeros(4, 4))
    assert found._repr_html_() == found.to_admg()._repr_html_()
    assert "A" in found._repr_html_()


def test_drawn_graphs_are_counted(generator):
    counts = random_result(generator).sample_graphs(40, generator=generator)
    assert sum(counts.values()) == 40
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    assert len(counts) > 3
    again, same = (
        random_result(torch.Generator().manual_seed(0)).sample_graphs(
            10, generator=torch.Generator().manual_seed(1)
        )
        for _ in "ab"
    )
    assert again == same


@pytest.mark.parametrize("count", [0, -1])
def test_no_graphs_are_refused(count, generator):
    with pytest.raises(ValueError, match="`count` is the number of graphs to draw: got"):
        random_result(generator).sample_graphs(count, generator=generator)


def test_an_average_is_weighed_by_the_draws(generator):
    found, values = random_result(generator), {}

    def answer(graph):
        values[graph] = [len(graph.directed), float(torch.rand((), generator=generator))]
        return values[graph]

    average = found.average(answer, 30, generator=torch.Generator().manual_seed(4))
    drawn = found.sample_graphs(30, generator=torch.Generator().manual_seed(4))
    assert average.counts == drawn
    assert average.refused == 0
    every = torch.tensor([values[graph] for graph, times in drawn.items() for _ in range(times)])
    assert len(every) == 30
    torch.testing.assert_close(average.mean, every.double().mean(dim=0))
    torch.testing.assert_close(average.deviation, every.double().std(dim=0, correction=0))


def test_an_average_of_one_graph_is_its_answer():
    answers = {ADMG.parse("A -> B"): torch.tensor(2.5)}
    averaged = AveragedAnswer(answers, {ADMG.parse("A -> B"): 7})
    assert float(averaged.mean) == 2.5
    assert float(averaged.deviation) == 0


def refuse_if(graph, *edges):
    if graph.directed >= set(edges):
        raise NotIdentifiableError(
            "`P(B | do(A))` is not identifiable.", query="P(B | do(A))", hedge=None
        )
    return 1.0


def test_graphs_that_do_not_determine_the_answer_are_counted(generator):
    found = DiscoveryResult(NAMES, matrix(AB=0.5, CD=0.5), torch.zeros(4, 4))
    drawn = found.sample_graphs(40, generator=torch.Generator().manual_seed(0))
    refused = sum(times for G, times in drawn.items() if ("A", "B") in G.directed)
    assert 5 < refused < 35
    with pytest.warns(UserWarning, match=f"{refused} of 40 graphs do not determine the answer"):
        average = found.average(
            lambda graph: refuse_if(graph, ("A", "B")),
            40,
            generator=torch.Generator().manual_seed(0),
            on_unidentified="warn",
        )
    assert average.refused == refused
    assert sum(average.counts.values()) == 40 - refused
    assert float(average.mean) == 1


def test_an_answer_that_no_graph_determines_is_refused(generator):
    found = random_result(generator)
    with pytest.raises(NotIdentifiableError, match="is not identifiable"):
        found.average(refuse_if, 5, generator=generator, on_unidentified="warn")


def test_a_graph_that_does_not_determine_the_answer_is_named(generator):
    found = DiscoveryResult(NAMES, matrix(AB=1.0), torch.zeros(4, 4))
    with pytest.raises(NotIdentifiableError, match="is not identifiable") as refused:
        found.average(lambda graph: refuse_if(graph, ("A", "B")), 5, generator=generator)
    (note,) = refused.value.__notes__
    assert note.startswith("So it is in A -> B; C; D, 5 of 5 graphs drawn.")
    assert '`on_unidentified="warn"`' in note
    with pytest.raises(ValueError, match=r"`on_unidentified` is .* got 'skip'"):
        found.average(len, 5, generator=generator, on_unidentified="skip")


def test_other_errors_are_not_swallowed(generator):
    with pytest.raises(ZeroDivisionError):
        random_result(generator).average(lambda _: 1 / 0, 5, generator=generator)


def test_each_graph_is_asked_once_with_its_confounders(generator):
    asked = []
    random_result(generator).average(
        lambda graph: asked.append(graph) or 0.0, 30, [("A", "B")], generator=generator
    )
    assert len(asked) == len(set(asked))
    assert all(graph.bidirected == {frozenset("AB")} for graph in asked)


def test_no_draw_has_an_edge_of_probability_zero(generator):
    found = DiscoveryResult(NAMES, matrix(AB=0.5, BC=0.4, CB=0.4, DA=1), torch.zeros(4, 4))
    possible = {("A", "B"), ("B", "C"), ("C", "B"), ("D", "A")}
    for graph in found.sample_graphs(60, generator=generator):
        assert ("D", "A") in graph.directed
        assert graph.directed <= possible
    assert set(
        itertools.chain(*(G.directed for G in found.sample_graphs(60, generator=generator)))
    )


@pytest.mark.parametrize("shape", [(), (3,)])
def test_an_average_has_a_table_with_a_row_for_each_graph(shape):
    G, H = ADMG.parse("A -> B"), ADMG.parse("B -> A")
    answers = {G: torch.full(shape, 2.0), H: torch.full(shape, 1.0)}
    averaged = AveragedAnswer(answers, {G: 5, H: 2})
    table = averaged.to_pandas()
    assert table["graph"].tolist() == [str(G), str(H)]
    assert table["draws"].tolist() == [5, 2]
    weighed = (table["answer"] * table["draws"]).sum() / table["draws"].sum()
    assert torch.allclose(torch.as_tensor(weighed), averaged.mean.to(torch.float64))

"""Diagnoses against demands and counts by enumeration, and against what is known of digits."""

import numpy as np
import pytest
import torch

from causal_diffusers import ADMG, Categorical, CausalPipeline, NotIdentifiableError, Query
from causal_diffusers.inference import diagnose
from causal_diffusers.inference.overlap import Configuration, FactorOverlap
from causal_diffusers.systems import DiscreteSCM, FrontDoorDigits
from causal_diffusers.variables import Continuous, Image

BACK_DOOR = "Z -> X -> Y <- Z"


def make_pipe(graph, labels=(0, 1)):
    graph = ADMG.parse(graph)
    return CausalPipeline.from_graph(graph, dict.fromkeys(graph.variables, Categorical(labels)))


def make_rows(z_and_x, repeats=50):
    """Rows of the back-door graph: some pairs of Z and X, each with Y = 0 and Y = 1."""
    rows = [(z, x, y) for z, x in z_and_x for y in (0, 1)] * repeats
    return {name: [row[i] for row in rows] for i, name in enumerate("ZXY")}


ALL = [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_what_occurs_is_supported():
    pipe = make_pipe(BACK_DOOR)
    report = diagnose(pipe, pipe.identify("Y", do="X"), make_rows(ALL))
    (entry,) = report.factors
    assert report.is_supported
    assert (entry.factor, entry.verdict, entry.missing) == ("P(Y | X, Z)", "supported", 0.0)
    # the demand is 1/2 on each of two cells, and each has a quarter of the rows
    assert entry.effective_share == pytest.approx(1 / (2 * 0.25 / 0.25))
    assert entry.effective_rows == pytest.approx(200)


def test_what_never_occurs_is_named():
    pipe = make_pipe(BACK_DOOR)
    report = diagnose(pipe, pipe.identify("Y", do="X"), make_rows([(0, 0), (0, 1), (1, 1)]))
    entry = report["P(Y | X, Z)"]
    assert not report.is_supported
    assert entry.verdict == "unsupported"
    assert entry.at == {"X": 0}
    assert entry.missing == pytest.approx(1 / 3, abs=1e-6)
    assert entry.worst == (Configuration({"Z": 1, "X": 0}, pytest.approx(1 / 3, abs=1e-6), 0),)
    assert "33 % of the answer rests on values of Z, X that no row" in str(report)


def test_only_the_values_asked_for_are_looked_at():
    pipe, rows = make_pipe(BACK_DOOR), make_rows([(0, 0), (0, 1), (1, 1)])
    assert diagnose(pipe, Query.ask(pipe.graph, "Y", do={"X": 1}), rows).is_supported
    assert not diagnose(pipe, Query.ask(pipe.graph, "Y", do={"X": [1, 0]}), rows).is_supported


@pytest.mark.parametrize("one", [1, np.int64(1), torch.tensor(1), torch.tensor([1]), [1]])
def test_a_value_is_read_as_a_pipeline_reads_it(one):
    pipe, rows = make_pipe(BACK_DOOR), make_rows([(0, 0), (0, 1), (1, 1)])
    report = diagnose(pipe, Query.ask(pipe.graph, "Y", do={"X": one}), rows)
    assert report.is_supported
    assert report.factors[0].at == {"X": 1}


@pytest.fixture
def numbers(generator):
    """Z -> X -> Y <- Z: X is a number, and beyond 1 only where Z is 1."""
    z = torch.randint(2, (4000,), generator=generator)
    x = torch.randn(4000, generator=generator)
    x = torch.where((x > 1) & (z == 0), -x, x) + 0.15
    y = x + z + torch.randn(4000, generator=generator)
    variables = {"Z": Categorical([0, 1]), "X": Continuous(), "Y": Continuous.of(y)}
    pipe = CausalPipeline.from_graph(BACK_DOOR, variables)
    return pipe, {"Z": z, "X": x, "Y": y}


@pytest.mark.parametrize(
    ("x", "verdict"),
    [(0, "supported"), (-0.5, "supported"), (1.9, "unsupported"), (500, "unsupported")],
)
def test_a_number_is_judged_by_the_rows_near_it(numbers, x, verdict):
    pipe, rows = numbers
    report = diagnose(pipe, Query.ask(pipe.graph, "Y", do={"X": x}), rows)
    entry = report["P(Y | X, Z)"]
    assert entry.verdict == verdict, str(report)
    assert entry.at == {"X": f"near {x}"}
    if x == 1.9:  # there are rows, but none with Z = 0
        assert 0.3 < entry.missing < 0.7
    if x == 500:
        assert entry.missing > 0.99


def test_of_several_numbers_the_worst_is_said(numbers):
    pipe, rows = numbers
    report = diagnose(pipe, Query.ask(pipe.graph, "Y", do={"X": [0.0, 1.9, 0.2]}), rows)
    assert report["P(Y | X, Z)"].at == {"X": "near 1.9"}


def test_just_outside_the_range_is_outside(numbers):
    pipe, rows = numbers
    at = rows["X"].max().item() + 0.01
    dense = {n: torch.cat([v, v[rows["X"].argmax()].repeat(50)]) for n, v in rows.items()}
    report = diagnose(pipe, Query.ask(pipe.graph, "Y", do={"X": at}), dense)
    assert report["P(Y | X, Z)"].missing > 0.99


def test_the_value_of_an_image_is_averaged_over_and_that_is_said(generator):
    pipe = Untrained(ADMG.parse("I -> A"), {"A": [0, 1]}, image="I")
    rows = {"A": [0, 1] * 200, "I": torch.rand(400, 1, 8, 8, generator=generator)}
    query = Query.ask(pipe.graph, "A", do={"I": torch.zeros(1, 8, 8)})
    report = diagnose(pipe, query, rows)
    assert report.averaged == ("I",)
    assert "The value of I that was asked for was not judged" in str(report)
    assert "was not judged" not in str(diagnose(pipe, pipe.graph_estimand("A", "I"), rows))


def test_few_rows_are_thin():
    pipe = make_pipe(BACK_DOOR)
    rows = make_rows([pair for pair in ALL for _ in range(9)] + [(1, 0)], repeats=2)
    entry = diagnose(pipe, pipe.identify("Y", do="X"), rows)["P(Y | X, Z)"]
    assert entry.verdict == "thin"
    assert "too few for a reliable answer" in str(entry)


@pytest.mark.parametrize("seed", range(5))
def test_the_share_is_the_variance_of_the_estimand(seed):
    """The spread of the answer over data sets is what as many rows of one share have."""
    graph = ADMG.parse(BACK_DOOR)
    scm = DiscreteSCM.random(graph, generator=torch.Generator().manual_seed(seed))
    pipe, estimand = make_pipe(BACK_DOOR), make_pipe(BACK_DOOR).identify("Y", do="X")
    rows = scm.sample(40_000, generator=torch.Generator().manual_seed(seed))
    query = Query.ask(graph, "Y", do={"X": 1})
    entry = diagnose(pipe, query, rows)["P(Y | X, Z)"]
    joint = scm.joint()
    p_z, p_y = joint.sum((1, 2)), joint / joint.sum(2, keepdims=True)
    given_z = (p_z**2 * p_y[:, 1].prod(1) / joint[:, 1].sum(1)).sum()  # of P(y | x, z) alone
    bound = 0.25 / entry.effective_share
    assert given_z <= bound * 1.02
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(4000, joint.ravel(), size=400).reshape(-1, 2, 2, 2)
    answers = [estimand.evaluate(draw, graph.variables).at({"X": 1}).values[1] for draw in draws]
    spread = np.var(answers) * 4000
    prior = (p_z * (p_y[:, 1, 1] - (p_z * p_y[:, 1, 1]).sum()) ** 2).sum()  # of P(z)
    assert spread == pytest.approx(given_z + prior, rel=0.25)


@pytest.mark.parametrize(("slips", "is_supported"), [(0.3, True), (0.0, False)])
def test_an_image_that_reveals_its_cause(slips, is_supported):
    graph = ADMG.parse("D -> I -> A; D <-> A")
    system = FrontDoorDigits(slips)
    rows = system.sample(4000, generator=torch.Generator().manual_seed(0))
    pipe = Untrained(graph, {"D": range(10), "A": [0, 1]}, image="I")
    report = diagnose(pipe, pipe.graph_estimand("A", "D"), {n: rows[n] for n in "DIA"})
    assert report.is_supported is is_supported
    entry = report["P(A | D, I)"]
    if slips:
        assert entry.missing < 0.02
        assert entry.revealed < 0.1
    else:
        assert entry.missing > 0.5
        assert "I tells D almost surely" in str(report)


class Untrained:
    """What `diagnose` needs of a pipeline, without a pretrained base for its image."""

    def __init__(self, graph, labels, image):
        self.graph = graph
        self.variables = {n: Categorical(list(v)) for n, v in labels.items()}
        self.variables[image] = Image(1, 8, 8)

    def graph_estimand(self, outcome, do):
        return Query.ask(self.graph, outcome, do).estimand(self.graph)


def test_an_image_that_is_asked_for_needs_no_classifier(generator):
    pipe = Untrained(ADMG.parse("D -> I"), {"D": [0, 1]}, image="I")
    rows = {"D": [0, 1] * 200, "I": torch.rand(400, 1, 8, 8, generator=generator)}
    (entry,) = diagnose(pipe, pipe.graph_estimand("I", "D"), rows).factors
    assert (entry.factor, entry.verdict) == ("P(I | D)", "supported")


def test_what_the_graph_refuses_is_refused():
    pipe = make_pipe("X -> Y; X <-> Y")
    with pytest.raises(NotIdentifiableError):
        diagnose(pipe, Query.ask(pipe.graph, "Y", do="X"), {"X": [0], "Y": [0]})


def test_too_many_values_are_refused():
    many = Categorical(range(300))
    pipe = CausalPipeline.from_graph("X -> Y", {"X": many, "Y": Categorical([0, 1])})
    with pytest.raises(ValueError, match="got 300 of them, more than 256"):
        diagnose(pipe, pipe.identify("Y", do="X"), {"X": [0, 1], "Y": [0, 1]})


def test_an_entry_of_images_says_the_way_out():
    entry = FactorOverlap(
        "P(A | D, I)", ("D", "I"), {"D": 3}, 0.01, 90.0, 0.8, (), "unsupported", ("I",), 0.97
    )
    assert str(entry) == (
        "P(A | D, I): unsupported (worst at D=3). I tells D almost surely (p > .99 in 97 % of the "
        "rows): the estimand averages P(A | D, I) over values of D that never occur with that I, "
        "and 80 % of the answer rests on them. Collect rows in which the same I comes with other "
        "values of D, intervene on D, or observe a variable through which the effect passes and "
        "that tells less."
    )


def test_rows_of_experiments_do_not_count():
    pipe, rows = make_pipe(BACK_DOOR), make_rows([(0, 0), (0, 1), (1, 1)])
    extra = make_rows([(1, 0)])
    mixed = {name: rows[name] + extra[name] for name in "ZXY"}
    mixed["intervened"] = [""] * len(rows["Z"]) + ["X"] * len(extra["Z"])
    query = pipe.identify("Y", do="X")
    assert str(diagnose(pipe, query, mixed)) == str(diagnose(pipe, query, rows))

"""A structural causal model checks what it is made of, and samples only what is needed."""

import pytest
import torch

from causal_diffusers import (
    ADMG,
    Categorical,
    CategoricalMechanism,
    Confounder,
    ConfounderPrior,
    GraphError,
    Image,
    ShapeError,
    StructuralCausalModel,
)
from causal_diffusers.mechanisms import Mechanism
from causal_diffusers.scm import Units
from exact import ExactModel

TWO = Categorical([0, 1])


def model(text="X -> M -> Y; X <-> Y", **options):
    graph = ADMG.parse(text)
    return StructuralCausalModel(
        graph,
        dict.fromkeys(graph.variables, TWO),
        {name: CategoricalMechanism() for name in graph.variables},
        **options,
    )


class Recorder(Mechanism):
    """Remember what it was asked for; make zeros."""

    def __init__(self):
        super().__init__()
        self.register_to_config(variable=None, parents=None, confounders=None)
        self.seen = []

    def sample(self, parents, confounders, *, num_samples, generator, options):
        self.seen.append((parents, confounders, num_samples, generator.initial_seed(), options))
        return torch.zeros(num_samples, dtype=torch.int64)

    def _check_signature(self, variable, parents, confounders):
        if parents and not confounders:
            raise ValueError("cannot have parents alone.")

    def _build(self):
        self.weight = torch.nn.Parameter(torch.zeros(1))


def test_units_are_taken_by_row_and_twice_if_asked():
    units = Units(7, 3, {"X": torch.arange(3)}, {"U": torch.arange(6.0).view(3, 2)})
    taken = units.take(torch.tensor([2, 0, 2, 2]))
    assert (taken.seed, taken.num_samples) == (7, 4)
    assert taken.values["X"].tolist() == [2, 0, 2, 2]
    assert taken.confounders["U"][:, 0].tolist() == [4, 0, 4, 4]


def test_a_mechanism_sees_its_parents_and_confounders_by_name():
    recorder, graph = Recorder(), ADMG.parse("X -> M -> Y; X <-> Y")
    scm = StructuralCausalModel(
        graph,
        dict.fromkeys(graph.variables, TWO),
        {"X": CategoricalMechanism(), "M": CategoricalMechanism(), "Y": recorder},
        {"U_X_Y": Confounder(dim=3)},
    )
    values = scm.sample(5)
    ((parents, confounders, number, _, _),) = recorder.seen
    assert torch.equal(parents["M"], values["M"])
    assert set(parents) == {"M"}
    assert confounders["U_X_Y"].shape == (5, 3)
    assert number == 5


def test_every_variable_reads_a_stream_of_its_own():
    one, two = Recorder(), Recorder()
    scm = StructuralCausalModel(ADMG.parse("X; Y"), {"X": TWO, "Y": TWO}, {"X": one, "Y": two})
    scm.sample(1, generator=torch.Generator().manual_seed(0))
    scm.sample(1, generator=torch.Generator().manual_seed(0))
    scm.sample(1, generator=torch.Generator().manual_seed(1))
    seeds = [[seen[3] for seen in recorder.seen] for recorder in (one, two)]
    assert seeds[0][0] == seeds[0][1]
    assert len({*seeds[0], *seeds[1]}) == 4


@pytest.mark.parametrize(
    ("outcomes", "do", "sampled"),
    [
        (None, {}, {"X", "M", "Y", "Z"}),
        (["M"], {}, {"X", "M"}),
        (["Y"], {"M": 1}, {"Y"}),
        (["M"], {"M": 1}, set()),
        (["Z"], {"X": 0}, {"Z"}),
        ([], {}, set()),
    ],
)
def test_only_ancestors_of_the_outcomes_are_sampled(outcomes, do, sampled):
    graph = ADMG.parse("X -> M -> Y; X <-> Y; Z")
    recorders = {name: Recorder() for name in graph.variables}
    recorders["M"] = CategoricalMechanism()
    scm = StructuralCausalModel(graph, dict.fromkeys(graph.variables, TWO), recorders)
    values = scm.sample(2, do=do, outcomes=outcomes)
    assert set(values) == sampled | set(do)
    asked = {name for name, r in recorders.items() if isinstance(r, Recorder) and r.seen}
    assert asked == sampled - {"M"}


def test_the_answer_is_in_topological_order():
    assert list(model("Y <- M; M <- X").sample(1, do={"M": 0})) == ["X", "M", "Y"]


def test_only_confounders_of_sampled_variables_are_drawn():
    scm = model("X -> Y; X <-> Y; Y <-> Z")
    units = scm.extend(Units(0, 4, scm.clamp({"X": 1}, 4, "do")), ["Y"])
    assert set(units.confounders) == {"U_X_Y", "U_Y_Z"}
    assert set(scm.extend(Units(0, 4), ["X"]).confounders) == {"U_X_Y"}


def test_a_finite_confounder_is_drawn_from_its_prior():
    prior = ConfounderPrior(states=3)
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([-30.0, 0.0, -30.0]))
    scm = model(confounders={"U_X_Y": Confounder(states=3)}, priors={"U_X_Y": prior})
    units = scm.with_confounders(Units(0, 50), ["X"])
    assert units.confounders["U_X_Y"].unique().tolist() == [1]


def test_confounders_are_standard_normal_unless_told():
    u = model().with_confounders(Units(0, 20_000), ["X"]).confounders["U_X_Y"]
    assert u.shape == (20_000, 2)
    assert abs(u.mean().item()) < 0.02
    assert abs(u.std().item() - 1) < 0.02


@pytest.mark.parametrize("value", [1, torch.tensor(1), torch.tensor([1]), [1, 1, 1]])
def test_do_takes_one_value_or_one_for_each_sample(value):
    assert model().sample(3, do={"X": value})["X"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("value", [[1, 1], [[1], [1], [1]], []])
def test_do_of_another_shape_is_refused(value):
    with pytest.raises(ShapeError, match='"X" should have one value or one for each of the 3'):
        model().sample(3, do={"X": value})


def test_log_prob_is_that_of_the_mechanism():
    exact = ExactModel("X -> Y; X <-> Y", seed=4)
    scm = exact.scm()
    units = scm.with_confounders(Units(0, 4), ["Y"])
    rows = {"X": torch.tensor([0, 1, 0, 1]), "Y": torch.tensor([0, 0, 1, 1])}
    u = units.confounders["U_X_Y"]
    units = Units(0, 4, rows, units.confounders)
    expected = exact.tables["Y"][rows["X"], u, rows["Y"]].log()
    assert torch.allclose(scm.log_prob("Y", units).double(), expected, atol=1e-4)


def test_a_mechanism_that_only_samples_has_no_log_prob():
    scm = StructuralCausalModel(ADMG.parse("X"), {"X": TWO}, {"X": Recorder()})
    with pytest.raises(ValueError, match='"X" has no likelihood: Recorder can only sample'):
        scm.log_prob("X", Units(0, 1, {"X": torch.zeros(1)}))


def test_a_missing_mechanism_matters_only_if_it_is_needed():
    graph = ADMG.parse("X -> Y; Z")
    scm = StructuralCausalModel(
        graph,
        dict.fromkeys("XYZ", TWO),
        {"Y": CategoricalMechanism(), "Z": CategoricalMechanism()},
    )
    assert set(scm.sample(1, outcomes=["Z"])) == {"Z"}
    assert set(scm.sample(1, do={"X": 1})) == {"X", "Y", "Z"}
    with pytest.raises(ValueError, match=r'"X" has no mechanism, .*`do=\{"X": \.\.\.\}`'):
        scm.sample(1)


def test_an_error_of_binding_names_the_variable():
    with pytest.raises(ValueError, match=r'^"Y": cannot have parents alone\.$'):
        StructuralCausalModel(
            ADMG.parse("X -> Y"),
            {"X": TWO, "Y": TWO},
            {"X": CategoricalMechanism(), "Y": Recorder()},
        )


@pytest.mark.parametrize("graph", ["X -> Y", "X; Y"])
def test_a_mechanism_is_not_shared(graph):
    shared = CategoricalMechanism()
    with pytest.raises(ValueError, match='"X" and "Y" share one CategoricalMechanism') as caught:
        StructuralCausalModel(
            ADMG.parse(graph), dict.fromkeys("XY", TWO), dict.fromkeys("XY", shared)
        )
    assert "{name: CategoricalMechanism(...) for name in names}" in str(caught.value)


def test_a_prior_is_not_shared():
    prior = ConfounderPrior(states=2)
    with pytest.raises(ValueError, match='"U" and "V" share one ConfounderPrior'):
        StructuralCausalModel(
            ADMG.parse("U: X, Y; V: X, Y"),
            dict.fromkeys("XY", TWO),
            {},
            dict.fromkeys("UV", Confounder(states=2)),
            dict.fromkeys("UV", prior),
        )


@pytest.mark.parametrize("what", [CategoricalMechanism, "f", TWO], ids=repr)
def test_what_is_no_mechanism_is_refused(what):
    with pytest.raises(TypeError, match='"X" needs a mechanism: got '):
        StructuralCausalModel(ADMG.parse("X"), {"X": TWO}, {"X": what})


@pytest.mark.parametrize("pixel", [1, torch.nan, torch.inf])
def test_do_takes_floats_for_an_image(pixel):
    scm = StructuralCausalModel(ADMG.parse("I"), {"I": Image(1, 2, 2)}, {})
    with pytest.raises(ValueError, match='"I" takes finite floats'):
        scm.sample(3, do={"I": torch.full((1, 2, 2), pixel)})


@pytest.mark.parametrize("code", [7, -1, 1.0, True, [0, 1, 2], torch.tensor(0.5)], ids=repr)
def test_do_takes_codes(code):
    with pytest.raises(ValueError, match=r'"X" takes codes, integers in 0\.\.1: got'):
        model().sample(3, do={"X": code})


@pytest.mark.parametrize(
    ("confounder", "prior"),
    [
        (Confounder(states=3), None),
        (Confounder(states=3), ConfounderPrior(states=4)),
        (Confounder(dim=3), ConfounderPrior(states=3)),
    ],
)
def test_a_finite_confounder_needs_its_prior(confounder, prior):
    priors = {} if prior is None else {"U_X_Y": prior}
    with pytest.raises(ValueError, match=r'confounder "U_X_Y" has .* states and its prior'):
        model(confounders={"U_X_Y": confounder}, priors=priors)


def test_names_must_be_those_of_the_graph():
    graph = ADMG.parse("X; Y")
    with pytest.raises(GraphError, match=r"`variables` must describe each of the graph's: .* Y"):
        StructuralCausalModel(graph, {"X": TWO}, {})
    with pytest.raises(GraphError, match="`mechanisms` must name variables of the graph"):
        StructuralCausalModel(graph, dict.fromkeys("XY", TWO), {"Z": CategoricalMechanism()})
    with pytest.raises(GraphError, match='`do` must name variables of the graph: got "Z"'):
        model().sample(1, do={"Z": 1})
    with pytest.raises(GraphError, match='`outcomes` must name variables of the graph: got "Z"'):
        model().sample(1, outcomes=["Z"])


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="`num_samples` must be an integer of at least 1: got 0"):
        model().sample(0)

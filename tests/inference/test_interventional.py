"""Draws under do and given agree with exact enumeration."""

import dataclasses

import pytest
import torch

from causal_diffusers.inference import sample
from causal_diffusers.mechanisms import Mechanism
from causal_diffusers.scm import StructuralCausalModel, Units
from causal_diffusers.variables import Categorical, Image
from exact import ExactModel, tvd

CHAIN = "X -> M -> Y; X <-> Y"
GRAPHS = {
    "front-door": CHAIN,
    "bow": "X -> Y; X <-> Y",
    "collider": "A -> C <- B; A -> D; C -> E",
    "napkin": "R -> W -> X -> Y; R <-> X; R <-> Y",
    "three": "X -> Y -> Z; U: X, Y, Z",
}
N = 4000


@pytest.fixture(params=GRAPHS, ids=str)
def model(request):
    return ExactModel(GRAPHS[request.param], seed=3, values=2, states=3)


def queries(graph):
    """Every single outcome under every single do and every single condition."""
    names = [None, *graph.variables]
    for do in names:
        for given in names:
            for outcome in graph.variables:
                if len({do, given, outcome} - {None}) == 1 + (do is not None) + (
                    given is not None
                ):
                    yield outcome, {do: 1} if do else {}, {given: 0} if given else {}


def drawn(answer, outcome, values=2):
    codes = answer.units.values[outcome]
    return torch.bincount(codes, minlength=values).double() / len(codes)


def test_the_exact_mechanisms_are_exact(model):
    scm = model.scm()
    for name in model.graph.variables:
        for row in [(0,) * len(model.inputs(name)), (1,) * len(model.inputs(name))]:
            inputs = dict(zip(model.inputs(name), map(torch.tensor, row), strict=True))
            parents = {p: inputs[p][None] for p in model.graph.parents(name)}
            confounders = {u: inputs[u][None] for u in model.graph.confounders_of(name)}
            probabilities = scm.mechanisms[name].probabilities(parents, confounders, num_samples=1)
            assert torch.allclose(probabilities[0].double(), model.tables[name][row], atol=1e-5)


def test_every_query_agrees_with_enumeration(model):
    scm, generator = model.scm(), torch.Generator().manual_seed(0)
    worst = 0.0
    for outcome, do, given in queries(model.graph):
        answer = sample(
            scm,
            N,
            outcomes=[outcome],
            do={n: torch.tensor(v) for n, v in do.items()},
            given={n: torch.tensor(v) for n, v in given.items()},
            generator=generator,
            pool_size=20 * N,
        )
        truth = model.probability(outcome, do, given)
        worst = max(worst, tvd(drawn(answer, outcome), truth))
        if outcome in answer.probabilities:
            assert tvd(answer.probabilities[outcome].double().mean(0), truth) < 0.03
    assert worst < 0.035


def test_ignoring_the_weights_would_be_seen():
    model = ExactModel("A -> C <- B", seed=3, states=3)
    evidence = model.probability("A", given={"C": 0, "B": 1})
    assert tvd(evidence, model.probability("A")) > 0.04


def test_probabilities_average_to_the_answer_with_less_noise():
    model = ExactModel(CHAIN, seed=1)
    errors = {"drawn": [], "averaged": []}
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        answer = sample(model.scm(), 200, do={"X": torch.tensor(1)}, generator=generator)
        truth = model.probability("Y", {"X": 1})
        errors["drawn"].append(tvd(drawn(answer, "Y"), truth))
        errors["averaged"].append(tvd(answer.probabilities["Y"].double().mean(0), truth))
    assert sum(errors["averaged"]) < 0.8 * sum(errors["drawn"])


def test_causes_of_the_evidence_answer_by_the_share_of_the_pool():
    model = ExactModel("X -> M -> Y -> Z; X <-> Y", seed=4, states=3)
    answer = sample(
        model.scm(),
        10,
        given={"Y": torch.tensor(0)},
        generator=torch.Generator().manual_seed(0),
        pool_size=20000,
    )
    assert list(answer.probabilities) == ["X", "M", "Z"]
    for name in "XM":
        averaged = answer.probabilities[name]
        assert averaged.shape == (10, 2)
        assert (averaged == averaged[0]).all()
        assert tvd(averaged[0].double(), model.probability(name, given={"Y": 0})) < 0.015
        assert tvd(averaged[0].double(), model.probability(name)) > 0.0175


def test_probabilities_are_those_of_the_outcomes():
    scm = ExactModel("X -> Y -> Z").scm()
    answer = sample(scm, 10, outcomes=["X"], given={"Y": torch.tensor(0)})
    assert set(answer.probabilities) == {"X"}
    answer = sample(scm, 10, do={"X": torch.tensor(0)}, outcomes=["Z"])
    assert set(answer.probabilities) == {"Z"}
    assert answer.probabilities["Z"].shape == (10, 2)


def test_each_row_answers_its_own_query():
    model = ExactModel("X -> M -> Y; X <-> Y; M -> Z", seed=2)
    rows = torch.arange(2).repeat(N)
    answer = sample(
        model.scm(),
        2 * N,
        do={"X": rows},
        given={"Z": 1 - rows},
        generator=torch.Generator().manual_seed(0),
    )
    for value in range(2):
        mine = answer.units.values["M"][rows == value]
        truth = model.probability("M", {"X": value}, {"Z": 1 - value})
        assert tvd(torch.bincount(mine, minlength=2) / N, truth) < 0.03
        averaged = answer.probabilities["M"][rows == value]
        assert (averaged == averaged[0]).all()
        assert tvd(averaged[0].double(), truth) < 0.02
    assert torch.equal(answer.units.values["X"], rows)
    assert torch.equal(answer.units.values["Z"], 1 - rows)


def test_without_given_the_draws_are_those_of_the_model():
    scm = ExactModel(CHAIN).scm()
    one = sample(scm, 50, do={"M": torch.tensor(1)}, generator=torch.Generator().manual_seed(5))
    two = scm.sample(50, do={"M": torch.tensor(1)}, generator=torch.Generator().manual_seed(5))
    assert one.effective_sample_size is None
    assert set(one.units.values) == set(two)
    assert all(torch.equal(one.units.values[name], two[name]) for name in two)


def test_effective_size_is_the_pool_where_the_evidence_says_nothing():
    scm = ExactModel("X; Y").scm()
    answer = sample(scm, 30, given={"X": torch.tensor(0)})
    assert answer.effective_sample_size == pytest.approx(1000)
    answer = sample(scm, 30, given={"X": torch.tensor(0)}, pool_size=200)
    assert answer.effective_sample_size == pytest.approx(200)


def test_a_thin_pool_warns_with_the_remedy():
    model = ExactModel("X -> Y", values=2)
    model.tables["X"] = torch.tensor([0.999, 0.001], dtype=torch.float64)
    model.tables["Y"] = torch.tensor([[1 - 1e-6, 1e-6], [0.5, 0.5]], dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"effective draws of a pool of 2000: .* `pool_size`"):
        sample(
            model.scm(),
            100,
            given={"Y": torch.tensor(1)},
            generator=torch.Generator().manual_seed(0),
        )


def test_many_thin_rows_warn_once():
    model = ExactModel("X -> Y; Z")
    model.tables["X"] = torch.tensor([0.999, 0.001], dtype=torch.float64)
    model.tables["Y"] = torch.tensor([[1 - 1e-6, 1e-6], [0.5, 0.5]], dtype=torch.float64)
    with pytest.warns(UserWarning, match="effective draws") as caught:
        sample(
            model.scm(),
            40,
            do={"Z": torch.arange(2).repeat(20)},
            given={"Y": torch.tensor(1)},
            generator=torch.Generator().manual_seed(0),
        )
    assert len(caught) == 1


def test_impossible_evidence_is_refused():
    model = ExactModel("X -> Y")
    scm = model.scm()
    with torch.no_grad():
        scm.mechanisms["Y"].network[-1].bias.copy_(torch.tensor([0.0, -torch.inf]))
    with pytest.raises(ValueError, match=r"`given` must be possible: .* values of Y"):
        sample(scm, 5, given={"Y": torch.tensor(1)})


class Painter(Mechanism):
    """An image mechanism that counts how many images it was asked for."""

    painted = 0

    def __init__(self):
        super().__init__()
        self.register_to_config(variable=None, parents=None, confounders=None)
        self.dot = torch.nn.Parameter(torch.zeros(1))

    def sample(self, parents, confounders, *, num_samples, generator, options):
        self.painted += num_samples
        return torch.randn(num_samples, *self.variable.shape, generator=generator).clamp(-1, 1)

    def _check_signature(self, variable, parents, confounders):
        pass

    def _build(self):
        pass


def painted_model():
    exact = ExactModel("X -> Y")
    graph = exact.graph.from_edges([("X", "Y"), ("X", "I")])
    scm = exact.scm()
    two = Categorical(range(2))
    return StructuralCausalModel(
        graph, {"X": two, "Y": two, "I": Image(1, 2, 2)}, {**scm.mechanisms, "I": Painter()}
    )


def test_images_are_made_only_for_the_units_that_are_kept():
    scm = painted_model()
    answer = sample(scm, 7, given={"Y": torch.tensor(1)})
    assert scm.mechanisms["I"].painted == 7
    assert answer.units.values["I"].shape == (7, 1, 2, 2)


def test_images_that_no_outcome_needs_are_never_made():
    scm = painted_model()
    sample(scm, 7, outcomes=["X"], given={"Y": torch.tensor(1)})
    sample(scm, 7, outcomes=["Y"], do={"X": torch.tensor(1)})
    assert scm.mechanisms["I"].painted == 0


def test_conditioning_on_an_image_is_refused():
    with pytest.raises(ValueError, match=r'the image "I"\. .* `do=\{"I": image\}`'):
        sample(painted_model(), 7, given={"I": torch.zeros(1, 2, 2)})


def test_a_variable_is_intervened_on_or_conditioned_on():
    zero = torch.tensor(0)
    with pytest.raises(ValueError, match='must differ: got "X" in both'):
        sample(painted_model(), 7, do={"X": zero}, given={"X": zero})


@pytest.mark.parametrize("number", [0, -1, 2.5, True, "3"])
def test_numbers_of_draws_are_positive_integers(number):
    with pytest.raises(ValueError, match="`num_samples` must be an integer of at least 1: got"):
        sample(painted_model(), number)
    with pytest.raises(ValueError, match="`pool_size` must be an integer of at least 1: got"):
        sample(painted_model(), 3, given={"Y": torch.tensor(1)}, pool_size=number)


def test_the_callback_hears_of_every_sampled_variable():
    heard = {}
    sample(
        ExactModel("X -> Y -> Z").scm(),
        9,
        given={"Y": torch.tensor(1)},
        on_variable_end=lambda name, values: heard.update({name: len(values)}),
    )
    assert heard == {"X": 9, "Z": 9}


def test_an_image_in_do_is_not_copied_into_the_pool():
    scm = painted_model()
    image = torch.zeros(1, 2, 2)
    answer = sample(scm, 40, do={"I": image}, given={"Y": torch.tensor(1)})
    assert answer.units.values["I"].stride(0) == 0


class Watched(ExactModel):
    """A model whose mechanisms note how many rows they were asked about."""

    def scm(self):
        scm, self.rows = super().scm(), []
        for mechanism in scm.mechanisms.values():
            mechanism.from_parents.register_forward_pre_hook(
                lambda _, inputs: self.rows.append(len(inputs[0]))
            )
        return scm


def test_one_pool_is_weighed_at_a_time():
    model = Watched("X -> M -> Y; Z", seed=2)
    rows = torch.arange(2).repeat(30)
    sample(model.scm(), 60, do={"Z": rows}, given={"Y": torch.tensor(1)}, outcomes=["M"])
    assert max(model.rows) == 1000


def test_nothing_is_pooled_where_nothing_is_sampled_to_weigh():
    model = Watched("X -> Z; Z -> Y", seed=2)
    rows = torch.arange(2).repeat(N)
    do, given = {"X": rows}, {"Z": torch.tensor(1)}
    answer = sample(model.scm(), 2 * N, do=do, given=given, outcomes=["Z"], pool_size=10**9)
    assert max(model.rows) == 1
    assert answer.effective_sample_size == pytest.approx(10**9 / 2)
    answer = sample(model.scm(), 2 * N, do=do, given=given, outcomes=["Y"])
    share = torch.bincount(answer.units.values["Y"], minlength=2) / (2 * N)
    assert tvd(share, model.probability("Y", {"X": 0}, {"Z": 1})) < 0.03


@pytest.mark.parametrize("graph", ["X -> Y", "X -> Y; A <-> Y", "X -> Y; A -> Y"])
def test_a_fixed_parent_is_read_once(graph):
    """What is weighed by one row of fixed parents equals what each row says."""
    model = ExactModel(graph, seed=5, states=3)
    scm = model.scm()
    units = Units(0, 50, {"X": torch.tensor(1).expand(50), "Y": torch.tensor(0).expand(50)})
    units = scm.with_confounders(scm.extend(units, "A" if "A" in graph else ""), ["Y"])
    copied = dataclasses.replace(units, values={n: v.clone() for n, v in units.values.items()})
    torch.testing.assert_close(scm.log_prob("Y", units), scm.log_prob("Y", copied))


def test_rows_that_ask_different_queries_are_independent():
    """Pools of their own have noise of their own, whatever the order of the rows."""
    model = ExactModel("X -> M -> Y; Z", seed=2)
    rows = torch.tensor([1, 0] * N)
    answer = sample(
        model.scm(),
        2 * N,
        do={"Z": rows},
        given={"Y": torch.tensor(1)},
        generator=torch.Generator().manual_seed(1),
    )
    assert torch.equal(answer.units.values["Z"], rows)
    m = answer.units.values["M"].double()
    assert abs(torch.corrcoef(torch.stack([m[::2], m[1::2]]))[0, 1]) < 0.06

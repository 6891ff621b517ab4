"""What a model says given the past: by Bayes, with what is set by hand left out."""

import pytest
import torch

from causal_diffusers import (
    Categorical,
    CausalPipeline,
    Confounder,
    Continuous,
    DiffusionMechanism,
    GANMechanism,
    Image,
)
from causal_diffusers.training.past import Past
from exact import ExactModel
from tiny import make_tiny_base, make_tiny_gan, shake

GRAPH = "D -> W -> A; D <-> A"


@pytest.fixture(scope="module")
def model():
    return ExactModel(GRAPH, seed=4, values=3)


def pipe_of(model):
    scm = model.scm()
    pipe = CausalPipeline.from_graph(
        scm.graph, scm.variables, scm.mechanisms, confounders=scm.confounders
    )
    for name, prior in pipe.scm.priors.items():
        prior.load_state_dict(scm.priors[name].state_dict())
    return pipe


def grid():
    d, w = torch.tensor([0, 1, 2]), torch.tensor([2, 0, 1])
    return {"D": d, "W": w, "A": torch.zeros(3).long()}


def test_probabilities_are_those_of_enumeration(model):
    """Q[D] gives P(a | d, w), in which D and A share a confounder."""
    past = Past(pipe_of(model), "A", grid())
    assert past.before == ("D",)
    assert past.given == ("D", "W")
    found = past.probabilities()
    for i in range(3):
        at = {name: int(values[i]) for name, values in grid().items() if name != "A"}
        assert torch.allclose(found[i], model.probability("A", given=at), atol=1e-4)


def test_what_was_set_by_hand_tells_nothing_of_the_confounder(model):
    past = Past(pipe_of(model), "A", {**grid(), "do(D)": torch.ones(3).long()})
    assert past.masks == ("do(D)",)
    found = past.probabilities()
    for i in range(3):
        at = {name: int(values[i]) for name, values in grid().items() if name != "A"}
        assert torch.allclose(found[i], model.probability("A", do=at), atol=1e-4)


def test_draws_are_those_of_the_probabilities(model):
    past = Past(pipe_of(model), "A", grid())
    drawn = past.draw(20_000)
    assert drawn.shape == (20_000, 3)
    shares = torch.stack([(drawn == k).double().mean(dim=0) for k in range(3)], dim=1)
    assert torch.allclose(shares, past.probabilities(), atol=0.02)
    assert torch.equal(past.draw(5), past.draw(5))


def test_a_number_says_which_state_it_came_from():
    """X is near -1 or 1 as the state says, and so is Y: Y given X is what X shows."""
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(
        "X; Y; X <-> Y",
        {"X": Continuous(), "Y": Continuous()},
        confounders={"U_X_Y": Confounder(states=2)},
    )
    shake(pipe.components.values())
    values = pipe.scm.sample(4000, generator=torch.Generator().manual_seed(0))
    drawn = Past(pipe, "Y", values).draw()[0]

    def moment(y):
        return (values["X"] * y).mean().item()

    assert moment(drawn) == pytest.approx(moment(values["Y"]), abs=0.15)


def test_rows_in_which_it_was_set_are_left_out(model):
    past = Past(pipe_of(model), "A", {**grid(), "do(A)": torch.tensor([1, 0, 1])})
    assert len(past.free()) == 1
    assert past.free().values["D"].tolist() == [1]


@pytest.mark.gpu
@pytest.mark.parametrize("moved", ["A", "D", "prior", "all"])
def test_components_may_live_on_several_devices(model, device, moved):
    pipe, values = pipe_of(model), {**grid(), "do(D)": torch.tensor([0, 1, 0])}
    here = Past(pipe, "A", values)
    p, drawn = here.probabilities(), here.draw(50)
    components = {**pipe.components, "prior": next(iter(pipe.scm.priors.values()))}
    for name in components if moved == "all" else [moved]:
        torch.nn.Module.to(components[name], device)
    there = Past(pipe, "A", values)
    torch.testing.assert_close(there.probabilities(), p, atol=1e-6, rtol=0)
    assert (there.draw(50) == drawn).double().mean() > 0.9


def test_a_gan_cannot_be_in_a_past(tmp_path):
    """It is left out where nothing listens to it, and else nothing is known."""
    two, picture = Categorical([0, 1]), Image(1, 8, 8)
    for graph, known in (("I; L; I <-> L", True), ("I -> L; I <-> L", False)):
        pipe = CausalPipeline.from_graph(
            graph,
            {"I": picture, "L": two},
            {"I": GANMechanism.from_pretrained(make_tiny_gan(tmp_path / "gan"))},
        )
        values = {"I": torch.zeros(3, 1, 8, 8), "L": torch.zeros(3).long()}
        past = Past(pipe, "L", values)
        assert past.before == ()
        assert past.is_known is known
        assert Past(pipe, "I", values).is_known


def test_a_confounded_image_is_known_by_its_code(tmp_path):
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(
        "I; L; I <-> L",
        {"I": Image(1, 8, 8), "L": Categorical([0, 1])},
        {"I": DiffusionMechanism.from_pretrained(make_tiny_base(tmp_path), rank=2, codes=4)},
        confounders={"U_I_L": Confounder(states=3)},
    )
    shake(pipe.components.values())
    images = 2 * torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 1
    values = {"I": images, "L": torch.zeros(6).long()}
    past = Past(pipe, "L", values)
    mechanism, prior = pipe.mechanisms["I"], pipe.scm.priors["U_I_L"].log_weights().exp()
    states, codes = {"U_I_L": torch.arange(3)}, mechanism.reader.read(images)
    p_code = mechanism.head.probabilities({}, states)[:, codes].T  # (row, u)
    weights = prior * p_code
    p_label = pipe.mechanisms["L"].probabilities({}, states)  # (u, l)
    truth = weights @ p_label / weights.sum(1, keepdim=True)
    assert torch.allclose(past.probabilities(), truth.double(), atol=1e-5)
    assert torch.equal(past.codes()[0], codes)
    assert Past(pipe, "I", values).probabilities().shape == (6, 4)
    assert Past(pipe, "I", values).draw(2).shape == (2, 6, 1, 8, 8)

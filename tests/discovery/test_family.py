"""What tasks share is learned from their data, and survives being written down."""

import json

import pytest
import torch

from causal_diffusers.discovery import Family
from causal_diffusers.discovery.edges import pair_probabilities
from causal_diffusers.systems import LinearFamily
from discovery.dags import has_cycle

NAMES = ("A", "B", "C", "D")
CHANCES = [[0, 0.6, 0.3, 0], [0, 0, 0.9, 0.2], [0, 0, 0, 0.5], [0, 0, 0, 0]]
SHARED = Family("order-consistent", CHANCES, 0.7, (8, 20), NAMES)
GENERAL = Family("general", (0.2 * (1 - torch.eye(4))).tolist(), 2.0, (8, 20))


def fit(setting, tasks, guess=None):
    names = [f"V{k}" for k in range(tasks[0].shape[1])]
    return Family.fit(
        tasks, setting, names, guess=guess, generator=torch.Generator().manual_seed(0)
    )


def drawn(setting, seed, deviation=0.5, count=150, n=25):
    family = LinearFamily(5, 5, setting, deviations=(deviation, deviation), seed=seed)
    return family, family.sample(count, n, generator=torch.Generator().manual_seed(seed))


def test_a_shared_order_is_learned_in_the_units_of_the_data():
    truth, tasks = drawn("order-consistent", 3)
    family = fit("order-consistent", list(tasks.data * 100))
    place = truth.order.argsort()
    assert torch.equal(family.possible, place[:, None] < place[None, :])
    assert family.deviation == pytest.approx(50, rel=0.1)
    assert family.variables == ("V0", "V1", "V2", "V3", "V4")
    assert family.samples == (25, 25)
    assert family.knows_noise


def test_a_shared_graph_is_learned():
    _, tasks = drawn("heterogeneous", 4)
    family = fit("heterogeneous", list(tasks.data))
    assert torch.equal(family.matrix > 0.5, tasks.graphs[0])


def test_the_tasks_of_a_family_may_differ_in_size():
    _, tasks = drawn("heterogeneous", 4)
    family = fit("heterogeneous", [x[: 20 + k % 6] for k, x in enumerate(tasks.data)])
    assert family.samples == (20, 25)
    assert torch.equal(family.matrix > 0.5, tasks.graphs[0])


def test_a_general_family_has_a_density_and_no_names():
    _, tasks = drawn("general", 0, count=20)

    def guess(data):
        assert data.shape == (1, 25, 5)
        return 0.15 * (1 - torch.eye(5)).expand(1, 5, 5)

    family = fit("general", list(tasks.data), guess)
    assert family.variables is None
    assert not family.knows_noise
    torch.testing.assert_close(family.matrix, 0.15 * (1 - torch.eye(5)))


@pytest.mark.parametrize("family", [SHARED, GENERAL], ids=["shared", "general"])
def test_odds_give_the_chances_back(family):
    odds = torch.where(family.possible, family.odds(), -torch.inf)
    torch.testing.assert_close(pair_probabilities(odds[None])[0], family.matrix)


@pytest.mark.parametrize("family", [SHARED, GENERAL], ids=["shared", "general"])
def test_a_family_dreams_of_itself(family):
    generator = torch.Generator().manual_seed(0)
    dreams = [family.dream(generator) for _ in range(60)]
    graphs = torch.cat([dream.tasks.graphs for dream in dreams]).double()
    error = 4 * (0.25 / len(graphs)) ** 0.5
    torch.testing.assert_close(graphs.mean(dim=0).float(), family.matrix, atol=error, rtol=0)
    sizes = {dream.tasks.data.shape[1] for dream in dreams}
    assert min(sizes) >= 8
    assert max(sizes) <= 20
    assert not any(has_cycle(graph) for graph in graphs[:50])
    dream = dreams[0]
    weights = torch.cat([d.tasks.weights for d in dreams])
    assert 0.5 <= weights[weights != 0].abs().min() <= weights.abs().max() <= 2
    assert torch.equal(dream.possible[0], family.possible)
    assert bool(dream.knows_prior.all())
    assert bool(dream.summary.knows_noise.all()) == family.knows_noise
    residuals = torch.cat(
        [(d.tasks.data - d.tasks.data @ d.tasks.weights).flatten() for d in dreams]
    )
    assert residuals.std().item() == pytest.approx(family.deviation, rel=0.02)


@pytest.mark.parametrize("family", [SHARED, GENERAL], ids=["shared", "general"])
def test_a_family_survives_json(family):
    again = Family.from_dict(json.loads(json.dumps(family.to_dict())))
    assert again == Family.from_dict(again.to_dict())
    assert again.to_dict() == family.to_dict()
    assert torch.equal(again.matrix, family.matrix)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"setting": "shared"}, r"`setting` is one of \['heterogeneous'.*: got 'shared'"),
        ({"chances": [[0.0, 0.5]]}, r"`chances` is a square matrix: got shape \(1, 2\)"),
        ({"chances": [[0.0, 1.0], [0, 0]]}, r"`chances` are in \[0, 1\)"),
        ({"chances": [[0.0, -0.1], [0, 0]]}, r"`chances` are in \[0, 1\)"),
        ({"chances": [[0.0, float("nan")], [0, 0]]}, r"`chances` are in \[0, 1\)"),
        ({"deviation": 0.0}, "`deviation` is positive"),
        ({"deviation": float("nan")}, "`deviation` is positive"),
        ({"samples": (1, 5)}, r"`samples` is a range, from at least 2: got \(1, 5\)"),
        ({"samples": (9, 5)}, "`samples` is a range"),
        ({"variables": ["A", "B"]}, r"`variables` names 4: got \['A', 'B'\]"),
        ({"variables": ["A", "B", "C", "A"]}, "`variables` names 4"),
        ({"more": 1}, "this is no family of tasks"),
        ({"samples": (1, 2, 3)}, "this is no family of tasks"),
        ({"chances": "many"}, "this is no family of tasks"),
        ({"variables": ...}, "this is no family of tasks"),
        ({"deviation": ...}, "this is no family of tasks"),
    ],
    ids=str,
)
def test_what_describes_no_family_is_refused(change, message):
    record = {**SHARED.to_dict(), **change}
    with pytest.raises(ValueError, match=message):
        Family.from_dict({key: value for key, value in record.items() if value is not ...})


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match=r"`setting` is one of .*'general'.*: got 'mixed'"):
        fit("mixed", [torch.randn(5, 3)])

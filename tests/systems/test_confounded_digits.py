"""Rows of confounded digits are those of the tables, and the truth is an exact sum."""

import itertools

import pytest
import torch

from causal_diffusers.graphs import identify
from causal_diffusers.systems import ConfoundedDigits
from causal_diffusers.variables import Categorical, Image

pytest.importorskip("sklearn")

CASES = {"L": ConfoundedDigits.with_label, "J": ConfoundedDigits.with_image}


@pytest.fixture(params=CASES)
def system(request):
    return CASES[request.param]()


def test_the_truth_is_the_sum_over_the_hidden_cause(system):
    x, image, partner = system.graph.variables
    tables, prior = system.scm.tables, system.scm.priors["U"]
    truth = system.joint()
    for i, j, k in itertools.product(*map(range, truth.shape)):
        terms = (
            prior[u] * tables[x][i] * tables[image][i, u, j] * tables[partner][i, u, k]
            for u in range(4)
        )
        assert abs(sum(terms) - truth[i, j, k].item()) < 1e-12


def test_rows_have_the_joint_of_the_tables(system):
    rows = system.sample(20_000, generator=torch.Generator().manual_seed(0))
    read = [
        system.read(n, rows[n][:3000]) if n in system.digits else rows[n][:3000]
        for n in system.graph.variables
    ]
    truth, found = system.joint(), torch.zeros(2, 5, 5, dtype=torch.double)
    found.index_put_(tuple(read), torch.tensor(1 / 3000, dtype=torch.double), accumulate=True)
    sizes = tuple(map(slice, truth.shape))
    assert (found[sizes] - truth).abs().sum() / 2 < 0.06
    assert rows["I"].shape == (20_000, 1, 8, 8)


def test_ignoring_the_confounder_is_far_off(system):
    truth, x = system.joint(), system.joint().sum((1, 2))
    apart = torch.einsum("xc,xp,x->xcp", truth.sum(2), truth.sum(1), 1 / x)
    assert system.ignoring_the_confounder() == pytest.approx(
        ((apart - truth).abs().sum() / 2).item()
    )
    assert system.ignoring_the_confounder() > 0.35


def test_held_out_images_do_not_occur(system):
    rows = system.sample(5000, generator=torch.Generator().manual_seed(1))
    held = {
        tuple(x.flatten().tolist()) for x in system.handwriting.images[system.handwriting.held_out]
    }
    kept = {
        tuple(x.flatten().tolist())
        for x in system.handwriting.images[~system.handwriting.held_out]
    }
    for name in system.digits:
        drawn = {tuple(x.flatten().tolist()) for x in rows[name]}
        assert drawn <= kept
        assert not drawn & (held - kept)


def test_setting_the_partner_leaves_the_image_alone(system):
    _, image, partner = system.graph.variables
    table = system.scm.interventional([image], do=[partner, "X"]).values  # (I, partner, X)
    given = (system.joint().sum(2) / system.joint().sum((1, 2))[:, None]).T.numpy()
    assert abs(table - given[:, None]).max() < 1e-12
    assert "X" in str(identify(system.graph, [image], [partner, "X"]))


def test_variables_are_those_of_the_graph(system):
    variables = system.variables
    assert tuple(variables) == system.graph.variables
    assert all(isinstance(variables[name], Image) for name in system.digits)
    assert isinstance(variables["X"], Categorical)


def test_the_reader_knows_what_the_variable_never_shows(system):
    hand = system.handwriting
    assert system.reading_error("I") < 0.02
    read = system.read("I", hand.images[hand.digits == 9])
    assert (read == 4).float().mean() > 0.95

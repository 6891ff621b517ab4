import numpy as np
import pytest
import torch

from causal_diffusers.errors import GraphError
from causal_diffusers.graphs import ADMG, identify
from causal_diffusers.graphs.estimand import write_query
from causal_diffusers.systems import DiscreteSCM

FRONT_DOOR = ADMG.parse("X -> Z -> Y; X <-> Y")
TOY = np.zeros((2, 2, 2))  # P(x, z, y)
TOY[0, 0] = 0.0253, 0.0737
TOY[1, 0] = 0.0862, 0.4097
TOY[0, 1] = 0.1020, 0.0945
TOY[1, 1] = 0.1080, 0.1006


def test_the_front_door_toy():
    """Known: .5891 and .7071 (.7072 from the joint in four digits); naively .5692 and .7243."""
    table = identify(FRONT_DOOR, ["Y"], ["X"]).evaluate(TOY)
    assert table.variables == ("Y", "X")
    assert np.allclose(table.at({"Y": 1}).values, [0.5891, 0.7071], atol=1.5e-4)
    naive = identify(FRONT_DOOR, ["Y"], given=["X"]).evaluate(TOY)
    assert naive.at({"Y": 1}).values.round(4).tolist() == [0.5692, 0.7243]


def test_the_front_door_prints_as_in_the_textbook():
    estimand = identify(FRONT_DOOR, ["Y"], ["X"])
    assert str(estimand) == "sum_{Z} P(Z | X) sum_{X'} P(Y | X', Z) P(X')"
    assert repr(estimand) == f"<Estimand P(Y | do(X)) = {estimand}>"
    latex = r"\sum_{Z} P(Z \mid X) \sum_{X'} P(Y \mid X', Z) P(X')"
    assert estimand.to_latex() == latex
    assert estimand._repr_latex_() == rf"$$ P(Y \mid \mathrm{{do}}(X)) = {latex} $$"


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ((["Y"],), "P(Y)"),
        ((["Y", "A"], ["X", "Z"]), "P(Y, A | do(X, Z))"),
        ((["Y"], [], ["Z"]), "P(Y | Z)"),
        ((["Y"], ["X"], ["Z", "W"]), "P(Y | do(X), Z, W)"),
    ],
)
def test_queries_as_text(query, text):
    assert write_query(*query) == text


def test_the_axes_are_those_of_the_query():
    G = ADMG.parse("X -> Y <- Z; X <-> Z; Q -> A")
    system = DiscreteSCM.random(
        G, dict(zip("XYZQA", range(2, 7), strict=True)), generator=torch.Generator().manual_seed(0)
    )
    query = ["A", "Y"], ["Q", "X"], ["Z"]
    table = identify(G, *query).evaluate(system.joint())
    assert table.variables == ("A", "Y", "Q", "X", "Z")
    assert table.values.shape == (6, 3, 5, 2, 4)
    assert np.allclose(table.values, system.interventional(*query).values)


def test_an_intervention_that_does_nothing_still_has_an_axis():
    table = identify(ADMG.parse("X <- Y"), "Y", "X").evaluate(np.full((3, 2), 1 / 6), ["X", "Y"])
    assert table.values.shape == (2, 3)
    assert np.allclose(table.values, 1 / 2)


def test_a_joint_may_lack_variables_that_do_not_matter():
    G = ADMG.parse("X -> Z -> Y -> Q; X <-> Y")
    table = identify(G, "Y", "X").evaluate(TOY, ["X", "Z", "Y"])
    assert np.allclose(table.values, identify(FRONT_DOOR, "Y", "X").evaluate(TOY).values)


def test_counts_are_as_good_as_probabilities():
    estimand = identify(FRONT_DOOR, "Y", "X")
    counts = (TOY * 10_000).round().astype(int)
    assert np.allclose(estimand.evaluate(counts).values, estimand.evaluate(TOY).values)


@pytest.mark.parametrize("seed", range(5))
def test_an_answer_for_any_value_of_a_variable_averages_over_it(seed):
    """On a joint that no napkin made, each value of Z gives another number."""
    G = ADMG.parse("W -> Z -> X -> Y; W <-> X; W <-> Y")
    P = torch.rand((2, 3, 2, 2), generator=torch.Generator().manual_seed(seed)).double().numpy()
    P /= P.sum()
    weight = P.sum(axis=(1, 2, 3))[:, None, None, None]
    kernel = (weight * P / P.sum(axis=(2, 3), keepdims=True)).sum(axis=0)  # over z, x, y
    each = kernel / kernel.sum(axis=2, keepdims=True)
    assert each.std(axis=0).min() > 1e-3
    expected = np.einsum("z,zxy->yx", P.sum(axis=(0, 2, 3)), each)
    assert np.allclose(identify(G, "Y", "X").evaluate(P, ["W", "Z", "X", "Y"]).values, expected)


def test_a_value_that_never_occurs_has_no_answer():
    P = np.zeros((3, 2, 2))
    P[:2] = TOY
    table = identify(FRONT_DOOR, "Y", "X").evaluate(P)
    assert np.isnan(table.at({"X": 2}).values).all()
    assert np.allclose(table.values[:, :2], identify(FRONT_DOOR, "Y", "X").evaluate(TOY).values)


def test_without_overlap_there_is_no_answer():
    """X decides Z: nothing in the data speaks of P(Y | Z, X') for another X'."""
    P = TOY * np.eye(2)[:, :, None]
    assert np.isnan(identify(FRONT_DOOR, "Y", "X").evaluate(P).values).all()


def test_missing_overlap_hurts_only_the_cells_that_need_it():
    P = np.zeros((2, 3, 2))
    P[:, :2] = TOY
    P[1, 2] = 0.1, 0.2  # Z = 2 occurs with X = 1 only
    table = identify(FRONT_DOOR, "Y", "X").evaluate(P)
    assert np.isnan(table.values[:, 1]).all()
    assert np.isfinite(table.values[:, 0]).all()


@pytest.mark.parametrize(
    ("joint", "names", "error", "message"),
    [
        (TOY[0], None, ValueError, r"one axis for each of X, Z, Y: got shape \(2, 2\)"),
        (TOY, ["X", "Y", "Y"], ValueError, "one axis for each of X, Y, Y"),
        (TOY, ["X", "Y", "Q"], GraphError, 'got "Q"'),
        (TOY.sum(axis=1), ["X", "Y"], GraphError, "got none for Z"),
        (-TOY, None, ValueError, "negative, not finite, or all zero"),
        (0 * TOY, None, ValueError, "negative, not finite, or all zero"),
        (np.nan * TOY, None, ValueError, "negative, not finite, or all zero"),
    ],
)
def test_what_is_no_joint_is_refused(joint, names, error, message):
    with pytest.raises(error, match=message):
        identify(FRONT_DOOR, ["Y"], ["X"]).evaluate(joint, names)


def test_estimands_are_values():
    one, same = identify(FRONT_DOOR, "Y", "X"), identify(FRONT_DOOR, ["Y"], ["X"])
    assert one == same
    assert hash(one) == hash(same)
    assert one != identify(FRONT_DOOR, "Y", "Z")

"""Each error can be caught as ours or as the built-in it refines, and carries its facts."""

import copy
import pickle

import pytest

from causal_diffusers import errors

CASES = [
    (errors.GraphError, ValueError, {}),
    (
        errors.NotIdentifiableError,
        ValueError,
        {"query": "P(Y | do(X))", "hedge": ("F", "F'"), "thicket": {}},
    ),
    (errors.NotInvertibleError, RuntimeError, {"variable": "xray"}),
    (errors.ShapeError, ValueError, {"variable": "x", "expected": (1,), "received": (2,)}),
    (errors.CheckpointError, RuntimeError, {"path": "model_index.json"}),
]


@pytest.mark.parametrize(("kind", "builtin", "facts"), CASES)
def test_an_error_is_its_built_in_and_carries_its_facts(kind, builtin, facts):
    with pytest.raises(builtin, match="what went wrong") as caught:
        raise kind("what went wrong", **facts)
    assert type(caught.value) is kind
    assert vars(caught.value) == facts


def test_these_are_all_the_errors():
    assert sorted(kind.__name__ for kind, *_ in CASES) == sorted(errors.__all__)
    assert all(name.endswith("Error") for name in errors.__all__)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]
)
@pytest.mark.parametrize(("kind", "builtin", "facts"), CASES)
def test_an_error_survives_the_way_between_processes(kind, builtin, facts, again):
    error = kind("what went wrong", **facts)
    error.add_note("in worker 3")
    twin = again(error)
    assert type(twin) is kind
    assert (twin.args, vars(twin)) == (error.args, vars(error))
    assert twin.__notes__ == ["in worker 3"]

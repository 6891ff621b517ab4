"""What can go wrong, in five classes.

Every class also derives from a built-in exception, so callers may catch either. The
messages follow one template: the broken rule in the user's own words, what was
received, and the way out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = [
    "CheckpointError",
    "GraphError",
    "NotIdentifiableError",
    "NotInvertibleError",
    "ShapeError",
]

_Recipe = tuple[Callable[..., Exception], tuple[object, ...], dict[str, object]]


class GraphError(ValueError):
    """A graph is malformed, or a name is not one of its variables.

    Example:
        >>> issubclass(GraphError, ValueError)
        True
    """


class NotIdentifiableError(ValueError):
    """A query has no answer in what was observed and the graph alone.

    Arguments:
        message: What was asked and why it cannot be answered.
        query: The query as text, for instance `"P(Y | do(X))"`.
        hedge: The pair of C-forests that blocks identification; None if every experiment
            sets what would have to be learned.
        thicket: With several regimes, the hedge in each that has one, by what is set in it.

    Example:
        >>> NotIdentifiableError("...", query="P(Y | do(X))", hedge=None).query
        'P(Y | do(X))'
    """

    def __init__(
        self,
        message: str,
        *,
        query: str,
        hedge: object,
        thicket: Mapping[frozenset[str], object] | None = None,
    ) -> None:
        super().__init__(message)
        self.query = query
        self.hedge = hedge
        self.thicket = dict(thicket or {})

    def __reduce__(self) -> _Recipe:
        """Pickle the facts too, which a built-in exception would forget."""
        return _recipe(self, "query", "hedge", "thicket")


class NotInvertibleError(RuntimeError):
    """A mechanism was asked for exogenous noise that it cannot infer.

    Arguments:
        message: Which call needed the noise, and what to use instead.
        variable: The variable whose mechanism is not invertible.

    Example:
        >>> NotInvertibleError("...", variable="xray").variable
        'xray'
    """

    def __init__(self, message: str, *, variable: str) -> None:
        super().__init__(message)
        self.variable = variable

    def __reduce__(self) -> _Recipe:
        """Pickle the facts too, which a built-in exception would forget."""
        return _recipe(self, "variable")


class ShapeError(ValueError):
    """A tensor has another shape than its variable promises.

    Arguments:
        message: What was expected, what came, and how to convert it.
        variable: The variable concerned.
        expected: The promised shape.
        received: The shape that came.

    Example:
        >>> ShapeError("...", variable="x", expected=(1,), received=(2,)).received
        (2,)
    """

    def __init__(
        self,
        message: str,
        *,
        variable: str,
        expected: tuple[object, ...],
        received: tuple[object, ...],
    ) -> None:
        super().__init__(message)
        self.variable = variable
        self.expected = expected
        self.received = received

    def __reduce__(self) -> _Recipe:
        """Pickle the facts too, which a built-in exception would forget."""
        return _recipe(self, "variable", "expected", "received")


class CheckpointError(RuntimeError):
    """A file on disk is missing, damaged, hostile or made for something else.

    Arguments:
        message: What is wrong with the file and how to mend it.
        path: The file or folder concerned.

    Example:
        >>> CheckpointError("...", path="model_index.json").path
        'model_index.json'
    """

    def __init__(self, message: str, *, path: str | Path) -> None:
        super().__init__(message)
        self.path = str(path)

    def __reduce__(self) -> _Recipe:
        """Pickle the facts too, which a built-in exception would forget."""
        return _recipe(self, "path")


def _recipe(error: Exception, *facts: str) -> _Recipe:
    """Say how to make an error again: its class with its facts, its message, its notes."""
    make = functools.partial(type(error), **{fact: getattr(error, fact) for fact in facts})
    return make, error.args, vars(error)

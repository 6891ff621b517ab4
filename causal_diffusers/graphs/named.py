r"""Which graphs does everybody know, and what is known of them?

Textbook graphs with their source, their districts, and queries whose answer is known to
exist or not to exist. They serve the tests, the documentation and a first try.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from causal_diffusers.graphs.admg import ADMG

__all__ = ["NAMED", "Answer", "NamedGraph"]


@final
@dataclass(frozen=True)
class Answer:
    r"""A query $P(y \mid do(x), z)$, and whether it is identifiable from the graph.

    Arguments:
        outcomes: The variables $Y$, separated by spaces.
        do: The variables $X$.
        given: The variables $Z$.
        is_identifiable: What the literature says.

    Example:
        >>> Answer("A B", do="X").query
        (('A', 'B'), ('X',), ())
    """

    outcomes: str
    do: str = ""
    given: str = ""
    is_identifiable: bool = True

    @property
    def query(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """The outcomes, the variables intervened on, and the conditions."""
        return tuple(self.outcomes.split()), tuple(self.do.split()), tuple(self.given.split())


@final
@dataclass(frozen=True)
class NamedGraph:
    """A graph from the literature.

    Arguments:
        graph: The graph.
        about: What it is an example of.
        reference: Paper and section.
        districts: Its districts, each as names separated by spaces.
        answers: Queries with known answers.

    Example:
        >>> NAMED["bow"].graph
        ADMG.parse('X -> Y; X <-> Y')
        >>> [answer.is_identifiable for answer in NAMED["bow"].answers]
        [False, True]
    """

    graph: ADMG
    about: str
    reference: str
    districts: tuple[str, ...]
    answers: tuple[Answer, ...]


NAMED: Mapping[str, NamedGraph] = MappingProxyType(
    {
        "back_door": NamedGraph(
            ADMG.parse("X <- Z -> Y; X -> Y"),
            "The confounder is observed: adjust for it.",
            "Causality, 2nd ed. (Pearl, 2009), Sec. 3.3.1",
            ("X", "Z", "Y"),
            (Answer("Y", do="X"), Answer("Y", do="X", given="Z"), Answer("Z", do="X")),
        ),
        "front_door": NamedGraph(
            ADMG.parse("X -> M -> Y; X <-> Y"),
            "The confounder is hidden, but a mediator is shielded from it.",
            "Causal diagrams for empirical research (Pearl, 1995), Sec. 3.2",
            ("X Y", "M"),
            (Answer("Y", do="X"), Answer("M", do="X"), Answer("Y", do="M"), Answer("Y M", do="X")),
        ),
        "bow": NamedGraph(
            ADMG.parse("X -> Y; X <-> Y"),
            "The smallest graph with an effect that is not identifiable.",
            "Causality, 2nd ed. (Pearl, 2009), Sec. 3.5",
            ("X Y",),
            (Answer("Y", do="X", is_identifiable=False), Answer("X", do="Y")),
        ),
        "instrument": NamedGraph(
            ADMG.parse("Z -> X -> Y; X <-> Y"),
            "An instrument bounds the effect and does not identify it.",
            "Identification of causal effects using instrumental variables (Angrist, Imbens & "
            "Rubin, 1996), Sec. 3; Causality, 2nd ed. (Pearl, 2009), Sec. 8.2",
            ("Z", "X Y"),
            (
                Answer("Y", do="X", is_identifiable=False),
                Answer("Y", do="Z"),
                Answer("X", do="Z"),
            ),
        ),
        "napkin": NamedGraph(
            ADMG.parse("W -> Z -> X -> Y; W <-> X; W <-> Y"),
            "Identifiable, and by neither the back door nor the front door: a ratio.",
            "The Book of Why (Pearl & Mackenzie, 2018), Fig. 7.5",
            ("W X Y", "Z"),
            (
                Answer("Y", do="X"),
                Answer("Y", do="Z"),
                Answer("X", do="Z"),
                Answer("Y X", do="W"),
            ),
        ),
        "verma": NamedGraph(
            ADMG.parse("A -> B -> C -> D; B <-> D"),
            "A constraint that is no independence: the sum over B of P(D | A, B, C) P(B | A) "
            "does not depend on A.",
            "Equivalence and synthesis of causal models (Verma & Pearl, 1990), Sec. 4",
            ("A", "B D", "C"),
            (
                Answer("D", do="C"),
                Answer("D", do="B"),
                Answer("D", do="A"),
                Answer("C", do="B"),
                Answer("D", do="C", given="B"),
            ),
        ),
        "m_bias": NamedGraph(
            ADMG.parse("X -> Y; X <-> M <-> Y"),
            "Adjusting for M, which precedes both, opens a path that was closed.",
            "Causal diagrams for epidemiologic research (Greenland, Pearl & Robins, 1999), Fig. 2",
            ("X Y M",),
            (
                Answer("Y", do="X"),
                Answer("Y", do="X", given="M", is_identifiable=False),
                Answer("M", do="X"),
            ),
        ),
        "bow_free_diamond": NamedGraph(
            ADMG.parse("A -> B -> D; A -> C -> D; B <-> C; A <-> D"),
            "No two variables share both a directed and a bidirected edge.",
            "A new identification condition for recursive models with correlated errors "
            "(Brito & Pearl, 2002), for bow-free graphs",
            ("A D", "B C"),
            (Answer("D", do="A"), Answer("D", do="B"), Answer("D", do="C"), Answer("B", do="A")),
        ),
        "three_child_confounder": NamedGraph(
            ADMG.parse("U: A, B, C"),
            "One latent cause of three variables, which three pairwise ones cannot replace: "
            "they never make all three equal.",
            "Graphs for margins of Bayesian networks (Evans, 2016), Sec. 4",
            ("A B C",),
            (Answer("B", do="A"), Answer("B C", do="A"), Answer("C", do="A", given="B")),
        ),
        "sequential": NamedGraph(
            ADMG.parse("X1 -> Z -> X2 -> Y; X1 -> Y; Z <-> Y"),
            "Two treatments; what is seen in between guides the second.",
            "Probabilistic evaluation of sequential plans from causal models with hidden "
            "variables (Pearl & Robins, 1995), Sec. 2",
            ("X1", "Z Y", "X2"),
            (Answer("Y", do="X1 X2"), Answer("Y", do="X1"), Answer("Y", do="X2")),
        ),
        "confounded_mediator": NamedGraph(
            ADMG.parse("X -> M -> Y; X <-> Y; M <-> Y"),
            "A front door whose mediator is confounded too.",
            "Causality, 2nd ed. (Pearl, 2009), Sec. 3.5",
            ("X M Y",),
            (
                Answer("Y", do="X", is_identifiable=False),
                Answer("Y", do="M", is_identifiable=False),
                Answer("M", do="X"),
            ),
        ),
        "front_door_digits": NamedGraph(
            ADMG.parse("D -> W -> I -> A; D <-> A"),
            "The digit dictated, the digit written, its image, and an answer that listens to "
            "the image and, through a hidden cause, to the digit dictated.",
            "Causal diagrams for empirical research (Pearl, 1995), Sec. 3.2, with an image for "
            "a mediator",
            ("D A", "W", "I"),
            (Answer("A", do="D"), Answer("A", do="W"), Answer("A", do="I"), Answer("I", do="W")),
        ),
    }
)

r"""Confounded digits: real handwriting with a hidden cause that it shares.

A hidden $U$ with four values chooses the class $C$ of an image $I$ of a real digit, and
beside it a label $L$, or the class of a second image $J$. An observed $X$ tilts both:

$$ u \sim P(u), \quad c \sim P(c \mid x, u), \quad l \sim P(l \mid x, u), \quad
   I \mid c \sim \text{a real image of the digit of } c . $$

The graph is $X \to I$, $X \to L$, $I \leftrightarrow L$ (or $J$ for $L$). There is no
arrow between image and label, so $P(c \mid do(l), x) = P(c \mid x)$, whereas a model that
puts one there is right about every observation and wrong about this. The tables are
below; all but the handwriting is known, so every answer about classes is an exact sum.

References:
    Causality, 2nd ed. (Pearl, 2009), Sec. 3.3.
    UCI optical recognition of handwritten digits, as shipped in scikit-learn (CC BY 4.0).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from causal_diffusers.graphs import ADMG
from causal_diffusers.systems.digits import FrontDoorDigits
from causal_diffusers.systems.discrete import DiscreteSCM
from causal_diffusers.variables import Categorical, Image, Variable

if TYPE_CHECKING:
    from typing import Self

__all__ = ["ConfoundedDigits"]

CLASSES = 4
HIDDEN = (0.3, 0.3, 0.2, 0.2)  # P(u)
TILT = (1.0, 2.0, 1.0, 3.0)  # how X = 1 reweighs the classes of I
SECOND_TILT = (2.0, 1.0, 2.0, 1.0)  # and those of J
LABEL = ((0.02, 0.98, 0.06, 0.94), (0.08, 0.96, 0.03, 0.97))  # P(l = 1 | x, u), rows x


class ConfoundedDigits:
    r"""The system above, with its truth.

    Create it by `with_label` or `with_image`. Rows hold images that are not held out,
    which are every ninth of each digit.

    Arguments:
        scm: The model of $X$ and of the classes that the images show.
        digits: For each image variable, the digit of each of its classes.

    Raises:
        ImportError: If scikit-learn is missing.

    Example:
        >>> system = ConfoundedDigits.with_label()
        >>> rows = system.sample(5, generator=torch.Generator().manual_seed(0))
        >>> sorted(rows), rows["I"].shape
        (['I', 'L', 'X'], torch.Size([5, 1, 8, 8]))
        >>> system.ignoring_the_confounder() > 0.36
        True
    """

    def __init__(self, scm: DiscreteSCM, digits: Mapping[str, Sequence[int]]) -> None:
        self.scm, self.digits = scm, {name: tuple(shown) for name, shown in digits.items()}
        self.handwriting = FrontDoorDigits()

    @classmethod
    def with_label(cls) -> Self:
        """Confound an image of the digits 0 to 3 with a binary label.

        Example:
            >>> ConfoundedDigits.with_label().graph
            ADMG.parse('X -> I; X -> L; U: I, L')
        """
        label = np.stack([1 - np.array(LABEL), np.array(LABEL)], axis=-1)
        return cls(_scm("L", {"I": _follow(0, TILT), "L": label}), {"I": range(CLASSES)})

    @classmethod
    def with_image(cls) -> Self:
        """Confound an image of the digits 0 to 3 with one of the digits 4 to 7.

        Example:
            >>> ConfoundedDigits.with_image().graph
            ADMG.parse('X -> I; X -> J; U: I, J')
        """
        classes = {"I": _follow(0, TILT), "J": _follow(1, SECOND_TILT)}
        return cls(_scm("J", classes), {"I": range(CLASSES), "J": range(CLASSES, 2 * CLASSES)})

    @property
    def graph(self) -> ADMG:
        """The graph, with the images in the place of their classes."""
        return self.scm.graph

    @property
    def variables(self) -> dict[str, Variable]:
        """What each variable looks like."""
        sizes = {name: self.scm.tables[name].shape[-1] for name in self.graph.variables}
        return {
            name: Image(1, 8, 8) if name in self.digits else Categorical(range(sizes[name]))
            for name in self.graph.variables
        }

    def sample(self, num_samples: int, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw rows; $U$ and the classes stay hidden, held-out images do not occur.

        Arguments:
            num_samples: The number of rows N.
            generator: The source of randomness.

        Returns:
            Labels as integers with shape (N,), images with shape (N, 1, 8, 8) in [0, 1].

        Example:
            >>> rows = ConfoundedDigits.with_image().sample(3, generator=torch.Generator())
            >>> rows["J"].shape
            torch.Size([3, 1, 8, 8])
        """
        rows = self.scm.sample(num_samples, generator=generator)
        drawn = {n: self._write(n, rows[n], generator) for n in self.graph.variables}
        return {name: rows[name] if images is None else images for name, images in drawn.items()}

    def joint(self) -> Tensor:
        """Enumerate the joint of the labels and the classes shown.

        Returns:
            Probabilities with one axis per variable, in the order of the graph.

        Example:
            >>> ConfoundedDigits.with_label().joint().shape
            torch.Size([2, 4, 2])
        """
        return torch.as_tensor(self.scm.joint())

    def ignoring_the_confounder(self) -> float:
        r"""Enumerate what the best model without $U$ scores: its joint TVD.

        Returns:
            The total variation of $P(x) P(c \mid x) P(l \mid x)$ from $P(x, c, l)$.

        Example:
            >>> ConfoundedDigits.with_image().ignoring_the_confounder() > 0.45
            True
        """
        joint = self.joint()  # (X, I, partner)
        apart = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
        return ((apart / joint.sum((1, 2), keepdim=True) - joint).abs().sum() / 2).item()

    def read(self, name: str, images: Tensor) -> Tensor:
        """Read classes with a classifier that knows all ten digits from real images.

        Arguments:
            name: The image variable.
            images: The images, with shape (N, 1, 8, 8), in [0, 1].

        Returns:
            Classes with shape (N,); 4 for a digit that the variable never shows.

        Example:
            >>> system = ConfoundedDigits.with_label()
            >>> system.read("I", system.handwriting.images[:2]).tolist()
            [0, 0]
        """
        read = torch.as_tensor(_reader().predict(images.flatten(1).numpy()))
        shown = torch.tensor(self.digits[name])
        is_shown = read[:, None] == shown
        return torch.where(is_shown.any(1), is_shown.int().argmax(1), CLASSES)

    def reading_error(self, name: str) -> float:
        """Measure how often `read` is wrong about held-out real images.

        Arguments:
            name: The image variable.

        Returns:
            The share of errors, among images of the digits that the variable shows.

        Example:
            >>> ConfoundedDigits.with_label().reading_error("I") < 0.03
            True
        """
        hand, shown = self.handwriting, torch.tensor(self.digits[name])
        held = hand.held_out & torch.isin(hand.digits, shown)
        classes = (hand.digits[held, None] == shown).int().argmax(1)
        return (self.read(name, hand.images[held]) != classes).double().mean().item()

    def _write(self, name: str, classes: Tensor, generator: torch.Generator) -> Tensor | None:
        """Draw a real image of each class; a label has none."""
        if name not in self.digits:
            return None
        hand, chosen = self.handwriting, torch.empty_like(classes)
        for c, digit in enumerate(self.digits[name]):
            mine = classes == c
            seen = ((hand.digits == digit) & ~hand.held_out).nonzero().squeeze(1)
            picks = torch.randint(len(seen), (int(mine.sum()),), generator=generator)
            chosen[mine] = seen[picks]
        return hand.images[chosen]


@functools.cache
def _reader():  # noqa: ANN202 (scikit-learn is optional)
    from sklearn.svm import SVC

    hand = FrontDoorDigits()
    seen = ~hand.held_out
    smooth: Any = 0.256  # scikit-learn says string and takes a number
    return SVC(gamma=smooth, C=10).fit(hand.images[seen].flatten(1).numpy(), hand.digits[seen])


def _follow(shift: int, tilt: Sequence[float]) -> np.ndarray:
    """Tabulate classes that follow U, an eighth of them astray; X = 1 reweighs them."""
    stay, shares = 0.875, np.stack([np.ones(CLASSES), np.array(tilt)])
    follow = np.roll(np.eye(CLASSES), shift, axis=1)
    table = stay * follow + (1 - stay) * (1 - follow) / (CLASSES - 1)
    weights = table * shares[:, None]  # (X, U, C)
    return weights / weights.sum(axis=-1, keepdims=True)


def _scm(partner: str, tables: Mapping[str, np.ndarray]) -> DiscreteSCM:
    graph = ADMG.parse(f"X -> I; X -> {partner}; U: I, {partner}")
    return DiscreteSCM(graph, {"U": np.array(HIDDEN)}, {"X": np.array([0.5, 0.5]), **tables})

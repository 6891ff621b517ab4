r"""What does a visit to Asia have to do with a shadow on a lung? A textbook network, confounded.

The network of Lauritzen and Spiegelhalter with its two roots hidden: `smoke` confounds lung
cancer and bronchitis, `asia` has a single child and becomes private noise of tuberculosis.

$$ \mathit{tub} \to \mathit{either} \leftarrow \mathit{lung}, \quad
   \mathit{xray} \leftarrow \mathit{either} \to \mathit{dysp} \leftarrow \mathit{bronc}, \quad
   \mathit{lung} \leftrightarrow \mathit{bronc} . $$

`either` is a logical or: the combinations of it with its parents that logic forbids never
occur, and what conditions on them has no answer in any data. It is a toy with invented
numbers, and says nothing about patients.

References:
    Local computations with probabilities on graphical structures and their application to
    expert systems (Lauritzen & Spiegelhalter, 1988), Sec. 2 and Table 1.
"""

from __future__ import annotations

import numpy as np

from causal_diffusers.graphs import ADMG
from causal_diffusers.systems.discrete import DiscreteSCM

__all__ = ["asia_network"]

_GRAPH = "tub -> either <- lung; xray <- either -> dysp <- bronc; smoke: lung, bronc"
_ASIA, _SMOKE = 0.01, 0.5  # how many visited, how many smoke


def asia_network() -> DiscreteSCM:
    """Give the system, with 0 for no and 1 for yes.

    Returns:
        The system over the six variables that are observed; the confounder is `smoke`.

    Example:
        >>> system = asia_network()
        >>> sorted(system.graph.variables)
        ['bronc', 'dysp', 'either', 'lung', 'tub', 'xray']
        >>> system.graph.district("lung") == {"lung", "bronc"}
        True
    """
    tables = {
        "tub": _yes(_ASIA * 0.05 + (1 - _ASIA) * 0.01),
        "lung": _yes([0.01, 0.1]),  # smoke
        "bronc": _yes([0.3, 0.6]),  # smoke
        "either": _yes([[0, 1], [1, 1]]),  # tub, lung
        "xray": _yes([0.05, 0.98]),  # either
        "dysp": _yes([[0.1, 0.8], [0.7, 0.9]]),  # either, bronc
    }
    return DiscreteSCM(ADMG.parse(_GRAPH), {"smoke": _yes(_SMOKE)}, tables)


def _yes(shares: object) -> np.ndarray:
    """Complete the probabilities of yes to distributions over no and yes."""
    p = np.asarray(shares, dtype=np.float64)
    return np.stack([1 - p, p], axis=-1)

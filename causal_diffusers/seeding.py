r"""Where does the randomness of each variable come from?

From one seed and its own name. A call draws a single seed $s$ from the generator that
the user passed, and every variable and confounder $v$ then reads its own stream

$$ g_v = \mathrm{MT}\bigl(\mathrm{sha256}(s, v)\bigr) \, . $$

A stream shared by all variables would be consumed in sampling order, so that pruning a
variable, or replacing its mechanism by $do(X = x)$, would shift the noise of all the
variables after it. With named streams the noise of the others stays where it was: that
is what "the same unit under another intervention" means.
"""

from __future__ import annotations

import hashlib
import json

import torch

__all__ = ["draw_seed", "spawn"]


def draw_seed(generator: torch.Generator | None = None) -> int:
    """Draw one seed from a generator, advancing it by one step.

    Arguments:
        generator: The source of the seed, on any device. None takes torch's default
            generator, as the rest of torch and diffusers do.

    Returns:
        The seed, in [0, 2^63 - 1).

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> first, second = draw_seed(generator), draw_seed(generator)
        >>> first == second
        False
        >>> first == draw_seed(torch.Generator().manual_seed(0))
        True
    """
    device = None if generator is None else generator.device
    return int(torch.randint(2**63 - 1, (), generator=generator, device=device))


def spawn(
    seed: int, *names: str | int, device: torch.device | str | None = None
) -> torch.Generator:
    """Make the generator that belongs to a seed and a name.

    The stream depends on the seed and the names only: not on the order of the calls,
    nor on the process, nor on the release of Python.

    Arguments:
        seed: The seed of the whole call, from `draw_seed`.
        names: Whose stream this is, as a path: `"X"`, or `"training", "X", step`.
        device: Where the generator lives. None is the CPU, whose streams are the same
            on every machine.

    Returns:
        A fresh generator at the start of the stream.

    Example:
        >>> x, again, y = spawn(0, "X"), spawn(0, "X"), spawn(0, "Y")
        >>> x.initial_seed() == again.initial_seed()
        True
        >>> x.initial_seed() == y.initial_seed()
        False
    """
    digest = hashlib.sha256(json.dumps([seed, *names]).encode()).digest()
    generator = torch.Generator(device=device or "cpu")
    return generator.manual_seed(int.from_bytes(digest[:8], "big"))

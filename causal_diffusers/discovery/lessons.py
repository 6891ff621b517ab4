r"""How does the network learn? By predicting the edges of dreams.

$$ - \log P(G_{ij} \mid X) \ \text{over pairs} \;+\; \text{the errors of weights and noises} , $$

after every layer, so that each revises what the one before it left.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import huber_loss

from causal_diffusers.backbones.files import check_shapes
from causal_diffusers.discovery.adag import ADAG
from causal_diffusers.discovery.dreams import Dream
from causal_diffusers.discovery.edges import Edges

__all__ = ["learn", "loss_of"]

_WEIGHTS, _NOISE, _CLIP, _DECAY = 0.05, 0.02, 1.0, 1e-3
_EVERY, _STATE = 500, "adag.safetensors"


def learn(
    model: ADAG,
    dream: Callable[[torch.Generator], Dream],
    steps: int,
    *,
    rate: float = 2e-3,
    seed: int = 0,
    checkpoint: Path | None = None,
    tell: Callable[[int, float], None] | None = None,
) -> None:
    """Train on dreams.

    Arguments:
        model: The network, trained in place.
        dream: Draws a batch.
        steps: Steps of the optimiser.
        rate: The peak of the learning rate.
        seed: Draws the dreams.
        checkpoint: A folder to keep the state in, every 500 steps; training goes on from
            what it holds. The dreams after a pause are others than without one.
        tell: Is told every step and its loss.

    Raises:
        CheckpointError: If the folder holds the state of a network of another size.

    Example:
        >>> from causal_diffusers.discovery.dreams import WidePrior
        >>> told, model = [], ADAG(width=4, layers=1)
        >>> learn(model, WidePrior(5, 5).dream, 2, tell=lambda step, loss: told.append(step))
        >>> told
        [0, 1]
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=_DECAY)
    decay = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, steps, pct_start=min(0.9, max(0.05, 2.5 / steps))
    )
    done = _resume(checkpoint, model, optimizer, decay) if checkpoint else 0
    generator.manual_seed(seed + done)
    model.train()
    for step in range(done, steps):
        loss = loss_of(model, dream(generator))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimizer.step()
        decay.step()
        if tell is not None:
            tell(step, loss.item())
        if checkpoint and (step + 1) % _EVERY == 0:
            _keep(checkpoint, step + 1, model, optimizer)
    model.eval()


def loss_of(model: ADAG, dream: Dream) -> Tensor:
    """Compute the loss of a dream, later layers weighing more.

    Arguments:
        model: The network.
        dream: Tasks whose graphs are known.

    Returns:
        A number.

    Example:
        >>> from causal_diffusers.discovery.dreams import WidePrior
        >>> dream = WidePrior(5, 5).dream(torch.Generator().manual_seed(0))
        >>> loss_of(ADAG(width=4, layers=1), dream).shape
        torch.Size([])
    """
    found = model(dream.summary, dream.possible, dream.prior, dream.knows_prior)
    parts = [_loss(edges, dream) * (rank + 1) for rank, edges in enumerate(found)]
    return torch.stack(parts).sum() / len(found)


def _loss(edges: Edges, dream: Dream) -> Tensor:
    graphs, weights = dream.tasks.graphs, dream.tasks.weights
    i, j = torch.triu_indices(*graphs.shape[1:], offset=1)
    logits = torch.stack([edges.logits[:, i, j], edges.logits[:, j, i]], dim=-1)
    chances = torch.cat([logits, torch.zeros_like(logits[..., :1])], dim=-1).log_softmax(dim=-1)
    state = torch.where(graphs[:, i, j], 0, torch.where(graphs[:, j, i], 1, 2))
    told = dream.possible[:, i, j] | dream.possible[:, j, i]
    loss = -chances.gather(-1, state[..., None])[..., 0][told].mean()
    if graphs.any() and dream.is_linear:
        unit = weights.abs().clamp(min=0.3)
        error = (edges.weights - weights) / unit
        loss = loss + _WEIGHTS * huber_loss(error[graphs], torch.zeros_like(error[graphs]))
    noise = edges.deviation - (dream.tasks.deviations / dream.summary.unit[:, None]).log()
    return loss + _NOISE * noise.clamp(-3, 3).square().mean()


def _keep(folder: Path, step: int, model: ADAG, optimizer: torch.optim.Optimizer) -> None:
    """Write model and moments of the optimiser; a kill leaves the file before whole."""
    state = {"step": torch.tensor(step)}
    for name, p in model.named_parameters():
        kept = optimizer.state[p]
        state |= {f"{name}|value": p.detach().clone()}
        state |= {f"{name}|{key}": torch.as_tensor(v).clone() for key, v in kept.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / f"{_STATE}.part")
    (folder / f"{_STATE}.part").replace(folder / _STATE)


def _resume(
    folder: Path,
    model: ADAG,
    optimizer: torch.optim.Optimizer,
    decay: torch.optim.lr_scheduler.LRScheduler,
) -> int:
    """Read what `_keep` wrote, if anything; give how many steps were done."""
    if not (folder / _STATE).is_file():
        return 0
    state = load_file(folder / _STATE)
    check_shapes(
        {f"{name}|value": p for name, p in model.named_parameters()},
        {name: tuple(t.shape) for name, t in state.items() if name.endswith("|value")},
        folder / _STATE,
    )
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(state[f"{name}|value"])
            keys = [key for key in state if key.startswith(f"{name}|") and key[-6:] != "|value"]
            optimizer.state[p] = {key.rpartition("|")[2]: state[key] for key in keys}
    step = int(state["step"])
    where = {"last_epoch": step - 1, "_step_count": step}
    decay.load_state_dict({**decay.state_dict(), **where})
    decay.step()
    return step

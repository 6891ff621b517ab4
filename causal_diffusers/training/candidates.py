r"""What may a noised image have been? All images of the data that it could come from.

The denoising loss asks for the one image that was noised, and its minimum for the mean of
all that might have been,

$$ E[x_0 \mid x_t, pa] = \frac{\sum_i w_i \, x_0^{(i)}}{\sum_i w_i} , \qquad
   w_i = \mathcal N\big(x_t ; \sqrt{\bar\alpha_t}\, x_0^{(i)}, (1 - \bar\alpha_t) I\big) , $$

over the rows $i$ with these parents, which is that minimum itself. The mean is the same target
without its noise. Under strong noise, where the parents decide what an image will be, the
noise of the target is what hides them: the images of one value differ by more than the
values do. So training takes a fraction of the steps. The sum is over all rows, for with a part
of them it would be another minimum.

References:
    Stable target field for reduced variance score estimation in diffusion models (Xu,
    Tong & Jaakkola, 2023), Sec. 3-4. There the sum is over a sample of all images, drawn
    anew for each step; here it is over all with the same parents.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

__all__ = ["HIDDEN", "Candidates"]

HIDDEN = -1  # the key of a row that does not see its parents


class Candidates:
    """All images of the data, by what their parents are.

    Arguments:
        x_0: Images, or what the denoiser makes of them, with shape (R, *shape).
        keys: A number for the configuration of the parents of each, with shape (R,).

    Example:
        >>> x_0 = torch.tensor([[1.0], [3.0], [9.0]])
        >>> candidates = Candidates(x_0, torch.tensor([0, 0, 1]))
        >>> noised, alpha_bar = torch.zeros(1, 1), torch.zeros(1)  # nothing is left of it
        >>> candidates.mean(noised, alpha_bar, x_0[:1], torch.tensor([0])).item()
        2.0
    """

    def __init__(self, x_0: Tensor, keys: Tensor) -> None:
        keys, order = keys.sort(stable=True)
        flat = x_0[order].flatten(1).float()
        self.centre = flat.mean(dim=0)  # what all have in common costs digits
        self.x_0 = flat - self.centre
        self.squares = self.x_0.square().sum(dim=1)
        found, sizes = (part.tolist() for part in keys.unique_consecutive(return_counts=True))
        ends = list(itertools.accumulate(sizes))
        starts = [0, *ends[:-1]]
        self.rows = {key: slice(*each) for key, *each in zip(found, starts, ends, strict=True)}
        self.rows[HIDDEN] = slice(0, len(flat))

    @torch.no_grad()
    def mean(self, x_t: Tensor, alpha_bar: Tensor, x_0: Tensor, keys: Tensor) -> Tensor:
        r"""Give the mean of all that may have been noised.

        Arguments:
            x_t: The noised images, with shape (B, *shape).
            alpha_bar: $\bar\alpha_t$ of each, with shape (B,).
            x_0: What was noised, with shape (B, *shape); it is given back where there is no
                candidate.
            keys: Their parents, as numbered before, or `HIDDEN`, with shape (B,).

        Returns:
            $E[x_0 \mid x_t, pa]$, with shape (B, *shape).
        """
        mean = x_0.clone()
        with torch.autocast(x_t.device.type, enabled=False):  # weights need every digit
            for key in set(keys.tolist()) & self.rows.keys():
                mine = keys == key
                found = self._mean(x_t[mine], alpha_bar[mine], self.rows[key])
                mean[mine] = found.to(mean.dtype)
        return mean

    def _mean(self, x_t: Tensor, alpha_bar: Tensor, rows: slice) -> Tensor:
        """Give the means of what has the same candidates."""
        signal, images = alpha_bar[:, None].float().sqrt(), self.x_0[rows]
        noised = x_t.flatten(1).float() - signal * self.centre
        noise = (1 - signal.square()).clamp(min=torch.finfo(torch.float32).eps)
        logits = signal * (noised @ images.T) - signal.square() * self.squares[rows] / 2
        means = (logits / noise).softmax(dim=1) @ images
        return (means + self.centre).view(x_t.shape)

r"""What may a noised image have been? All images of the data that it could come from.

The denoising loss asks for the one image that was noised, and its minimum for the mean of
all that might have been,

$$ E[x_0 \mid x_t, pa] = \frac{\sum_i w_i \, x_0^{(i)}}{\sum_i w_i} , \qquad
   w_i = \mathcal N\big(x_t ; \sqrt{\bar\alpha_t}\, x_0^{(i)}, (1 - \bar\alpha_t) I\big) , $$

over the rows $i$ with these parents. The mean is the same target without its noise. Under
strong noise, where the parents decide what an image will be, the noise of the target is
what hides them: the images of one value differ by more than the values do. So training
takes a fraction of the steps. If the rows are too many the sum is over a sample of them and
the image itself; under weak noise, where no other image is near, the mean is the image.

References:
    Stable target field for reduced variance score estimation in diffusion models (Xu,
    Tong & Jaakkola, 2023), Sec. 3-4. There the sample is of all images; here it is of
    those with the same parents.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["HIDDEN", "Candidates"]

HIDDEN = -1  # the key of a row that does not see its parents


class Candidates:
    """Images of the data, by what their parents are.

    Arguments:
        x_0: Images, or what the denoiser makes of them, with shape (R, *shape).
        keys: A number for the configuration of the parents of each, with shape (R,).
        is_all: Whether what will be noised is always among them.

    Example:
        >>> x_0 = torch.tensor([[1.0], [3.0], [9.0]])
        >>> candidates = Candidates(x_0, torch.tensor([0, 0, 1]), is_all=True)
        >>> noised, alpha_bar = torch.zeros(1, 1), torch.zeros(1)  # nothing is left of it
        >>> candidates.mean(noised, alpha_bar, x_0[:1], torch.tensor([0])).item()
        2.0
    """

    def __init__(self, x_0: Tensor, keys: Tensor, is_all: bool = False) -> None:
        self.is_all = is_all
        self.keys, order = keys.sort(stable=True)
        self.x_0 = x_0[order].flatten(1).float()
        self.squares = self.x_0.square().sum(dim=1)

    @torch.no_grad()
    def mean(self, x_t: Tensor, alpha_bar: Tensor, x_0: Tensor, keys: Tensor) -> Tensor:
        r"""Give the mean of all that may have been noised.

        Arguments:
            x_t: The noised images, with shape (B, *shape).
            alpha_bar: $\bar\alpha_t$ of each, with shape (B,).
            x_0: What was noised, with shape (B, *shape).
            keys: Their parents, as numbered before, or `HIDDEN`, with shape (B,).

        Returns:
            $E[x_0 \mid x_t, pa]$, with shape (B, *shape).
        """
        mean = torch.empty_like(x_0)
        with torch.autocast(x_t.device.type, enabled=False):  # weights need every digit
            for key in keys.unique().tolist():
                rows = (keys == key).nonzero()[:, 0]
                noised, own = x_t[rows].flatten(1).float(), x_0[rows].flatten(1).float()
                found = self._mean(noised, own, alpha_bar[rows, None].float(), self._of(key))
                mean[rows] = found.view(mean[rows].shape).to(mean.dtype)
        return mean

    def _mean(self, x_t: Tensor, x_0: Tensor, alpha_bar: Tensor, others: slice) -> Tensor:
        """Give the means of rows with the same candidates, all flat."""
        images, sizes = self.x_0[others], self.squares[others].expand(len(x_t), -1)
        dots = x_t @ images.T
        if not self.is_all:
            dots = torch.cat([(x_t * x_0).sum(dim=1, keepdim=True), dots], dim=1)
            sizes = torch.cat([x_0.square().sum(dim=1, keepdim=True), sizes], dim=1)
        noise = (1 - alpha_bar).clamp(min=torch.finfo(torch.float32).eps)
        weights = ((alpha_bar.sqrt() * dots - alpha_bar * sizes / 2) / noise).softmax(dim=1)
        if self.is_all:
            return weights @ images
        return weights[:, :1] * x_0 + weights[:, 1:] @ images

    def _of(self, key: int) -> slice:
        """Find the candidates with these parents."""
        if key == HIDDEN:
            return slice(None)
        ends = torch.tensor([key, key + 1], device=self.keys.device)
        return slice(*torch.searchsorted(self.keys, ends).tolist())

"""Images with lying or standing stripes, and a generator of such."""

import torch
from torch import nn

from causal_diffusers.seeding import spawn


class Stripes(nn.Module):
    """Images with lying or standing stripes, as the sign of the first latent says."""

    latent_dim = 4

    def __init__(self):
        super().__init__()
        stripes = torch.tensor([-1.0, 1.0]).repeat(4).expand(8, 8)
        self.register_buffer("stripes", stripes.clone())
        self.strength = nn.Parameter(torch.tensor(0.3))

    def forward(self, z):
        stands = (10 * z[:, 0, None, None]).sigmoid()
        x = stands * self.stripes + (1 - stands) * self.stripes.T
        return (2 * x + self.strength * z[:, 1, None, None]).tanh()[:, None]


def rows_of_stripes(number, shares):
    """Draw X and an image that stands with one of two probabilities."""
    stream = spawn(0, "rows")
    X = torch.randint(2, (number,), generator=stream)
    stands = torch.rand(number, generator=stream) < torch.tensor(shares)[X]
    z = torch.randn(number, 4, generator=stream)
    z[:, 0] = z[:, 0].abs() * torch.where(stands, 1, -1)
    return {"X": X, "I": (Stripes()(z).detach() + 1) / 2}

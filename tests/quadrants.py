"""Images that are nothing but a bright quadrant, confounded with a label or with each other.

The class of an image is the quadrant that is bright. Four hidden states choose it, and beside
it a label, or the quadrant of a second image; X tilts the label. All truths are sums.
"""

import torch

HIDDEN = torch.tensor([0.3, 0.3, 0.2, 0.2])
STAY = 0.85 * torch.eye(4) + 0.05 * (1 - torch.eye(4))  # P(class | u)
LABEL = torch.tensor([[0.03, 0.97, 0.1, 0.9], [0.15, 0.9, 0.02, 0.98]])  # P(l = 1 | x, u)


def draw(classes, generator):
    """Draw images of bright quadrants in [0, 1], with noise."""
    corners = torch.eye(4).view(4, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)
    noise = torch.rand(len(classes), 1, 8, 8, generator=generator)
    return (0.7 * corners[classes] + 0.3 * noise).clamp(0, 1)


def classes_of(images):
    """Read the bright quadrant without any network."""
    return torch.nn.functional.avg_pool2d(images, 4).flatten(1).argmax(dim=1)


def rows(number, partner, seed=0):
    """Draw X, an image I, and L (a label) or J (an image)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(2, (number,), generator=generator)
    u = torch.multinomial(HIDDEN, number, replacement=True, generator=generator)
    c = torch.multinomial(STAY[u], 1, generator=generator).squeeze(1)
    columns = {"X": x, "I": draw(c, generator)}
    if partner == "L":
        return {**columns, "L": torch.bernoulli(LABEL[x, u], generator=generator).long()}
    other = torch.multinomial(STAY[u], 1, generator=generator).squeeze(1)
    return {**columns, "J": draw(other, generator)}


def joint(partner):
    """Enumerate P(x, class of I, partner)."""
    if partner == "L":
        label = torch.stack([1 - LABEL, LABEL], dim=2)
        return torch.einsum("u,uc,xul->xcl", HIDDEN, STAY, label) / 2
    return torch.einsum("u,uc,ud->cd", HIDDEN, STAY, STAY).expand(2, 4, 4) / 2


def apart(table):
    """Give the joint of a model that ignores the confounder."""
    x = table.sum((1, 2), keepdim=True)
    return table.sum(2, keepdim=True) * table.sum(1, keepdim=True) / x


def distance(one, two):
    return ((one - two).abs().sum() / 2).item()

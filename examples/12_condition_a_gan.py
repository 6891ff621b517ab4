"""Put a GAN that knows no labels into a graph, and tell it what to draw.

First a small DCGAN is trained on scikit-learn's 8x8 digits, without their labels: in real
life you download one, and `causal-diffusers convert-generator` makes its folder. From
there it is frozen. By Bayes, the mechanism of the image learns which of the GAN's images
fit which digit, and how often the GAN should have drawn each kind.

Two minutes on one core. The GAN is a small one; so are its digits.

    python examples/12_condition_a_gan.py
"""

import argparse
import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

import causal_diffusers as cd
from causal_diffusers.backbones import GANGenerator
from causal_diffusers.notebook import grid

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="few steps: does it run at all?")
parser.add_argument("--output", default="gan_do_d.png", help="where the picture goes")
options = parser.parse_args()
gan_steps, steps = (10, 5) if options.smoke else (2500, 600)
stream = torch.Generator().manual_seed(0)
torch.manual_seed(0)

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
labels = torch.tensor(digits.target)

# Somebody else's GAN: unconditional, trained on images alone.
layers = {"channels": [64, 32, 1], "kernel_size": [4, 4, 3], "stride": [1, 2, 1]}
made = GANGenerator("dcgan", {"latent_dim": 16, "padding": [0, 1, 1], "bias": True, **layers})
network = made.network.requires_grad_(True).train()
critic = nn.Sequential(
    *(nn.Conv2d(1, 32, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 4, 2, 1)),
    *(nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(1024, 1)),
)
adams = [torch.optim.Adam(m.parameters(), 5e-4, (0.5, 0.99)) for m in (network, critic)]
for _ in range(gan_steps):
    rows = torch.randint(len(images), (64,), generator=stream)
    fake = network(torch.randn(64, 16, generator=stream))
    real = 2 * images[rows] - 1
    real = real + 0.1 * torch.randn(real.shape, generator=stream)
    loss = nn.functional.softplus(critic(fake.detach())) + nn.functional.softplus(-critic(real))
    adams[1].zero_grad()
    loss.mean().backward()
    adams[1].step()
    adams[0].zero_grad()
    nn.functional.softplus(-critic(fake)).mean().backward()
    adams[0].step()

with tempfile.TemporaryDirectory() as folder:
    made.save_pretrained(Path(folder))
    frozen = cd.GANMechanism.from_pretrained(folder, candidates=32)

# From here on it is frozen: D -> I, a cause that it never heard of.
digit = cd.Categorical(range(10))
pipe = cd.CausalPipeline.from_graph("D -> I", {"D": digit, "I": cd.Image(1, 8, 8)}, {"I": frozen})
print(pipe.plan())
rows = {"D": labels, "I": images}
cd.ModularTrainer(pipe, rows, config=cd.TrainingConfig(steps=steps)).train()

out = pipe(
    num_samples=80,
    do={"D": [d for d in range(10) for _ in range(8)]},
    generator=torch.Generator().manual_seed(1),
)
grid(out.images["I"]).save(options.output)
print(f"{out.query}: a row of eight for each digit, in {options.output}")

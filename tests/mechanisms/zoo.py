"""One tiny instance of each concrete mechanism, in each kind of company it keeps.

An entry makes a bound mechanism whose trainable tensors are moved away from where they
start, so that a law which holds only for an adapter that does nothing is seen to fail.
"""

import copy
import functools
from pathlib import Path

import torch

from causal_diffusers.mechanisms import (
    CategoricalMechanism,
    ConfounderPrior,
    DiffusionMechanism,
    FlowMechanism,
    GANMechanism,
    LikelihoodMechanism,
    SamplingOptions,
)
from causal_diffusers.mechanisms.diffusion import CODE
from causal_diffusers.variables import Categorical, Confounder, Continuous, Image
from tiny import make_tiny_gan, shake

LETTERS, YES, PICTURE = Categorical("abc"), Categorical(["no", "yes"]), Image(1, 8, 8)
PHOTO = Image(3, 5, 12)
NUMBER, VECTOR = Continuous(mean=3, scale=2), Continuous(dim=3)

# Parents and confounders, by mechanism.
SIGNATURES = {
    "categorical, alone": ("categorical", {}, {}),
    "categorical, of labels": ("categorical", {"X": LETTERS, "W": YES}, {}),
    "categorical, of images": ("categorical", {"J": PHOTO, "I": PICTURE, "X": YES}, {}),
    "categorical, confounded": (
        "categorical",
        {"X": LETTERS},
        {"U": Confounder(dim=3), "K": Confounder(states=4)},
    ),
    "categorical, only confounded": ("categorical", {}, {"U": Confounder()}),
    "categorical, of numbers": ("categorical", {"X": NUMBER, "Z": VECTOR}, {}),
    "flow, alone": ("flow", {}, {}),
    "flow, of everything": ("flow", {"X": LETTERS, "I": PHOTO, "Z": VECTOR}, {}),
    "flow, confounded": (
        "flow",
        {"X": NUMBER},
        {"U": Confounder(dim=3), "K": Confounder(states=4)},
    ),
    "flow, only confounded": ("flow", {}, {"U": Confounder()}),
    "diffusion, alone": ("diffusion", {}, {}),
    "diffusion, of labels": ("diffusion", {"X": LETTERS, "W": YES}, {}),
    "diffusion, of images": ("diffusion", {"J": PHOTO, "X": YES}, {}),
    "diffusion, of numbers": ("diffusion", {"X": NUMBER, "Z": VECTOR}, {}),
    "gan, alone": ("gan", {}, {}),
    "gan, of labels": ("gan", {"X": LETTERS, "W": YES}, {}),
    "gan, of images": ("gan", {"J": PHOTO, "X": YES}, {}),
    "gan, confounded": ("gan", {"X": YES}, {"U": Confounder(dim=3), "K": Confounder(states=4)}),
    "diffusion, confounded": (
        "diffusion",
        {"X": LETTERS, "J": PHOTO},
        {"U": Confounder(dim=3), "K": Confounder(states=4)},
    ),
}

KINDS = ["categorical, confounded", "flow, alone", "diffusion, of labels", "gan, of labels"]


def make(name, base, *, shaken=True):
    """Make one mechanism of the zoo on a tiny base."""
    return copy.deepcopy(_make(name, base, shaken))


@functools.cache
def _make(name, base, shaken):
    kind, parents, confounders = SIGNATURES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "categorical":
            mechanism = CategoricalMechanism(width=8).bind(LETTERS, parents, confounders)
        elif kind == "flow":
            made = NUMBER if confounders else Continuous(dim=2)
            mechanism = FlowMechanism(width=8).bind(made, parents, confounders)
        elif kind == "gan":
            generator = make_tiny_gan(Path(base).with_name(Path(base).name + "-gan"))
            mechanism = GANMechanism.from_pretrained(generator, candidates=8)
            mechanism.bind(PICTURE, parents, confounders)
        else:
            mechanism = DiffusionMechanism.from_pretrained(base, rank=2, codes=4)
            mechanism.bind(PICTURE, parents, confounders)
    if shaken:
        shake([mechanism])
    return mechanism.eval()


def make_prior():
    """Make the one component that is no mechanism."""
    prior = ConfounderPrior(states=4)
    shake([prior])
    return prior


def draw_inputs(mechanism, number, seed=0):
    """Draw what a mechanism listens to: N values of each parent and confounder."""
    generator = torch.Generator().manual_seed(seed)
    parents = {n: draw_values(v, number, generator) for n, v in mechanism.parents.items()}
    confounders = {
        name: torch.randn(number, u.dim, generator=generator)
        if u.states is None
        else torch.randint(u.states, (number,), generator=generator)
        for name, u in mechanism.confounders.items()
    }
    return parents, confounders


def draw_context(mechanism, number, seed=0):
    """Draw what the denoiser of an image sees: its parents, and its code if it has one."""
    parents, confounders = draw_inputs(mechanism, number, seed)
    generator = torch.Generator().manual_seed(seed)
    code = {CODE: draw_values(mechanism.head.variable, number, generator)} if confounders else {}
    return {**parents, **code}


def loss(mechanism, number):
    """Compute what some training of the mechanism would minimise."""
    if isinstance(mechanism, GANMechanism):
        return weigh(mechanism).sum()
    parents, confounders = draw_inputs(mechanism, number)
    if not hasattr(mechanism, "predict"):
        values = sample(mechanism, number)
        return -mechanism.log_prob(values, parents, confounders).sum()
    hidden, t = torch.arange(number) % 2 == 0, torch.arange(number)
    x = draw_values(mechanism.variable, number, torch.Generator().manual_seed(0))
    parents = draw_context(mechanism, number)
    total = mechanism.predict(x, t, parents, hidden).square().sum()
    if confounders:  # the reader and the law of the code learn on their own
        inputs = {n: v for n, v in parents.items() if n != CODE}, confounders
        total = total + mechanism.reader(x).square().sum()
        total = total + mechanism.head.logits(*inputs).square().sum()
    return total


def draw_values(variable, number, generator):
    """Draw encoded values of a variable, spread evenly."""
    if isinstance(variable, Categorical):
        return torch.randint(len(variable.labels), (number,), generator=generator)
    if isinstance(variable, Continuous):
        return torch.randn(number, *variable.shape, generator=generator)
    return 2 * torch.rand(number, *variable.shape, generator=generator) - 1


def sample(mechanism, number=6, seed=0, inputs=None, **options):
    """Sample a mechanism; the seed decides its exogenous noise."""
    return mechanism.sample(
        *(inputs or draw_inputs(mechanism, number)),
        num_samples=number,
        generator=torch.Generator().manual_seed(seed),
        options=SamplingOptions(**{"num_inference_steps": 2, **options}),
    )


def weigh(gan, inputs=None):
    """What a GAN makes of its parents, with a gradient: images, or weights of candidates."""
    parents, confounders = inputs or draw_inputs(gan, 6)
    stream = torch.Generator().manual_seed(0)
    if gan.conditioning == "latent":
        return gan.relaxed_sample(parents, confounders, num_samples=6, generator=stream)
    return gan._weigh(parents, 0, 6, stream)[1]


def respond(mechanism, inputs):
    """What the parents and the confounders bring about, to the last bit."""
    if isinstance(mechanism, LikelihoodMechanism):
        value = draw_values(mechanism.variable, 1, torch.Generator().manual_seed(1))
        return mechanism.log_prob(value.expand(6, *value.shape[1:]), *inputs)
    is_gan = isinstance(mechanism, GANMechanism)
    return weigh(mechanism, inputs) if is_gan else sample(mechanism, inputs=inputs)

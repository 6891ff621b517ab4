"""Training lowers the loss, and goes on after a kill from exactly what was kept."""

import contextlib

import torch

from causal_diffusers.discovery import ADAG
from causal_diffusers.discovery.dreams import WidePrior
from causal_diffusers.discovery.lessons import learn, loss_of

PRIOR = WidePrior(most_variables=6, most_samples=50, budget=250)


def new(seed=0):
    torch.manual_seed(seed)
    return ADAG(width=8, layers=2)


def held_out(model, count=10):
    generator = torch.Generator().manual_seed(100)
    with torch.no_grad():
        losses = [loss_of(model, PRIOR.dream(generator)) for _ in range(count)]
    return float(torch.stack(losses).mean())


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_a_few_steps_lower_the_loss():
    model, told = new(), []
    before = held_out(model)
    learn(model, PRIOR.dream, 40, rate=5e-3, tell=lambda step, loss: told.append((step, loss)))
    assert held_out(model) < before - 0.02
    assert [step for step, _ in told] == list(range(40))
    assert not model.training


def test_the_loss_prefers_the_truth():
    """Logits that know the graphs cost less than any others tried."""
    dream = PRIOR.dream(torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(0)

    class Oracle:
        def __init__(self, logits):
            self.logits = logits

        def __call__(self, summary, *_):
            from causal_diffusers.discovery.edges import Edges

            noise = (dream.tasks.deviations / summary.unit[:, None]).log()
            return [Edges(self.logits, dream.tasks.weights, noise)]

    truth = torch.where(dream.tasks.graphs, 12.0, -12.0)
    best = float(loss_of(Oracle(truth), dream))
    assert best < 1e-3
    for _ in range(5):
        wrong = torch.where(torch.rand(truth.shape, generator=generator) < 0.1, -truth, truth)
        assert float(loss_of(Oracle(wrong), dream)) > best


def test_every_parameter_gets_a_gradient():
    model = new()
    loss = sum(loss_of(model, PRIOR.dream(torch.Generator().manual_seed(k))) for k in range(3))
    loss.backward()
    learn(model, PRIOR.dream, 2)  # what starts at zero hides what is behind it, once
    model.zero_grad()
    loss_of(model, PRIOR.dream(torch.Generator().manual_seed(9))).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in without if not name.endswith("qkv.bias")] == []


def test_the_same_seed_gives_the_same_weights():
    first, second, other = new(), new(), new()
    for model, seed in ((first, 3), (second, 3), (other, 4)):
        learn(model, PRIOR.dream, 3, seed=seed)
    assert same(first, second)
    assert not same(first, other)


class Killed(Exception):  # noqa: N818
    """The process ends here."""


def killed_after(steps):
    def tell(step, _):
        if step == steps:
            raise Killed

    return tell


def optimiser_of(monkeypatch):
    """Keep hold of the optimisers that training makes."""
    made, make = [], torch.optim.AdamW

    def remember(*arguments, **options):
        made.append(make(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(torch.optim, "AdamW", remember)
    return made


def test_after_a_kill_training_goes_on_from_what_was_kept(tmp_path, monkeypatch):
    """The state on disk is that at the checkpoint: weights, both moments, the learning rate."""
    monkeypatch.setattr("causal_diffusers.discovery.lessons._EVERY", 4)
    made = optimiser_of(monkeypatch)
    kept, rates = new(), []
    with contextlib.suppress(Killed):
        learn(kept, PRIOR.dream, 12, checkpoint=tmp_path, tell=killed_after(4))
    reference = new()
    with contextlib.suppress(Killed):  # the same steps, stopped before the one that the kill lost
        learn(
            reference,
            lambda g: PRIOR.dream(g) if len(rates) < 4 else (_ for _ in ()).throw(Killed),
            12,
            tell=lambda *_: rates.append(made[-1].param_groups[0]["lr"]),
        )
    assert not same(kept, reference)  # one step later in memory
    resumed, steps = new(seed=7), []

    def stop(_):
        steps.append(made[-1].param_groups[0]["lr"])
        raise Killed

    with contextlib.suppress(Killed):
        learn(resumed, stop, 12, checkpoint=tmp_path)
    assert same(resumed, reference)
    assert steps == [made[-2].param_groups[0]["lr"]]
    states = [optimizer.state for optimizer in made[-2:]]
    for p, q in zip(reference.parameters(), resumed.parameters(), strict=True):
        a, b = states[0][p], states[1][q]
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_what_is_finished_is_not_trained_again(tmp_path, monkeypatch):
    monkeypatch.setattr("causal_diffusers.discovery.lessons._EVERY", 2)
    first, second, told = new(), new(seed=1), []
    learn(first, PRIOR.dream, 4, checkpoint=tmp_path)
    learn(second, PRIOR.dream, 4, checkpoint=tmp_path, tell=lambda *each: told.append(each))
    assert same(first, second)
    assert told == []


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path, monkeypatch):
    monkeypatch.setattr("causal_diffusers.discovery.lessons._EVERY", 2)
    learn(new(), PRIOR.dream, 2, checkpoint=tmp_path)
    whole = (tmp_path / "adag.safetensors").read_bytes()
    (tmp_path / "adag.safetensors.part").write_bytes(whole[:100])
    told = []
    learn(new(), PRIOR.dream, 3, checkpoint=tmp_path, tell=lambda step, _: told.append(step))
    assert told == [2]

"""The test of conditional independence keeps its level and sees what there is."""

import torch

from causal_diffusers.metrics.dependence import conditional_dependence


def p_values(make, repeats=200, **how):
    found = []
    for seed in range(repeats):
        generator = torch.Generator().manual_seed(seed)
        a, b, rest = make(generator)
        found.append(
            conditional_dependence(a, b, **rest, generator=generator, repeats=200, **how).p_value
        )
    return torch.tensor(found)


def labels(p, generator):
    return torch.nn.functional.one_hot(torch.multinomial(p, 1, generator=generator)[:, 0])


def test_the_level_holds_for_labels_in_strata():
    def make(generator):
        z = torch.randint(3, (300,), generator=generator)
        tables = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5], [0.1, 0.8, 0.1]])
        return labels(tables[z], generator), labels(tables[z].flip(1), generator), {"strata": z}

    p = p_values(make)
    assert (p < 0.05).float().mean() < 0.09  # .05 and three standard errors
    assert (p < 0.5).float().mean() < 0.61


def test_the_level_holds_where_a_number_is_regressed_on():
    def make(generator):
        z = torch.randn(400, 1, generator=generator)
        a, b = (z.sin() + torch.randn(400, 1, generator=generator) for _ in "ab")
        return a, b, {"given": z}

    assert (p_values(make, repeats=100) < 0.05).float().mean() < 0.13


def test_an_interaction_that_cancels_over_strata_is_seen():
    def make(generator):
        z, a = torch.randint(2, (2, 500), generator=generator)
        b = torch.where(torch.rand(500, generator=generator) < 0.8, a ^ z, 1 - (a ^ z))
        onehot = torch.nn.functional.one_hot
        return onehot(a), onehot(b), {"strata": z}

    assert (p_values(make, repeats=20) < 0.01).all()


def test_weights_undo_a_selection():
    """Rows are kept by a rule that ties a to b; weighed by its inverse they are free again."""

    def make(generator):
        a, b = torch.randint(2, (2, 4000), generator=generator)
        share = 0.3 + 0.5 * (a == b).double()
        kept = torch.rand(4000, generator=generator) < share
        a, b = (torch.nn.functional.one_hot(x[kept]) for x in (a, b))
        return a, b, {"weights": 1 / share[kept]}

    weighed = p_values(make, repeats=60)
    blind = p_values(lambda g: (*make(g)[:2], {}), repeats=20)
    assert (blind < 0.01).all()
    assert (weighed < 0.05).float().mean() < 0.15


def test_too_few_rows_say_nothing():
    a = torch.eye(2).repeat(2, 1)
    found = conditional_dependence(a, a, generator=torch.Generator())
    assert (found.p_value, found.num_terms, str(found)) == (1.0, 0, "too few rows")

"""Models whose truth is known: real mechanisms set to given tables, and their enumeration."""

import itertools
import math

import torch

from causal_diffusers.graphs import ADMG
from causal_diffusers.mechanisms import CategoricalMechanism, ConfounderPrior
from causal_diffusers.scm import StructuralCausalModel
from causal_diffusers.variables import Categorical, Confounder


class ExactModel:
    """A discrete model with known tables, as mechanisms and as an enumeration.

    Every confounder is finite. `tables[v]` has an axis for each parent, then one for each
    confounder (both sorted by name), then one for v.
    """

    def __init__(self, graph, *, seed=0, values=2, states=2):
        self.graph = ADMG.parse(graph) if isinstance(graph, str) else graph
        generator = torch.Generator().manual_seed(seed)
        self.values, self.states = values, states
        self.priors = {u: _simplex((states,), generator) for u in self.graph.confounders}
        self.tables = {
            v: _simplex((*self._axes(v), values), generator) for v in self.graph.variables
        }

    def inputs(self, variable):
        """Name what a variable listens to, in the order of its table's axes."""
        return [
            *sorted(self.graph.parents(variable)),
            *sorted(self.graph.confounders_of(variable)),
        ]

    def scm(self):
        """Build the same model out of the library's mechanisms."""
        confounder = Confounder(states=self.states)
        return StructuralCausalModel(
            self.graph,
            {v: Categorical(range(self.values)) for v in self.graph.variables},
            {v: self._mechanism(v) for v in self.graph.variables},
            dict.fromkeys(self.graph.confounders, confounder),
            {u: self._prior(u) for u in self.graph.confounders},
        )

    def probability(self, outcome, do=None, given=None):
        """Enumerate P(outcome | do, given), with shape (values,)."""
        do, given, total = do or {}, given or {}, torch.zeros(self.values, dtype=torch.float64)
        names = [*self.graph.variables, *self.graph.confounders]
        ranges = [range(self.values)] * len(self.graph.variables)
        ranges += [range(self.states)] * len(self.graph.confounders)
        for codes in itertools.product(*ranges):
            world = dict(zip(names, codes, strict=True))
            if all(world[name] == value for name, value in {**do, **given}.items()):
                total[world[outcome]] += self._weight(world, do)
        return total / total.sum()

    def _weight(self, world, do):
        free = [v for v in self.graph.variables if v not in do]
        factors = [self.priors[u][world[u]] for u in self.priors]
        factors += [self.tables[v][tuple(world[i] for i in (*self.inputs(v), v))] for v in free]
        return math.prod(map(float, factors))

    def _axes(self, variable):
        parents = len(self.graph.parents(variable))
        return (self.values,) * parents + (self.states,) * len(self.graph.confounders_of(variable))

    def _mechanism(self, variable):
        """Set a network to a table: one hidden unit fires for each row of the table."""
        table = self.tables[variable]
        rows = list(itertools.product(*map(range, table.shape[:-1])))
        mechanism = CategoricalMechanism(width=len(rows), depth=1)
        mechanism.bind(
            Categorical(range(self.values)),
            {p: Categorical(range(self.values)) for p in self.graph.parents(variable)},
            {u: Confounder(states=self.states) for u in self.graph.confounders_of(variable)},
        )
        parents, sharp = len(self.graph.parents(variable)), 100.0
        listens = [torch.zeros(len(rows), size) for size in table.shape[:-1]]
        for unit, row in enumerate(rows):
            for axis, code in enumerate(row):
                listens[axis][unit, code] = sharp
        threshold = torch.full((len(rows), 1), sharp * (0.5 - len(listens)))
        with torch.no_grad():
            seen = [threshold, *listens[:parents]]  # the encoder's first feature is a constant 1
            mechanism.from_parents.weight.copy_(torch.cat(seen, dim=1))
            if listens[parents:]:
                mechanism.from_confounders.weight.copy_(torch.cat(listens[parents:], dim=1))
            last = mechanism.network[-1]
            last.weight.copy_(table.reshape(len(rows), -1).log().T / (sharp / 2))
            last.bias.zero_()
        return mechanism.eval()

    def _prior(self, confounder):
        prior = ConfounderPrior(states=self.states)
        with torch.no_grad():
            prior.logits.copy_(self.priors[confounder].log())
        return prior


def _simplex(shape, generator):
    """Draw tables whose last axis sums to one, away from zero."""
    weights = 0.1 + torch.rand(shape, generator=generator, dtype=torch.float64) ** 2
    return weights / weights.sum(dim=-1, keepdim=True)


def tvd(p, q):
    """Total variation distance."""
    return 0.5 * (p - q).abs().sum().item()

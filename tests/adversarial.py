"""Functions whose gradients along a path are hard to integrate from few points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi
from typing import Final

import torch
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Case:
    """A function with the ends of a path.

    Attributes:
        function: Gives a number for each row.
        x: The path's end, (1, features).
        start: Its start, of the same shape.
    """

    function: Function
    x: Tensor
    start: Tensor


class Chance:
    """Random numbers, and random functions of one place along a path.

    Attributes:
        x: The path's end, (1, features).
        start: Its start.
    """

    def __init__(self, seed: int) -> None:
        self._source = torch.Generator().manual_seed(seed)
        features = 2 + self.below(9)
        self.x = self.normal(1, features)
        # Half of the paths start at zero.
        self.start = self.normal(1, features) * 0.5 * self.below(2)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._source, dtype=torch.float64)

    def share(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(torch.rand(1, generator=self._source))

    def below(self, stop: int) -> int:
        return int(torch.randint(stop, (1,), generator=self._source))

    @property
    def step(self) -> Tensor:
        """The way from start to end, (features,)."""
        return (self.x - self.start)[0]

    def place(self) -> Function:
        """A linear function that goes from 0 to 1 along the path, and anywhere beside it."""
        weight = self.normal(len(self.step))
        weight = weight / (weight @ self.step)
        return lambda x: (x - self.start) @ weight

    def line(self, size: float = 1.0) -> Function:
        weight = self.normal(len(self.step)) * size
        return lambda x: x @ weight

    def unseen(self) -> Function:
        """A linear function that is 0 on the whole path, but has a gradient there."""
        weight = self.normal(len(self.step))
        weight = weight - self.step * (weight @ self.step) / (self.step @ self.step)
        return lambda x: (x - self.start) @ weight

    def few(self, most: int, make: Callable[[Chance], Function], line: float = 1.0) -> Function:
        """A sum of some functions of random sizes, and of a linear one."""
        sizes = self.normal(1 + self.below(most)).tolist()
        parts = [(size, make(self)) for size in sizes]
        rest = self.line(line)
        return lambda x: torch.stack([size * f(x) for size, f in parts]).sum(0) + rest(x)


def _kink(chance: Chance) -> Function:
    place, at = chance.place(), chance.share()
    return lambda x: (place(x) - at).relu()


def _ramp(chance: Chance) -> Function:
    place, at, wide = chance.place(), chance.share(0, 0.9), chance.share(0.05, 0.25)
    return lambda x: (place(x) - at).relu() - (place(x) - at - wide).relu()


def _wave(chance: Chance) -> Function:
    place, turns, shift = chance.place(), 2 * pi * chance.share(0, 40), chance.share(0, 2 * pi)
    return lambda x: torch.sin(turns * place(x) + shift)


def _even_wave(chance: Chance) -> Function:
    """Periods that are those of an evenly spaced grid, times what is 0 on the path."""
    place, unseen = chance.place(), chance.unseen()
    turns = 2 * pi * 2 ** chance.below(6)
    return lambda x: torch.cos(turns * place(x)) * unseen(x)


def _saturated(chance: Chance) -> Function:
    place, at, steep = chance.place(), chance.share(), chance.share(5, 100)
    return lambda x: torch.tanh(steep * (place(x) - at))


def _bump(chance: Chance) -> Function:
    place, at, wide = chance.place(), chance.share(), chance.share(0.05, 0.3)
    return lambda x: torch.exp(-(((place(x) - at) / wide) ** 2))


def _jump(chance: Chance) -> Function:
    place, at = chance.place(), chance.share()
    return lambda x: (place(x) > at).double() + 0 * place(x)


def _hidden_ramp(chance: Chance) -> Function:
    """A ramp times what is 0 on the path: the outputs there show nothing of it."""
    ramp, unseen, wide = _ramp(chance), chance.unseen(), 0.1
    return lambda x: ramp(x) / wide * unseen(x)


def network(depth: int, seed: int, features: int) -> Function:
    """A random network of ReLUs."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        width = [8, 32, 64][seed % 3]
        layers: list[nn.Module] = []
        for i in range(depth):
            linear = nn.Linear(width if i else features, width if i < depth - 1 else 1)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.normal_(linear.bias, std=0.3)
            layers += [linear, nn.ReLU()]
    model = nn.Sequential(*layers[:-1]).double()
    return lambda x: model(x)[:, 0]


def _issue(chance: Chance) -> Case:
    """The function of issue 11: a ramp in one input, and another input."""
    at, wide = chance.share(0.05, 0.9), chance.share(0.05, 0.3)
    return Case(
        lambda x: (x[:, 0] - at).relu() - (x[:, 0] - at - wide).relu() + x[:, 1],
        torch.ones(1, 2, dtype=torch.float64),
        torch.zeros(1, 2, dtype=torch.float64),
    )


def _sums(
    part: Callable[[Chance], Function], most: int, line: float = 1.0
) -> Callable[[Chance], Case]:
    def make(chance: Chance) -> Case:
        return Case(chance.few(most, part, line), chance.x, chance.start)

    return make


def _network(depth: int) -> Callable[[Chance], Case]:
    def make(chance: Chance) -> Case:
        seed = chance.below(1 << 30)
        return Case(network(depth, seed, chance.x.shape[1]), 2 * chance.x, chance.start)

    return make


def _balanced(chance: Chance) -> Case:
    """The difference of one function of two halves that move alike: it cancels in the output."""
    kinks, n = chance.few(15, _kink), chance.x.shape[1]
    rest = chance.line()
    return Case(
        lambda x: kinks(x[:, :n]) - kinks(x[:, n:]) + rest(x[:, :n]),
        torch.cat([chance.x, chance.x], 1),
        torch.cat([chance.start, chance.start], 1),
    )


FAMILIES: Final[dict[str, Callable[[Chance], Case]]] = {
    "a ramp in one input": _issue,
    "kinks": _sums(_kink, 15),
    "ramps": _sums(_ramp, 3),
    "waves": _sums(_wave, 3),
    "waves of the grid's periods": _sums(_even_wave, 1),
    "saturation": _sums(_saturated, 4, 0.3),
    "bumps": _sums(_bump, 3, 0.3),
    "jumps": _sums(_jump, 4),
    "ramps without an output": _sums(_hidden_ramp, 1, 0.3),
    **{f"networks of {depth} layers": _network(depth) for depth in range(2, 7)},
    "differences that cancel": _balanced,
}
"""Families of adversarial functions, by what makes them hard."""


def cases(family: str, count: int) -> list[Case]:
    """The first cases of a family, always the same."""
    first = 1000 * list(FAMILIES).index(family)
    return [FAMILIES[family](Chance(first + i)) for i in range(count)]


def mean_gradient(case: Case, points: int = 20_000) -> Tensor:
    """The gradient averaged over the path, (1, features), by the midpoint rule."""
    alphas = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    at = (case.start + alphas[:, None] * (case.x - case.start)).requires_grad_()
    (gradients,) = torch.autograd.grad(case.function(at).sum(), at)
    return gradients.mean(0, keepdim=True)

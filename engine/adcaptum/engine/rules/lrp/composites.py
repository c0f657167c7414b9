"""Composites: the choice of a rule of relevance propagation for each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import ClassVar, Literal, Protocol, get_args

from torch import nn

from adcaptum.engine.rules.lrp.affine_maps import Kind
from adcaptum.engine.rules.lrp.affine_rules import (
    AlphaBeta,
    Bias,
    Epsilon,
    Flat,
    Gamma,
    LayerRule,
    ZBox,
    ZPlus,
)

Gates = Literal["signal", "uniform"]
CompositeName = Literal[
    "epsilon",
    "epsilon_plus",
    "epsilon_plus_flat",
    "epsilon_gamma_box",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
    "attn_lrp",
]


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """The place of a map in the model.

    Attributes:
        kind: The kind of the map.
        module: The class of modules that compute such a map, whether or not a module did.
        owners: The modules that own its weight, by name: none for functional calls, or where the
            weight is computed; several where it is tied.
        first: Whether no other linear map or convolution stands between it and the input.
        last: Whether it is the last map that the model calls.
    """

    kind: Kind
    module: type[nn.Module]
    owners: tuple[tuple[str, nn.Module], ...] = ()
    first: bool = False
    last: bool = False


class Selector(Protocol):
    """A predicate on places, which selects those of a rule.

    Attributes:
        asks: The attributes of a place that it reads, beside its kind.
    """

    asks: ClassVar[frozenset[str]]

    def __hash__(self) -> int: ...

    def __call__(self, place: Place) -> bool:
        """Returns whether the selector fits a place."""
        ...


@dataclass(frozen=True, slots=True)
class OfKind:
    """Operations of some kinds."""

    kinds: tuple[Kind, ...]
    asks: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, place: Place) -> bool:
        return place.kind in self.kinds


@dataclass(frozen=True, slots=True)
class OfType:
    """Modules of some classes, and functional calls that compute the same."""

    types: tuple[type[nn.Module], ...]
    asks: ClassVar[frozenset[str]] = frozenset({"owners"})

    def __call__(self, place: Place) -> bool:
        if not place.owners:
            return issubclass(place.module, self.types)
        return any(isinstance(module, self.types) for _, module in place.owners)


@dataclass(frozen=True, slots=True)
class Named:
    """Modules by their qualified names; `*` stands for anything."""

    patterns: tuple[str, ...]
    asks: ClassVar[frozenset[str]] = frozenset({"owners"})

    def __call__(self, place: Place) -> bool:
        return any(fnmatchcase(name, p) for name, _ in place.owners for p in self.patterns)


@dataclass(frozen=True, slots=True)
class Those:
    """Given modules."""

    modules: tuple[nn.Module, ...]
    asks: ClassVar[frozenset[str]] = frozenset({"owners"})

    def __call__(self, place: Place) -> bool:
        return any(module is mine for _, module in place.owners for mine in self.modules)


@dataclass(frozen=True, slots=True)
class First:
    """The maps of some kinds nearest to the input: one on each path from it."""

    kinds: tuple[Kind, ...] = ("linear", "convolution")
    asks: ClassVar[frozenset[str]] = frozenset({"first"})

    def __call__(self, place: Place) -> bool:
        return place.first and place.kind in self.kinds


@dataclass(frozen=True, slots=True)
class Last:
    """The last map that the model calls, if it is of some kinds."""

    kinds: tuple[Kind, ...] = ("linear", "convolution")
    asks: ClassVar[frozenset[str]] = frozenset({"last"})

    def __call__(self, place: Place) -> bool:
        return place.last and place.kind in self.kinds


@dataclass(frozen=True, slots=True)
class Composite:
    """The choice of a rule for each operation.

    Attributes:
        choices: Selectors with their rules; the first that fits decides.
        default: The rule of all other maps.
        gates: The receiver of the relevance of a product of two activations. "signal": in a gate
            times a signal (softmax times values, sigmoid times signal) the signal gets it all, so
            that attention conserves relevance (Ali et al. 2022; Arras et al. 2017); the factors of
            other products get equal parts. "uniform": each factor gets half, and softmax is
            expanded to first order, which does not conserve it (AttnLRP, Achtibat et al. 2024).
        epsilon: The stabiliser of sums, means and products; None: the machine epsilon.
        bias: The fate of the share of added constants, and of normalisations' biases.
    """

    choices: tuple[tuple[Selector, LayerRule], ...] = ()
    default: LayerRule = field(default_factory=Epsilon)
    gates: Gates = "signal"
    epsilon: float | None = None
    bias: Bias = "keep"

    def rule(self, place: Place) -> LayerRule:
        """Returns the rule of the map at a place."""
        return next((rule for fits, rule in self.choices if fits(place)), self.default)

    def chosen(self, place: Place) -> bool:
        """Returns whether a selector fits the place, so that its rule is not the default."""
        return any(fits(place) for fits, _ in self.choices)

    def asks(self, what: str) -> bool:
        """Returns whether a selector reads an attribute of places: `first`, `last` or `owners`."""
        return any(what in fits.asks for fits, _ in self.choices)

    def overridden(self, rules: Mapping[nn.Module, LayerRule]) -> Composite:
        """Returns the composite with rules for some modules, which precede all others."""
        own = tuple((Those((module,)), rule) for module, rule in rules.items())
        return replace(self, choices=(*own, *self.choices))


COMPOSITES: tuple[CompositeName, ...] = get_args(CompositeName)
"""The names of composites."""


@lru_cache(maxsize=64)
def composite(
    name: CompositeName,
    *,
    epsilon: float | None = None,
    gamma: float = 0.25,
    low: float | None = None,
    high: float | None = None,
    bias: Bias = "keep",
) -> Composite:
    """Returns a composite from the literature.

    Args:
        name: The second rule of the name is that of convolutions, the third that of the map nearest
            to the input; other maps have Epsilon. attn_lrp has Epsilon, and AttnLRP's rules for
            attention.
        epsilon: The stabiliser of all rules' divisions; None: the machine epsilon.
        gamma: The parameter of the Gamma rule.
        low: The lowest value of inputs, for ZBox; None: that of each row.
        high: The highest one.
        bias: The fate of the biases' share.
    """
    box, flat = ZBox(low, high, epsilon), Flat(epsilon)
    convolutions = OfKind(("convolution",))
    plus, two_one = ZPlus(epsilon, bias), AlphaBeta(2.0, 1.0, epsilon, bias)
    choices: dict[CompositeName, tuple[tuple[Selector, LayerRule], ...]] = {
        "epsilon": (),
        "epsilon_plus": ((convolutions, plus),),
        "epsilon_plus_flat": ((First(), flat), (convolutions, plus)),
        "epsilon_gamma_box": (
            (First(("convolution",)), box),
            (convolutions, Gamma(gamma, epsilon, bias)),
        ),
        "epsilon_alpha2_beta1": ((convolutions, two_one),),
        "epsilon_alpha2_beta1_flat": ((First(), flat), (convolutions, two_one)),
        "attn_lrp": (),
    }
    return Composite(
        choices[name],
        Epsilon(epsilon, bias),
        "uniform" if name == "attn_lrp" else "signal",
        epsilon,
        bias,
    )

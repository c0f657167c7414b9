"""The base class of statistics of a stream of samples."""

from __future__ import annotations

import copy
from typing import Any, Protocol, Self, TypeVar, cast

from torch import Tensor

from adcaptum.attr.errors import InvalidInput

StatValue = Tensor | int | float

_S = TypeVar("_S", bound="Stat")


class StatStore(Protocol):
    """The store in which a statistic finds the ones it depends on."""

    def get(self, stat: Stat) -> Stat | None:
        """The stored statistic equal to `stat`, if there is one."""
        ...


class Stat:
    """A statistic of a stream of samples of one shape.

    Subclasses define `dependencies`, `init` (begins a stream), `update` (takes a sample, after the
    dependencies took it), `get` (the value) and `merge` (takes another stream's samples, before the
    dependencies do). Two with the same class and parameters are equal; a summarizer keeps one.

    Attributes:
        params: The parameters beyond the name.
        others: The store of its dependencies; None outside a summarizer.
    """

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        self.params: dict[str, Any] = kwargs
        self.others: StatStore | None = None
        self._name = name

    @property
    def name(self) -> str:
        """The key in a summary: the given name, else the class's in small letters."""
        if self._name is not None:
            return self._name
        own = type(self).__name__.lower()
        return f"{own}({self.params})" if self.params else own

    @property
    def dependencies(self) -> tuple[Stat, ...]:
        """The statistics that it depends on."""
        return ()

    def init(self) -> None:
        """Begins a new stream."""

    def update(self, x: Tensor) -> None:
        """Takes a sample."""
        raise NotImplementedError

    def get(self) -> StatValue | None:
        """The statistic of the samples so far; None before the first."""
        raise NotImplementedError

    def merge(self, other: Self) -> None:
        """Takes the samples of `other`, the same statistic of another stream."""
        raise NotImplementedError

    def fresh(self, others: StatStore) -> Self:
        """Returns a copy without samples whose dependencies are in `others`."""
        alone = copy.copy(self)
        alone.others = None
        made = copy.deepcopy(alone)
        made.others = others
        made.init()
        return made

    def _get_stat(self, stat: _S) -> _S | None:
        if self.others is None:
            raise InvalidInput(self.name, "outside a summarizer", f"inside: it needs {stat.name}")
        return cast("_S | None", self.others.get(stat))

    def _required(self, stat: _S) -> _S:
        found = self._get_stat(stat)
        assert found is not None, "a summarizer holds what its statistics build on"
        return found

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Stat)
            and type(self) is type(other)
            and frozenset(self.params.items()) == frozenset(other.params.items())
        )

    def __hash__(self) -> int:
        return hash((type(self), frozenset(self.params.items())))

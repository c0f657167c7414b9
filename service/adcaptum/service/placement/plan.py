"""The plan: which worker has which models, a pure function of what they need and have.

Rules:
1. The largest model chooses first; of models of one size the first by name.
2. Each model gets one worker before any gets a second one; then those with a number of replicas get
   these, and then all others every worker on which they fit.
3. A model takes the worker with the most memory left, and of such the one with the fewest models.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from adcaptum.service.placement.terms import ANYWHERE, Terms


@dataclass(frozen=True, slots=True)
class Demand:
    """The needs of a model.

    Attributes:
        name: Its name.
        nbytes: The memory that it takes on a worker's device.
        terms: Its terms.
    """

    name: str
    nbytes: int
    terms: Terms = ANYWHERE


@dataclass(frozen=True, slots=True)
class Capacity:
    """The room of a worker.

    Attributes:
        worker: Its id.
        device: Its device.
        nbytes: The memory for models; None: unknown, so that all fit.
    """

    worker: str
    device: str
    nbytes: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The models of each worker.

    Attributes:
        models: The names of each worker's models, in order.
        unplaced: The reason of each model that no worker has.
        short: The models with fewer replicas than they want, and what they have.
    """

    models: Mapping[str, tuple[str, ...]]
    unplaced: Mapping[str, str]
    short: Mapping[str, str]


@dataclass(slots=True)
class _Room:
    """A worker while it is filled."""

    capacity: Capacity
    place: int
    models: list[str] = field(default_factory=list)
    taken: int = 0

    @property
    def left(self) -> float:
        return inf if self.capacity.nbytes is None else self.capacity.nbytes - self.taken


def plan(demands: Iterable[Demand], capacities: Sequence[Capacity]) -> Plan:
    """Returns which worker has which models."""
    rooms = [_Room(each, place) for place, each in enumerate(capacities)]
    ordered = sorted(demands, key=lambda each: (-each.nbytes, each.name))
    unplaced = {}
    for demand in ordered:
        if not _place(demand, rooms, 1):
            unplaced[demand.name] = _reason(demand, rooms)
    short = {}
    limited = [each for each in ordered if each.terms.replicas and each.name not in unplaced]
    for demand in limited:
        wanted = demand.terms.replicas
        found = 1 + _place(demand, rooms, wanted - 1)
        if found < wanted:
            short[demand.name] = f"it wants {wanted} replicas, and there is room for {found}"
    for demand in ordered:
        if not demand.terms.replicas and demand.name not in unplaced:
            _place(demand, rooms, len(rooms))
    models = {room.capacity.worker: tuple(sorted(room.models)) for room in rooms}
    return Plan(models, unplaced, short)


def _place(demand: Demand, rooms: Sequence[_Room], most: int) -> int:
    """Places a model on further workers; returns on how many."""
    for count in range(most):
        fitting = [
            room
            for room in rooms
            if demand.terms.allows(room.capacity.device)
            and demand.name not in room.models
            and demand.nbytes <= room.left
        ]
        if not fitting:
            return count
        room = min(fitting, key=lambda each: (-each.left, len(each.models), each.place))
        room.models.append(demand.name)
        room.taken += demand.nbytes
    return most


def _reason(demand: Demand, rooms: Sequence[_Room]) -> str:
    """Returns why a model is on no worker."""
    allowed = [room for room in rooms if demand.terms.allows(room.capacity.device)]
    if not allowed:
        wanted = ", ".join(demand.terms.devices)
        found = ", ".join(dict.fromkeys(room.capacity.device for room in rooms))
        return f"its [placement] allows the devices {wanted}, and the workers have {found}"
    left = max(0.0, *(room.left for room in allowed))
    needed = f"it takes {_size(demand.nbytes)} of memory"
    return f"{needed}, and no worker that it may use has more than {_size(left)} left"


def _size(nbytes: float) -> str:
    """Returns a size for people."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if nbytes >= unit:
            return f"{nbytes / unit:.1f} {name}"
    return f"{nbytes:.0f} B"

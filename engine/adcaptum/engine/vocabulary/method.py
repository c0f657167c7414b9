"""Methods and their traits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Protocol, runtime_checkable

from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.site import INPUT

LayerUse = Literal["never", "optional", "required", "through"]
"""The use of a layer: never; optional or required, to explain the values at the layer instead of
the inputs; or through, to explain the inputs through a layer that has to be named."""


def needs_layer(use: LayerUse) -> bool:
    """Returns whether a layer has to be named."""
    return use in {"required", "through"}


@dataclass(frozen=True, slots=True)
class Traits:
    """The facts about a method that callers, drivers and the service need.

    Attributes:
        name: Its name on the wire and in the registry, such as integrated_gradients.
        paper: The paper that defines it, as a link.
        gradient: Whether it needs gradients of the model.
        operations: Whether it gives the model's operations another backward pass.
        baseline: Whether it compares with a baseline.
        random: Whether its result depends on the explicand's seed.
        feature_masks: Whether it groups elements by feature masks.
        layer: Its use of a layer.
        background: Whether it takes a background set: several baselines for each example.
        distribution: Whether the rows of the baselines are a background set even where there are
            as many of them as examples.
        tolerance: Whether it evaluates rows until the explicand's tolerance is met. Other methods
            are exact, or ignore it.
        held: The memory that its flow holds between batches, in units of the explained values, see
            `held_bytes`.
        held_to_tolerance: The same with a tolerance.
    """

    name: str
    paper: str
    gradient: bool = False
    operations: bool = False
    baseline: bool = False
    random: bool = False
    feature_masks: bool = False
    layer: LayerUse = "optional"
    background: bool = False
    distribution: bool = False
    tolerance: bool = False
    held: float = 1.0
    held_to_tolerance: float = 1.0


@runtime_checkable
class Method(Protocol):
    """An attribution method: a frozen dataclass whose fields are its parameters.

    Attributes:
        traits: The facts about it, which hold whatever its parameters are.
    """

    traits: ClassVar[Traits]

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Returns the flow that explains an explicand."""
        ...

    def rows(self, explicand: Explicand) -> int:
        """Estimates the number of rows that the flow evaluates."""
        ...


@runtime_checkable
class Costly(Protocol):
    """A method whose own mathematics (a regression, a plan, a sum over pairs) may take long."""

    def multiply_adds(self, explicand: Explicand) -> float:
        """Estimates the multiply-adds of that mathematics for all examples together.

        The model's rows are not included. Cheap: no more work than `rows`.

        Raises:
            InvalidArgument: As `rows` does.
        """
        ...


@runtime_checkable
class Holding(Protocol):
    """A method whose flow holds more than a multiple of the explained values: samples, say."""

    def held_bytes(self, explicand: Explicand) -> int:
        """Estimates that memory for all examples together, without the usual, see `held_bytes`.

        Cheap: no more work than `rows`.

        Raises:
            InvalidArgument: As `rows` does.
        """
        ...


ROW_BYTES: Final = 8
"""The bytes that a flow holds of a row whose gradients it sums up: the explained number, mostly
twice."""

_AT_A_SITE: Final = 2
# The explained values are of float32 at least.
_LEAST_BYTES: Final = 4


MULTIPLY_ADDS_PER_SECOND: Final = 2e10
"""The rate at which one core does a method's mathematics, mostly dense products and factorisations
in float64: half of the best rate of a core with AVX-512."""


def multiply_adds(method: Method, explicand: Explicand) -> float:
    """Estimates the multiply-adds of a method's own mathematics; 0 for methods that have little.

    This mathematics needs neither device nor batch: the service runs it apart from the model, and
    refuses requests in which it cannot end before the deadline. Divided by
    `MULTIPLY_ADDS_PER_SECOND` the number gives seconds.
    """
    # An isinstance of a protocol looks through all its attributes, for each request.
    estimate: Callable[[Explicand], float] | None = getattr(method, "multiply_adds", None)
    return 0.0 if estimate is None else estimate(explicand)


def held_bytes(method: Method, explicand: Explicand, rows: int | None = None) -> int:
    """Estimates the memory that a method's flow holds between the batches of its rows.

    That is: sums and samples of gradients, its best answer so far, coalitions and regressions, but
    not the explicand, nor what a batch takes while it runs. Flows that run hold it all the time,
    so that the service counts it against `max_queue_bytes` before it begins one. With a tolerance
    it is that of the usual number of rows.

    Args:
        method: The method.
        explicand: The explicand; at a layer, with the values there in the place of its inputs.
        rows: The method's rows, where they are known.

    Raises:
        InvalidArgument: As the method's `rows` does.
    """
    traits = method.traits
    multiple = traits.held if explicand.tolerance is None else traits.held_to_tolerance
    if explicand.at != INPUT:
        multiple += _AT_A_SITE
    rows = method.rows(explicand) if rows is None else rows
    usual = multiple * value_bytes(explicand) + ROW_BYTES * rows
    further: Callable[[Explicand], int] | None = getattr(method, "held_bytes", None)
    return int(usual) + (0 if further is None else further(explicand))


def value_bytes(explicand: Explicand) -> int:
    """Returns the bytes of the explained values, in float32 at least."""
    return sum([t.numel() * max(_LEAST_BYTES, t.itemsize) for t in explicand.inputs])

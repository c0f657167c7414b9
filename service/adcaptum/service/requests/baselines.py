"""Baselines: the references for inputs, or for a layer's values."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from adcaptum.service.errors import InvalidRequest
from adcaptum.v1 import explanation_pb2


@dataclass(frozen=True, slots=True, eq=False)
class Baselines:
    """The references of all inputs, or of a layer's tensors.

    Attributes:
        tensors: A baseline for each, `(rows, *features)`; one without dimensions is that number
            everywhere.
        distribution: The field of the request with a distribution, each of whose rows is a
            baseline of every example; empty if there is none.
    """

    tensors: tuple[Tensor, ...]
    distribution: str = ""

    @property
    def rows(self) -> int:
        """The number of baselines."""
        return max((len(each) for each in self.tensors if each.ndim), default=1)

    def of_example(self, index: int, count: int) -> Self:
        """Returns the baselines of one of `count` examples."""
        if self.distribution:
            return self
        return replace(
            self,
            tensors=tuple(
                each[index : index + 1] if each.ndim and len(each) == count else each
                for each in self.tensors
            ),
        )


def compared(
    tensors: tuple[Tensor, ...],
    messages: Sequence[explanation_pb2.Baseline],
    placed: Sequence[int | None],
    count: int,
    field: str,
) -> Baselines:
    """Finds a distribution, if there is one, and gives every input as many rows of it.

    Args:
        tensors: The baselines.
        messages: The request's baselines.
        placed: The index of each baseline in them; None for one that the request does not give.
        count: The number of examples.
        field: Their field in the request.

    Raises:
        InvalidRequest: They have different numbers of rows.
    """
    found = ""
    for tensor, index in zip(tensors, placed, strict=True):
        kind = None if index is None else messages[index].WhichOneof("kind")
        own = tensor.ndim > 0 and len(tensor) > 1
        if own and (kind == "samples" or (kind == "tensor" and len(tensor) != count)):
            found = found or f"{field}[{index}].{kind}"
    if not found:
        return Baselines(tensors)
    rows = {len(each) for each in tensors if each.ndim and len(each) > 1}
    if len(rows) > 1:
        raise InvalidRequest(
            field, f"of {sorted(rows)} rows; a distribution has one number of rows"
        )
    (most,) = rows
    return Baselines(
        tuple(each.expand(most, *each.shape[1:]) if each.ndim else each for each in tensors), found
    )

"""Baselines: the references for inputs, or for a layer's values."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from adcaptum.service.errors import InvalidRequest
from adcaptum.v1 import explain_spec_pb2


@dataclass(frozen=True, slots=True, eq=False)
class Baselines:
    """The references of all inputs, or of a layer's tensors.

    Attributes:
        tensors: A baseline for each, `(rows, *features)`; one without dimensions is that number
            everywhere.
        distribution: The field of the request with a distribution, each of whose rows is a
            baseline of every example; empty: there is one baseline for all examples, or one for
            each.
    """

    tensors: tuple[Tensor, ...]
    distribution: str = ""

    @property
    def rows(self) -> int:
        """The number of baselines."""
        return max((len(each) for each in self.tensors if each.ndim), default=1)

    @property
    def of_each(self) -> bool:
        """True if each example has a baseline of its own."""
        return not self.distribution and self.rows > 1

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
    messages: Sequence[explain_spec_pb2.Baseline],
    placed: Sequence[int | None],
    count: int,
    field: str,
) -> Baselines:
    """Finds a distribution, if there is one, and gives every input as many rows of it.

    What is a distribution depends on the kind of a baseline alone, never on its number of rows.

    Args:
        tensors: The baselines.
        messages: The request's baselines.
        placed: The index of each baseline in them; None for one that the request does not give.
        count: The number of examples.
        field: Their field in the request.

    Raises:
        InvalidRequest: A tensor has neither one row nor one per example, or distributions have
            different numbers of rows.
    """
    found, own, texts = "", "", False
    rows: dict[str, int] = {}
    for tensor, index in zip(tensors, placed, strict=True):
        kind = None if index is None else messages[index].WhichOneof("kind")
        place = f"{field}[{index}].{kind}"
        if kind in ("distribution", "background"):
            found = found or place
            rows[place] = len(tensor)
        elif index is None or kind == "named":
            # A text's has the text's length, and so one row for each.
            texts = texts or (tensor.ndim > 0 and len(tensor) > 1)
        elif tensor.ndim and len(tensor) > 1:
            if len(tensor) != count:
                raise InvalidRequest(
                    f"{place}.shape",
                    f"{len(tensor)} rows for {count} examples; must be 1, or one row per example. "
                    "Rows that are each a baseline of every example are a `distribution`",
                )
            own = own or place
    if not found:
        return Baselines(tensors)
    if own:
        raise InvalidRequest(
            own, f"one row per example beside a distribution, {found}; must be 1 row"
        )
    if texts:
        raise InvalidRequest(
            found, "a distribution beside texts; must be of one example, each text by itself"
        )
    several = sorted({each for each in rows.values() if each > 1})
    if len(several) > 1:
        raise InvalidRequest(
            field, f"distributions of {several} rows; must be as many for each input"
        )
    most = max(rows.values())
    return Baselines(
        tuple(each.expand(most, *each.shape[1:]) if each.ndim else each for each in tensors), found
    )

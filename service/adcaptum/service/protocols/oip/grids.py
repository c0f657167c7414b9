"""Values of explanations, one for each example and target -> tensors of all of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np

from adcaptum.service.protocols.oip.values.tensor import OipTensor, bytes_data
from adcaptum.v1 import tensor_pb2

FLOATS: Final = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
"""The forms of numbers in memory; where there is none, tensors have NaN."""

Place = tuple[int, int]
"""An example and a target."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The places of a reply's explanations.

    Attributes:
        examples: The number of examples.
        targets: The number of targets of each; with one, tensors have no dimension for it.
    """

    examples: int
    targets: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The first dimensions of all tensors."""
        return (self.examples, self.targets) if self.targets > 1 else (self.examples,)

    @property
    def places(self) -> list[Place]:
        """All places, by example and then by target."""
        return [
            (example, target) for example in range(self.examples) for target in range(self.targets)
        ]

    def numbers(
        self, name: str, values: Mapping[Place, float | None], wanted: Collection[str]
    ) -> OipTensor | None:
        """Returns numbers as a tensor, NaN where there is none; None if there are none at all.

        Args:
            name: The name of the tensor.
            values: The numbers.
            wanted: The names of tensors that are made in any case.
        """
        if name not in wanted and all(value is None for value in values.values()):
            return None
        found = [values.get(place) for place in self.places]
        array = np.array([np.nan if each is None else each for each in found], "<f8")
        return OipTensor(name, "FP64", self.shape, array.tobytes())

    def indices(self, name: str, values: Mapping[Place, Sequence[int]]) -> OipTensor:
        """Returns indices as a tensor, -1 where there is none."""
        width = max([1, *map(len, values.values())])
        array = np.full((len(self.places), width), -1, "<i8")
        for row, place in enumerate(self.places):
            given = values.get(place, ())
            array[row, : len(given)] = given
        return OipTensor(name, "INT64", (*self.shape, width), array.tobytes())

    def texts(self, name: str, values: Mapping[Place, str]) -> OipTensor:
        """Returns texts as a tensor."""
        found = [values.get(place, "").encode() for place in self.places]
        return OipTensor(name, "BYTES", self.shape, bytes_data(found))

    def text_lists(self, name: str, values: Mapping[Place, Sequence[str]]) -> OipTensor | None:
        """Returns lists of texts as a tensor, the shorter ones with empty texts at their end."""
        length = max(map(len, values.values()), default=0)
        if not length:
            return None
        found: list[bytes] = []
        for place in self.places:
            given = [each.encode() for each in values.get(place, ())]
            found += given + [b""] * (length - len(given))
        return OipTensor(name, "BYTES", (*self.shape, length), bytes_data(found))

    def tensors(self, name: str, values: Mapping[Place, tensor_pb2.Tensor]) -> OipTensor | None:
        """Returns arrays as a tensor; None if there are none.

        Arrays of several shapes, such as those of texts, end in NaN where others go on.
        """
        if not values:
            return None
        first = next(iter(values.values()))
        shapes = {tuple(each.shape) for each in values.values()}
        if len(shapes) == 1 and len(values) == len(self.places):
            data = b"".join([values[place].data for place in self.places])
            return OipTensor(name, first.datatype, (*self.shape, *first.shape), data)
        dtype = np.dtype(FLOATS[first.datatype])
        rank = max(map(len, shapes))
        # Attributions of one kind have one number of dimensions.
        shape = tuple(max(each[axis] for each in shapes) for axis in range(rank))
        array = np.full((len(self.places), *shape), np.nan, dtype)
        for row, place in enumerate(self.places):
            given = values.get(place)
            if given is not None:
                own = tuple(given.shape)
                part = np.frombuffer(given.data, dtype, prod(own)).reshape(own)
                array[row][tuple(slice(length) for length in own)] = part
        return OipTensor(name, first.datatype, (*self.shape, *shape), array.tobytes())

"""The numbers of a piece, in memory and in the form of the reply."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Piece
from adcaptum.service.wire.tensor_writer import to_memory
from adcaptum.service.wire.tensors import DATATYPES
from adcaptum.v1 import explain_spec_pb2

Array = NDArray[np.floating]


@dataclass(slots=True, eq=False)
class PieceNumbers:
    """The numbers of a piece: one copy from the device for all of its examples.

    Attributes:
        values: For each input or tensor at the site, `(examples, *features)`, in the reply's
            datatype; channels and components are summed if the reply has their sums.
        errors: The standard errors of the values, of their form; empty without.
        output: The explained number at the input, by example; None if it is not known.
        baseline_output: The same at the baseline.
        completeness: The completeness error, by example; None if the method gives none.
        standard_error: The largest standard error, by example; None if the method gives none.
        relative: The estimated relative error, by example; None without a tolerance.
        non_finite: The number of values that are NaN or infinite.
    """

    values: list[Array]
    errors: list[Array]
    output: list[float] | None
    baseline_output: list[float] | None
    completeness: list[float] | None
    standard_error: list[float] | None
    relative: list[float] | None
    non_finite: int

    @classmethod
    def of(cls, parsed: ParsedRequest, piece: Piece, attribution: Attribution) -> Self:
        """Converts an attribution."""
        dtype = DATATYPES[parsed.output.datatype or "FP32"] or torch.float32
        at_inputs = parsed.inside(piece.method) is None and not attribution.pairs
        texts = at_inputs and piece.part.inputs.texts is not None
        sums = parsed.output.channel_reduction == explain_spec_pb2.CHANNEL_REDUCTION_SUM
        channels = at_inputs and not texts and sums

        def convert(values: Tensor) -> Array:
            # The correlation of errors is unknown: the sum of the channels' errors is a bound.
            if texts and values.ndim == 3:
                # Components of an embedding mean nothing by themselves.
                values = values.sum(2)
            elif channels and values.ndim == 4:
                values = values.sum(1)
            made: Array = to_memory(values if values.dtype is dtype else values.to(dtype)).numpy()
            return made

        arrays = [convert(each) for each in attribution.values]
        return cls(
            values=arrays,
            errors=[convert(each) for each in attribution.standard_errors],
            output=_listed(attribution.output),
            baseline_output=_listed(attribution.baseline_output),
            completeness=_listed(attribution.completeness_error),
            standard_error=_listed(attribution.standard_error),
            relative=_listed(attribution.relative_error),
            non_finite=sum([count_non_finite(each) for each in arrays]),
        )


def count_non_finite(array: Array) -> int:
    """Counts the numbers that are NaN or infinite."""
    finite = np.isfinite(array)
    return 0 if finite.all() else int(finite.size - np.count_nonzero(finite))


def _listed(numbers: Tensor | None) -> list[float] | None:
    return None if numbers is None else numbers.tolist()

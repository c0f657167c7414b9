"""The numbers of a piece, in memory and in the form of the reply."""

from itertools import repeat
from math import isfinite
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.service.answers.answer_form import CHANNELS, COMPONENTS, AnswerForm
from adcaptum.service.requests.pieces import Piece
from adcaptum.service.wire.tensor_writer import to_memory
from adcaptum.v1 import explanation_pb2

Array = NDArray[np.floating]
Column = tuple[int, list[float]]
"""A field of doubles, and its value in each message."""

OUTPUT: Final = explanation_pb2.Explanation.OUTPUT_FIELD_NUMBER
BASELINE_OUTPUT: Final = explanation_pb2.Explanation.BASELINE_OUTPUT_FIELD_NUMBER
COMPLETENESS: Final = explanation_pb2.ErrorEstimate.COMPLETENESS_FIELD_NUMBER
STANDARD_ERROR: Final = explanation_pb2.ErrorEstimate.STANDARD_ERROR_FIELD_NUMBER
RELATIVE: Final = explanation_pb2.ErrorEstimate.RELATIVE_FIELD_NUMBER

DIMENSIONS: Final = {COMPONENTS: 3, CHANNELS: 4}
"""The number of dimensions of the tensors that have them."""

FEW: Final = 1 << 10
"""The most numbers for which the time of each operation matters more than their number."""

FEWEST: Final = 1 << 7
"""The most numbers that Python adds up before NumPy has been called."""


class PieceNumbers:
    """The numbers of a piece: one copy from the device for all of its examples.

    Attributes:
        values: For each input or tensor at the site, `(examples, *features)`, in the reply's
            datatype; channels and components are summed if the reply has their sums.
        errors: The standard errors of the values, of their form; empty without.
        outputs: The explained number at the input and at the baseline, as far as they are known:
            for each its field in `Explanation`, and the numbers by example.
        error: The error estimates that the method gives, likewise, with fields of `ErrorEstimate`.
        non_finite: The number of values that are NaN or infinite.
    """

    __slots__ = ("error", "errors", "non_finite", "outputs", "values")

    def __init__(self, form: AnswerForm, piece: Piece, attribution: Attribution) -> None:
        """Converts an attribution.

        Args:
            form: The form of the answer.
            piece: The piece that is explained.
            attribution: Its attribution.
        """
        dtype = form.dtype
        found, errors = attribution.values, attribution.standard_errors
        if form.at_inputs[piece.method] and not attribution.pairs:
            sums = [each.summed for each in form.parts[piece.method]]
            self.values = [converted(*each) for each in zip(found, repeat(dtype), sums)]
            # The correlation of errors is unknown: the sum of the channels' errors is a bound.
            self.errors = [converted(*each) for each in zip(errors, repeat(dtype), sums)]
        else:
            self.values = [converted(each, dtype) for each in found]
            self.errors = [converted(each, dtype) for each in errors]
        self.outputs: list[Column] = []
        self.error: list[Column] = []
        self.non_finite = 0
        for each in self.values:
            self.non_finite += count_non_finite(each)
        if attribution.output is not None:
            self.outputs.append((OUTPUT, attribution.output.tolist()))
        if attribution.baseline_output is not None:
            self.outputs.append((BASELINE_OUTPUT, attribution.baseline_output.tolist()))
        if attribution.completeness_error is not None:
            self.error.append((COMPLETENESS, attribution.completeness_error.tolist()))
        if attribution.standard_error is not None:
            self.error.append((STANDARD_ERROR, attribution.standard_error.tolist()))
        if attribution.relative_error is not None:
            self.error.append((RELATIVE, attribution.relative_error.tolist()))


def converted(values: Tensor, dtype: torch.dtype, summed: int | None = None) -> Array:
    """Returns numbers in memory.

    Args:
        values: The numbers.
        dtype: Their datatype in the answer.
        summed: The dimension over which they are summed, if they have it: `COMPONENTS` or
            `CHANNELS`.
    """
    if summed is not None and values.ndim == DIMENSIONS[summed]:
        values = values.sum(summed)
    made: Array = to_memory(values if values.dtype is dtype else values.to(dtype)).numpy()
    return made


def count_non_finite(array: Array) -> int:
    """Counts the numbers that are NaN or infinite."""
    # A sum is infinite or NaN if one number is; where large numbers overflow, all are looked at.
    if array.size <= FEWEST and isfinite(sum(array.reshape(-1).tolist())):
        return 0
    if array.size <= FEW and isfinite(np.vdot(array, array)):
        # The sum of squares takes half the time of `isfinite`.
        return 0
    finite = np.isfinite(array)
    return 0 if finite.all() else int(finite.size - np.count_nonzero(finite))

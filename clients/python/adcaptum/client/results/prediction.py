"""Predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from adcaptum.client.results import frames
from adcaptum.client.results.model_info import ModelIdentity
from adcaptum.client.results.rendering import renderer
from adcaptum.client.results.timings import Timings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A class and its output.

    Attributes:
        index: The class's index.
        label: The class's name.
        score: The output as the model gives it.
        probability: The softmax of the outputs where they are logits, the score where they are
            probabilities; None otherwise.
    """

    index: int
    label: str
    score: float
    probability: float | None


@dataclass(frozen=True, slots=True, eq=False)
class PredictResult:
    """The answer to a request for a prediction.

    Attributes:
        model: The model and version that answered.
        outputs: The outputs by name, arrays of shape (examples, ...).
        predictions: For each example its classes with the largest outputs, largest first; empty
            for models without labels.
        timings: Parts of the time of the request.
        request_id: The request's id in the server's log.
        warnings: Reasons to doubt the answer: texts that were cut, outputs that are not finite.
        message: The reply as it came: a ``PredictResponse``.
    """

    model: ModelIdentity
    outputs: Mapping[str, npt.NDArray[Any]]
    predictions: Sequence[tuple[LabelScore, ...]]
    timings: Timings
    request_id: str
    warnings: tuple[str, ...] = ()
    message: Any = field(default=None, repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """The best label of each example; empty for models without labels."""
        return tuple(labels[0].label for labels in self.predictions if labels)

    def to_pandas(self) -> "pd.DataFrame":
        """Return a DataFrame with a row for each example: its outputs and its best label.

        Raises:
            ImportError: pandas is not installed.
        """
        return frames.to_pandas(frames.output_columns(self.outputs, self.labels))

    def to_arrow(self) -> "pa.Table":
        """Return the rows of `to_pandas` as an Arrow table.

        Raises:
            ImportError: pyarrow is not installed; the extra ``adcaptum[parquet]`` brings it.
        """
        return frames.to_arrow(frames.output_columns(self.outputs, self.labels))

    def _repr_html_(self) -> str:
        return renderer().html(self)

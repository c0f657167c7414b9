"""Predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from adcaptum.client.results.model_info import ModelIdentity
from adcaptum.client.results.rendering import renderer
from adcaptum.client.results.timings import Timings


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

    def _repr_html_(self) -> str:
        return renderer().html(self)

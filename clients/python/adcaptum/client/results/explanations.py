"""The answer to one request for explanations."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from adcaptum.client.results.explanation import Explanation, MethodReport
from adcaptum.client.results.model_info import ModelIdentity
from adcaptum.client.results.prediction import LabelScore
from adcaptum.client.results.rendering import renderer
from adcaptum.client.results.timings import Timings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class CacheStatus(StrEnum):
    """Origin of an answer: bypassed and miss were computed for this request."""

    UNKNOWN = "unknown"
    BYPASSED = "bypassed"
    MISS = "miss"
    HIT = "hit"
    JOINED = "joined"


@dataclass(frozen=True, slots=True, eq=False)
class Explanations:
    """The explanations of one request, as a sequence, and their common facts.

    Attributes:
        model: The model and version that answered.
        explanations: One per method, example and target, in this order.
        reports: The cost of each method, in the order of the request.
        inputs: With ``return_inputs``, the inputs after preprocessing, of shape (examples, ...).
        seed: The seed of sampling methods.
        timings: The timings of the request.
        request_id: The request's id, as in the server's log.
        cache: The origin of the answer; reports have its cost when it was computed.
        predictions: For each example its largest outputs, largest first; empty for models without
            labels, and where they were neither requested nor free.
        outputs: With ``return_outputs``, the outputs by name, arrays of shape (examples, ...).
        warnings: Reasons to doubt the answer: texts that were cut, numbers that are not finite.
    """

    model: ModelIdentity
    explanations: tuple[Explanation, ...]
    reports: tuple[MethodReport, ...]
    inputs: Mapping[str, npt.NDArray[Any]]
    seed: int
    timings: Timings
    request_id: str
    cache: CacheStatus = CacheStatus.BYPASSED
    predictions: tuple[tuple[LabelScore, ...], ...] = ()
    outputs: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The best label of each example, where there are predictions."""
        return tuple(labels[0].label for labels in self.predictions if labels)

    def __len__(self) -> int:
        return len(self.explanations)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.explanations)

    def __getitem__(self, index: int) -> Explanation:
        return self.explanations[index]

    def plot(self) -> "Figure":
        """Draw all explanations, one below the other.

        Raises:
            ImportError: matplotlib is not installed; the extra ``adcaptum[plot]`` brings it.
        """
        return renderer().figure(self.explanations)

    def save_png(self, path: str | Path) -> None:
        """Write the drawing of all explanations as one PNG file.

        Raises:
            ImportError: matplotlib is not installed; the extra ``adcaptum[plot]`` brings it.
        """
        self.plot().savefig(path, format="png")

    def _repr_html_(self) -> str:
        return renderer().html(self)

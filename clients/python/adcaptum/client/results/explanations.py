"""The answer to one request for explanations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt

from adcaptum.client.results import frames
from adcaptum.client.results.explanation import Explanation
from adcaptum.client.results.method_result import MethodResult
from adcaptum.client.results.model_info import ModelIdentity
from adcaptum.client.results.prediction import LabelScore
from adcaptum.client.results.rendering import renderer
from adcaptum.client.results.timings import Timings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure


class CacheStatus(StrEnum):
    """Source of an answer: bypassed and miss were computed for this request."""

    UNKNOWN = "unknown"
    BYPASSED = "bypassed"
    MISS = "miss"
    HIT = "hit"
    JOINED = "joined"


@dataclass(frozen=True, eq=False)
class Explanations:
    """The answer to a request: results by method, and their common facts.

    Iterating yields the explanations of all methods. Parts are decoded when they are first read.

    Attributes:
        model: The model and version that answered.
        results: One per method, in the order of the request.
        inputs: With ``return_inputs``, the inputs after preprocessing, of shape (examples, ...).
        seed: The seed of sampling.
        timings: Parts of the time of the request.
        request_id: The request's id in the server's log.
        cache: The source of the answer; with hit and joined, results have the cost of the
            computation that was shared.
        predictions: For each example its classes with the largest outputs, largest first; empty
            for models without labels, and where they were neither requested nor free.
        outputs: With ``return_outputs``, the outputs by name, arrays of shape (examples, ...).
        warnings: Reasons to doubt the answer: texts that were cut, numbers that are not finite.
        message: The reply as it came: an ``ExplainResponse``.
    """

    model: ModelIdentity
    results: Sequence[MethodResult]
    inputs: Mapping[str, npt.NDArray[Any]]
    seed: int
    timings: Timings
    request_id: str
    # No defaults of the class: reading a part that is not decoded yet must not find one.
    cache: CacheStatus = field(default_factory=lambda: CacheStatus.UNKNOWN)
    predictions: Sequence[tuple[LabelScore, ...]] = field(default_factory=tuple)
    outputs: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = field(default_factory=tuple)
    message: Any = None

    @classmethod
    def received(cls, message: Any, decoders: Mapping[str, Callable[[Any], Any]]) -> Self:
        """Make the answer of a reply; an attribute is decoded when it is first read.

        Args:
            message: The reply.
            decoders: For each attribute but `message` a function of this object.
        """
        made = cls.__new__(cls)
        made.__dict__.update(message=message, _decoders=decoders)
        return made

    if not TYPE_CHECKING:  # else every name would be an attribute

        def __getattr__(self, name: str) -> Any:
            decode = self.__dict__.get("_decoders", {}).get(name)
            if decode is None:
                raise AttributeError(f"Explanations have no {name!r}", name=name, obj=self)
            value = self.__dict__[name] = decode(self)
            return value

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @cached_property
    def explanations(self) -> tuple[Explanation, ...]:
        """The explanations of all methods: by method, example and target."""
        return tuple(each for result in self.results for each in result.explanations)

    @property
    def labels(self) -> tuple[str, ...]:
        """The best label of each example, where there are predictions."""
        return tuple(labels[0].label for labels in self.predictions if labels)

    def __repr__(self) -> str:
        parts = []
        for each in self.results:
            failure = each.failure
            found = f"failed, {failure.reason}" if failure else str(len(each.explanations))
            parts.append(f"{each.report.method.name} ({found})")
        count = f"{len(self)} explanation{'s' * (len(self) != 1)}"
        return f"<{count} of {self.model.name}: {', '.join(parts)}>"

    def __len__(self) -> int:
        return sum(len(result.explanations) for result in self.results)

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

    def to_pandas(self) -> "pd.DataFrame":
        """Return a DataFrame with a row for each attribution of each explanation.

        Its columns are method, example, target, label, output, input, feature, index, value and
        standard_error; index is the place in the flattened attributions.

        Raises:
            ImportError: pandas is not installed.
        """
        return frames.to_pandas(frames.attribution_columns(self.explanations))

    def to_arrow(self) -> "pa.Table":
        """Return the rows of `to_pandas` as an Arrow table.

        Raises:
            ImportError: pyarrow is not installed; the extra ``adcaptum[parquet]`` brings it.
        """
        return frames.to_arrow(frames.attribution_columns(self.explanations))

    def _repr_html_(self) -> str:
        return renderer().html(self)

"""Metrics of answers, with the lookup of each label done once."""

import math
from collections import Counter as Counts
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import Counter, Histogram
from torch import Tensor

from adcaptum.engine.vocabulary.attribution import Attribution, StopReason
from adcaptum.service.answers.explanations import STOP_REASONS
from adcaptum.service.answers.outcome import Outcome
from adcaptum.service.metrics import Metrics
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.v1 import explanation_service_pb2 as pb

STOPPED: Final = {wire: reason.value for reason, wire in STOP_REASONS.items()}
"""The label of each stop reason."""

FAILED: Final = "failed"
"""The label of the explanations of a method that failed."""


class RequestMetrics:
    """The counters of answers; labels are names of existing models and methods, never free text."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._times: dict[tuple[str, str], tuple[Histogram, Histogram]] = {}
        self._rows: dict[tuple[str, str], Histogram] = {}
        self._explanations: dict[tuple[str, str, str], Counter] = {}
        self._errors: dict[tuple[str, str, str], Histogram] = {}

    def answered(self, model: str, rpc: str, queue_seconds: float, compute_seconds: float) -> None:
        """Counts the times of a request."""
        key = (model, rpc)
        times = self._times.get(key)
        if times is None:
            times = self._times[key] = (
                self._metrics.queue_seconds.labels(*key),
                self._metrics.compute_seconds.labels(*key),
            )
        times[0].observe(queue_seconds)
        times[1].observe(compute_seconds)

    def explained(self, parsed: ParsedRequest, outcome: Outcome) -> None:
        """Counts the rows and the errors of explanations, and those that failed."""
        rows = [
            [sum([each.rows_used for _, each in outcome.of(method)])]
            for method in range(len(parsed.methods))
        ]
        self.explained_jointly(parsed, outcome, rows)

    def explained_jointly(
        self, parsed: ParsedRequest, outcome: Outcome, rows: Sequence[Sequence[int]]
    ) -> None:
        """Counts the rows and the errors of explanations of several requests at once.

        Args:
            parsed: The request that joins them.
            outcome: Its outcome.
            rows: For each method, the rows of each request.
        """
        model = parsed.model.name
        for index, resolved in enumerate(parsed.methods):
            method = resolved.spec.name
            if index in outcome.failures:
                count = parsed.inputs.count * parsed.targets.count
                self._given(model, method, FAILED).inc(count)
                continue
            own = [attribution for _, attribution in outcome.of(index)]
            key = (model, method)
            histogram = self._rows.get(key)
            if histogram is None:
                histogram = self._rows[key] = self._metrics.explanation_rows.labels(*key)
            for used in rows[index]:
                histogram.observe(used)
            for attribution in own:
                for reason, count in _reasons(attribution):
                    self._given(model, method, reason.value).inc(count)
                self._observe_errors(model, method, attribution)

    def repeated(self, model: str, answer: bytes) -> None:
        """Counts explanations that are sent once more, without any computation."""
        for result in pb.ExplainResponse.FromString(answer).results:
            for explanation in result.explanations:
                reason = STOPPED[explanation.stop_reason]
                self._given(model, result.method.name, reason).inc()

    def hit(self, model: str) -> None:
        """Counts an answer from the cache."""
        self._metrics.cache_hits.labels(model).inc()

    def missed(self, model: str) -> None:
        """Counts an answer that the cache did not have."""
        self._metrics.cache_misses.labels(model).inc()

    def joined(self, model: str) -> None:
        """Counts an answer that was computed for another request."""
        self._metrics.joined.labels(model).inc()

    def _given(self, model: str, method: str, reason: str) -> Counter:
        key = (model, method, reason)
        counter = self._explanations.get(key)
        if counter is None:
            counter = self._explanations[key] = self._metrics.explanations.labels(*key)
        return counter

    def _observe_errors(self, model: str, method: str, attribution: Attribution) -> None:
        for kind, error in (
            ("completeness", attribution.completeness_error),
            ("standard error", attribution.standard_error),
        ):
            ratios = _ratios(error, attribution)
            if not ratios:
                continue
            key = (model, method, kind)
            histogram = self._errors.get(key)
            if histogram is None:
                histogram = self._errors[key] = self._metrics.explanation_error.labels(*key)
            for ratio in ratios:
                histogram.observe(ratio)


def _reasons(attribution: Attribution) -> Iterable[tuple[StopReason, int]]:
    """Returns the stop reasons of an attribution's examples, with the number of each."""
    if attribution.stop_reasons:
        return Counts(attribution.stop_reasons).items()
    return ((attribution.stop_reason, len(attribution.values[0])),)


def _ratios(error: Tensor | None, attribution: Attribution) -> list[float]:
    """Returns each example's error over |output - baseline output|, where all three are known."""
    output, baseline = attribution.output, attribution.baseline_output
    if error is None or output is None or baseline is None:
        return []
    differences = zip(error.tolist(), output.tolist(), baseline.tolist(), strict=True)
    return [
        value / abs(at_input - at_baseline)
        for value, at_input, at_baseline in differences
        if at_input != at_baseline and math.isfinite(value)
    ]

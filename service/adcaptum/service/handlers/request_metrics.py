"""Metrics of answers, with the lookup of each label done once."""

from collections.abc import Sequence

from prometheus_client import Counter, Histogram

from adcaptum.engine.vocabulary.attribution import Attribution, StopReason
from adcaptum.service.metrics import Metrics
from adcaptum.service.requests import answers
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Piece
from adcaptum.v1 import explanation_service_pb2 as pb


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

    def explained(
        self, question: ParsedRequest, answered: Sequence[tuple[Piece, Attribution]]
    ) -> None:
        """Counts the rows and the errors of explanations."""
        model = question.model.name
        for index, resolved in enumerate(question.methods):
            own = [attribution for piece, attribution in answered if piece.method == index]
            method = resolved.spec.name
            key = (model, method)
            rows = self._rows.get(key)
            if rows is None:
                rows = self._rows[key] = self._metrics.explanation_rows.labels(*key)
            rows.observe(sum(each.rows_used for each in own))
            self._given(model, method, answers.stop_reason(own)).inc(
                sum(len(each.values[0]) for each in own)
            )
            for attribution in own:
                self._observe_error(model, method, attribution)

    def repeated(self, model: str, response: pb.ExplainResponse) -> None:
        """Counts explanations that are sent once more, without any computation."""
        for report in response.reports:
            counter = self._given(model, report.method.name, answers.STOPPED[report.stop_reason])
            counter.inc(len(response.explanations) / len(response.reports))

    def hit(self, model: str) -> None:
        """Counts an answer from the cache."""
        self._metrics.cache_hits.labels(model).inc()

    def missed(self, model: str) -> None:
        """Counts an answer that the cache did not have."""
        self._metrics.cache_misses.labels(model).inc()

    def joined(self, model: str) -> None:
        """Counts an answer that was computed for another request."""
        self._metrics.joined.labels(model).inc()

    def _given(self, model: str, method: str, reason: StopReason) -> Counter:
        key = (model, method, reason.value)
        counter = self._explanations.get(key)
        if counter is None:
            counter = self._explanations[key] = self._metrics.explanations.labels(*key)
        return counter

    def _observe_error(self, model: str, method: str, attribution: Attribution) -> None:
        ratios = answers.error_ratios(attribution)
        if not ratios:
            return
        key = (model, method, attribution.error_kind.value)
        histogram = self._errors.get(key)
        if histogram is None:
            histogram = self._errors[key] = self._metrics.explanation_error.labels(*key)
        for ratio in ratios:
            histogram.observe(ratio)

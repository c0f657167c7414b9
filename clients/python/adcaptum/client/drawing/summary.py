"""Texts beside the drawing of an explanation."""

from collections.abc import Iterator

from adcaptum.client.results.explanation import Explanation, StopReason
from adcaptum.client.results.explanations import CacheStatus, Explanations
from adcaptum.client.results.method_result import MethodResult
from adcaptum.client.results.timings import Timings

_LARGE_COMPLETENESS_ERROR = 0.05
_SHARED = {
    CacheStatus.HIT: "computed before",
    CacheStatus.JOINED: "computed with another request",
}
_CUT_SHORT = {
    StopReason.BUDGET: "stopped by the budget",
    StopReason.DEADLINE: "stopped by the deadline",
    StopReason.EXHAUSTED: "as exact as the method can be, short of the tolerance",
}


def heading(explanation: Explanation) -> str:
    """Return the title, such as ``saliency: why "cat"``."""
    example = f" in example {explanation.example}" if explanation.example else ""
    return f"{explanation.method.name}: why {_target(explanation)}{example}"


def facts(explanation: Explanation) -> list[str]:
    """List the numbers of an explanation, each in a few words."""
    found = []
    if explanation.output is not None:
        found.append(f"output {explanation.output:.4g}")
    if explanation.baseline_output is not None:
        found.append(f"at the baseline {explanation.baseline_output:.4g}")
    found += _errors(explanation)
    if (report := explanation.report) is not None:
        if report.rows_used is not None:
            found.append("1 row" if report.rows_used == 1 else f"{report.rows_used} rows")
        if (reason := _CUT_SHORT.get(explanation.stop_reason)) is not None:
            found.append(reason)
    return found


def warnings(explanation: Explanation) -> list[str]:
    """List the reasons to doubt an explanation, each in a sentence."""
    report = explanation.report
    if report is None:
        return []
    found = []
    share = _share_of_change(explanation)
    if share is not None and share > _LARGE_COMPLETENESS_ERROR:
        advice = ": take more steps, or a tolerance" if "n_steps" in report.method.params else ""
        found.append(f"The attributions miss {share:.0%} of the output's change{advice}.")
    if report.uncovered_ops:
        ops = ", ".join(report.uncovered_ops)
        doubt = "which the model uses: the attributions may not add up"
        found.append(f"{explanation.method.name} has no rule for {ops}, {doubt}.")
    if report.non_finite:
        found.append(f"{report.non_finite} attributions of the request are NaN or infinite.")
    return found


def failures(explanations: Explanations) -> list[str]:
    """List the methods that failed beside others, each in a sentence."""
    return [_failed(result) for result in explanations.results if result.failure is not None]


def _failed(result: MethodResult) -> str:
    assert result.failure is not None, "the method failed"
    return f"{result.method.name} failed: {result.failure.message}"


def _share_of_change(explanation: Explanation) -> float | None:
    """Return the completeness error as a share of the output's change; None without one."""
    error, output, baseline = explanation.error, explanation.output, explanation.baseline_output
    if error is None or error.completeness is None or output is None or baseline is None:
        return None
    change = abs(output - baseline)
    return error.completeness / change if change else None


def time_facts(timings: Timings) -> list[str]:
    """List the timings, each in a few words."""
    return [
        f"{_milliseconds(timings.total_s)} in all",
        f"{_milliseconds(timings.queue_s)} in the queue",
        f"{_milliseconds(timings.compute_s)} in {timings.batches} "
        + ("batch" if timings.batches == 1 else "batches"),
    ]


def answer_facts(explanations: Explanations) -> list[str]:
    """List the common facts of a request: model, prediction, cache and timings."""
    model = explanations.model
    found = [f"{model.name} {model.version}", *_predicted(explanations)]
    if explanations.cache in _SHARED:
        found.append(_SHARED[explanations.cache])
    return found + time_facts(explanations.timings)


def _predicted(explanations: Explanations) -> list[str]:
    """Return the prediction, if it is known and of one example."""
    if len(explanations.predictions) != 1 or not explanations.labels:
        return []
    best = explanations.predictions[0][0]
    share = f"{best.score:.4g}" if best.probability is None else f"{best.probability:.1%}"
    return [f"predicted \u201c{best.label}\u201d {share}"]


def _target(explanation: Explanation) -> str:
    if explanation.label:
        return f"\u201c{explanation.label}\u201d"
    if explanation.output_name:
        return explanation.output_name
    place = ", ".join(map(str, explanation.index))
    return f"output {place}" if place else "the output"


def _errors(explanation: Explanation) -> Iterator[str]:
    error = explanation.error
    if error is None:
        return
    if error.relative is not None:
        yield f"relative error about {error.relative:.1%}"
    for name, value in (
        ("completeness error", error.completeness),
        ("largest standard error", error.standard_error),
    ):
        if value is not None:
            yield f"{name} {value:.2g}{_of_change(value, explanation)}"


def _of_change(value: float, explanation: Explanation) -> str:
    if explanation.output is None or explanation.baseline_output is None:
        return ""
    change = abs(explanation.output - explanation.baseline_output)
    return f" ({value / change:.1%} of the change)" if change else ""


def _milliseconds(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"

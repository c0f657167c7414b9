"""Answers that are put together from bytes equal messages that are filled field by field."""

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings, strategies as st

from adcaptum.engine.vocabulary.attribution import Attribution, StopReason
from adcaptum.service.answers import results, single_explanations
from adcaptum.service.answers.answer_form import answer_form
from adcaptum.service.answers.explanations import STOP_REASONS
from adcaptum.service.answers.outcome import Outcome
from adcaptum.service.handlers import responses
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.v1 import explain_spec_pb2, explanation_pb2, explanation_service_pb2 as pb
from tests.unit.service import asking
from tests.unit.service.asking import every, index, label, method
from tests.unit.service.tiny_model import served

MODEL, _ = served()
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ANY_FLOATS = st.one_of(FLOATS, st.sampled_from([float("nan"), float("inf"), 3e38]))
DTYPES = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64, "": np.float32}


@st.composite
def questions(draw: st.DrawFn) -> ParsedRequest:
    """Requests with one to three examples, methods and targets."""
    specs = draw(
        st.lists(st.sampled_from(["saliency", "input_x_gradient"]), min_size=1, max_size=2)
    )
    targets = st.lists(st.sampled_from([index(1), label("no"), every()]), min_size=1, max_size=2)
    output = explain_spec_pb2.OutputOptions(datatype=draw(st.sampled_from([*DTYPES])))
    values: Any = np.zeros((draw(st.integers(1, 3)), 3), np.float32)
    if draw(st.integers(0, 4)) == 0:
        values = asking.typed(*values.tolist())
    request = asking.explain(
        values,
        methods=[method(name) for name in specs],
        targets=draw(targets),
        output=output,
        seed=draw(st.integers(0, 1 << 40)),
    )
    return asking.read(request, MODEL)


@st.composite
def outcomes(draw: st.DrawFn, parsed: ParsedRequest) -> Outcome:
    """Attributions of all pieces of a request, of which any parts may be known."""
    found = []
    count = parsed.inputs.count
    for piece in parsed.pieces(None):
        kind = torch.float64 if draw(st.booleans()) else torch.float32

        def numbers(kind: torch.dtype = kind) -> torch.Tensor | None:
            some = draw(st.lists(ANY_FLOATS, min_size=count, max_size=count))
            return torch.tensor(some, dtype=kind) if draw(st.booleans()) else None

        values = draw(st.lists(ANY_FLOATS, min_size=3 * count, max_size=3 * count))
        attribution = Attribution(
            (torch.tensor(values, dtype=kind).view(count, 3),),
            numbers(),
            numbers(),
            numbers() if draw(st.booleans()) else None,
            numbers() if draw(st.booleans()) else None,
            (torch.ones(count, 3),) if draw(st.integers(0, 4)) == 0 else (),
            numbers() if draw(st.booleans()) else None,
            draw(st.integers(0, 300)),
            draw(st.sampled_from([StopReason.COMPLETED, StopReason.BUDGET])),
            uncovered_ops=draw(st.sampled_from([(), ("b", "a")])),
        )
        found.append((piece, attribution))
    return Outcome(found)


def filled(parsed: ParsedRequest, outcome: Outcome) -> list[explanation_pb2.MethodResult]:
    """Fills the results of a request field by field; attributions that are not lists."""
    made = []
    for place, resolved in enumerate(parsed.methods):
        result = explanation_pb2.MethodResult(method=resolved.spec, rows_used=0)
        for example in range(parsed.inputs.count):
            for piece, found in outcome.of(place):
                own = result.explanations.add(example=example, target=piece.target)
                own.index.extend(piece.indices[example].tolist())
                own.label = ("no", "yes")[own.index[0]]
                own.stop_reason = STOP_REASONS[found.stop_reason]
                for name in ("output", "baseline_output"):
                    if (known := getattr(found, name)) is not None:
                        setattr(own, name, float(known[example]))
                for name in ("completeness", "standard_error", "relative"):
                    field = name if name == "standard_error" else f"{name}_error"
                    if (known := getattr(found, field)) is not None:
                        setattr(own.error, name, float(known[example]))
                _fill(own.attributions.add(name="x"), parsed, found, example)
        for _, found in outcome.of(place):
            result.rows_used += found.rows_used
            with np.errstate(over="ignore"):
                written = found.values[0].numpy().astype(DTYPES[parsed.output.datatype])
            result.non_finite += int((~np.isfinite(written)).sum())
        uncovered = {op for _, found in outcome.of(place) for op in found.uncovered_ops}
        result.uncovered_ops.extend(sorted(uncovered))
        worst = [found.stop_reason for _, found in outcome.of(place)]
        result.stop_reason = STOP_REASONS[
            StopReason.BUDGET if StopReason.BUDGET in worst else StopReason.COMPLETED
        ]
        made.append(result)
    return made


def _fill(
    into: explanation_pb2.Attribution, parsed: ParsedRequest, found: Attribution, example: int
) -> None:
    options = parsed.output
    given = [(into.values, found.values[0])]
    if found.standard_errors:
        given.append((into.standard_errors, found.standard_errors[0]))
    for message, numbers in given:
        with np.errstate(over="ignore"):
            array = numbers[example].numpy().astype(DTYPES[options.datatype])
        message.datatype = options.datatype or "FP32"
        message.shape.append(3)
        message.data = array.tobytes()


def serialised(message: explanation_pb2.MethodResult) -> bytes:
    """Serialises a message so that equal ones are equal, though NaN is not itself."""
    return message.SerializeToString(deterministic=True)


def without_lists(parsed: ParsedRequest) -> bool:
    return not parsed.as_values


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_an_answer_equals_one_that_is_filled_field_by_field(data: st.DataObject) -> None:
    parsed = data.draw(questions().filter(without_lists))
    outcome = data.draw(outcomes(parsed))
    answer = pb.ExplainResponse.FromString(responses.explanation(parsed, outcome, None, "id"))
    for found, expected in zip(answer.results, filled(parsed, outcome), strict=True):
        assert serialised(found) == serialised(expected)
    assert answer.model == MODEL.identity
    assert answer.seed == parsed.seed
    assert answer.HasField("seed")
    assert bool(answer.warnings) == any(result.non_finite for result in answer.results)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_answers_of_one_explanation_are_those_that_all_others_are_written_like(
    data: st.DataObject,
) -> None:
    parsed = data.draw(questions())
    form = answer_form(parsed)
    for _ in range(3):
        outcome = data.draw(outcomes(parsed))
        single = single_explanations.find(form, parsed, outcome)
        if single is not None:
            written, finite = results.serialised(
                single_explanations.RESULTS, parsed, outcome, "id", ended=True
            )
            assert finite
            assert single == form.model + form.seed + written


def test_plain_answers_of_one_explanation_are_written_from_kept_bytes() -> None:
    parsed = asking.read(asking.explain(np.zeros((1, 3), np.float32), targets=[index(1)]), MODEL)
    (piece,) = parsed.pieces(None)
    form = answer_form(parsed)
    for number in (1.0, 2.0):
        found = Attribution((torch.full((1, 3), number),), torch.tensor([number]), rows_used=1)
        single = single_explanations.find(form, parsed, Outcome([(piece, found)]))
        assert single is not None
        (result,) = pb.ExplainResponse.FromString(single).results
        assert result.explanations[0].output == number
        data = result.explanations[0].attributions[0].values.data
        assert np.frombuffer(data, np.float32).tolist() == [number] * 3
        assert len(form.frames) == 1

"""What a question prepares once for each shape of the inputs changes no request."""

from typing import Any

import numpy as np
import pytest
import torch

from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests import parsed_request
from adcaptum.service.requests.questions.preparations import MOST_BYTES, MOST_SHAPES
from adcaptum.service.requests.questions.resolved_questions import ResolvedQuestions
from adcaptum.v1 import explain_spec_pb2
from tests.unit.service import asking
from tests.unit.service.asking import READING, index, method, typed
from tests.unit.service.tiny_model import layered, tokens

Baseline = explain_spec_pb2.Baseline
ROWS = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)

QUESTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "constant": {"baselines": [Baseline(constant=0.5)]},
    "background": {
        "methods": [method("gradient_shap", n_samples=7), method("expected_gradients")],
        "baselines": [Baseline(background=explain_spec_pb2.Background(count=2))],
        "seed": 3,
    },
    "several": {"methods": [method("occlusion", sliding_window_shapes=2), method("lime")]},
    "layer": {
        "methods": [method("conductance")],
        "site": explain_spec_pb2.Site(layer="middle"),
    },
    "way": {
        "methods": [method("neuron_conductance")],
        "through": explain_spec_pb2.Neuron(layer="middle", index=[1]),
    },
    "tolerance": {
        "methods": [method("integrated_gradients")],
        "budget": explain_spec_pb2.Budget(tolerance=0.1),
    },
    "layer's constant": {
        "methods": [method("integrated_gradients")],
        "site": explain_spec_pb2.Site(layer="middle", baselines=[Baseline(constant=0.5)]),
    },
    "tensor": {
        "methods": [method("integrated_gradients")],
        "baselines": [Baseline(tensor=typed([1, 2, 3], [4, 5, 6], [7, 8, 9]))],
    },
}


def read(questions: ResolvedQuestions, model: ServedModel, rows: Any, **fields: Any) -> Any:
    request = asking.explain(rows, targets=[index(1)], **fields)
    return parsed_request.read(request, model, questions.of(request, model), READING)


def content(parsed: parsed_request.ParsedRequest) -> list[Any]:
    found: list[Any] = [parsed.planned_rows, parsed.planned_multiply_adds, parsed.masks]
    found += [parsed.planned_bytes, parsed.held_bytes]
    for piece in parsed.pieces(None):
        explicand = piece.explicand
        found += [piece.method, piece.target, piece.part.first, explicand.background, explicand.at]
        for tensors in (explicand.inputs, explicand.baselines or (), explicand.starts or ()):
            found += [each.tolist() for each in tensors]
    return found


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_second_request_is_read_as_the_first_one_would_be(name: str) -> None:
    model, questions = layered(), ResolvedQuestions()
    read(questions, model, ROWS, **QUESTIONS[name])
    second = read(questions, model, ROWS + 1, **QUESTIONS[name])
    alone = read(ResolvedQuestions(), model, ROWS + 1, **QUESTIONS[name])
    assert content(second) == content(alone)
    fewer = read(questions, model, ROWS[:3] * 2, **QUESTIONS[name])
    assert content(fewer) == content(read(ResolvedQuestions(), model, ROWS * 2, **QUESTIONS[name]))


def test_baselines_are_made_once_for_a_shape() -> None:
    model, questions = layered(), ResolvedQuestions()
    first, second = (read(questions, model, ROWS + each) for each in range(2))
    assert first.parts[0].baselines is second.parts[0].baselines
    other = read(questions, model, ROWS[:2])
    assert other.planned_rows != first.planned_rows
    assert read(questions, model, ROWS[:2]).parts[0].baselines is other.parts[0].baselines


def test_few_shapes_and_small_baselines_are_remembered() -> None:
    model, questions = tokens(), ResolvedQuestions()

    def remembered(length: int) -> bool:
        ids = np.ones((1, length), np.int64)
        first, second = (read(questions, model, ids) for _ in range(2))
        return first.parts[0].baselines is second.parts[0].baselines

    assert not remembered(MOST_BYTES // 8 + 1)
    assert [remembered(length) for length in range(1, MOST_SHAPES + 3)] == [
        *[True] * MOST_SHAPES,
        False,
        False,
    ]


def test_numbers_are_the_requests_own() -> None:
    model, questions = layered(), ResolvedQuestions()
    first = read(questions, model, ROWS)
    second = read(questions, model, -ROWS)
    assert torch.equal(first.inputs.tensors[0], -second.inputs.tensors[0])

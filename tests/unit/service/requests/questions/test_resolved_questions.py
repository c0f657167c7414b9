"""Questions that are resolved once."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.questions.resolved_questions import (
    MOST_SPEC_BYTES,
    ResolvedQuestions,
)
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb, model_pb2
from tests.unit.service import asking
from tests.unit.service.asking import every, index, method, tensor, typed
from tests.unit.service.tiny_model import served

ROWS = np.ones((1, 3), np.float32)


def asked(**fields: Any) -> pb.ExplainRequest:
    return asking.explain(ROWS, **fields)


def with_presets() -> ServedModel:
    model = served()[0]
    presets = {
        **model.presets,
        "sure": explain_spec_pb2.ExplainSpec(
            methods=[method("integrated_gradients")], targets=[index(1)], seed=3
        ),
    }
    return replace(model, presets=presets)


def test_equal_questions_are_resolved_once_wherever_they_come_from() -> None:
    questions, model = ResolvedQuestions(), with_presets()
    first = questions.of(asked(preset="sure"), model)
    assert questions.of(asked(preset="sure"), model) is first
    own = asked(methods=[method("integrated_gradients")], targets=[index(1)], seed=3)
    assert questions.of(own, model) is first
    assert questions.of(asked(preset="sure", seed=3), model) is first
    assert questions.of(asked(preset="sure", seed=4), model) is not first
    assert questions.of(asked(), model) is not first
    assert len(questions) == 3


def test_another_model_is_asked_another_question() -> None:
    questions, model = ResolvedQuestions(), served()[0]
    other = replace(model, identity=model_pb2.ModelIdentity(name="tiny", version="1", digest="x"))
    assert questions.of(asked(), model) is not questions.of(asked(), other)


def test_the_request_may_change_or_go_without_the_question() -> None:
    questions, model = ResolvedQuestions(), with_presets()
    request = asked(preset="sure", targets=[index(0)])
    found = questions.of(request, model)
    request.spec.targets[0].index.values[0] = 1
    assert [*found.spec.targets[0].index.values] == [0]
    assert questions.of(asked(preset="sure", targets=[index(0)]), model) is found


@pytest.mark.parametrize(
    "fields",
    [
        {"baselines": [explain_spec_pb2.Baseline(tensor=tensor(ROWS))]},
        {"baselines": [explain_spec_pb2.Baseline(tensor=typed([1, 2, 3]))]},
        {
            "methods": [method("feature_ablation")],
            "feature_masks": [
                explain_spec_pb2.FeatureMask(tensor=tensor(np.zeros((1, 3), np.int64)))
            ],
        },
        {"targets": [explain_spec_pb2.Target(argmax=explain_spec_pb2.Argmax())] * 3000},
    ],
    ids=["data", "values", "mask", "long"],
)
def test_large_questions_are_not_kept(fields: dict[str, Any]) -> None:
    questions, model = ResolvedQuestions(), served()[0]
    found = questions.of(asked(**fields), model)
    again = questions.of(asked(**fields), model)
    assert found is not again
    assert found.digest == again.digest
    assert (len(questions), questions.nbytes) == (0, 0)


def test_the_memory_is_bounded_and_the_last_ones_are_kept() -> None:
    questions, model = ResolvedQuestions(max_bytes=1 << 20), served()[0]
    last = None
    for seed in range(1000):
        last = questions.of(asked(seed=seed), model)
        assert questions.nbytes <= 1 << 20
    assert 30 < len(questions) < 70
    assert questions.of(asked(seed=999), model) is last
    wide = replace(model, checks=replace(model.checks, output_shape=(4096,)))
    before = len(questions)
    questions.of(asked(targets=[every()]), wide)
    assert len(questions) == before


def test_a_question_that_is_refused_takes_no_place() -> None:
    questions, model = ResolvedQuestions(), served()[0]
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            questions.of(asked(methods=[method("salienzy")]), model)
    assert len(questions) == 0


def test_a_question_is_kept_up_to_a_length() -> None:
    questions, model = ResolvedQuestions(), served()[0]
    target = explain_spec_pb2.Target(index=explain_spec_pb2.OutputIndex(values=[1] * 64))
    request = asked(targets=[target] * (MOST_SPEC_BYTES // 64))
    assert len(request.spec.SerializeToString()) > MOST_SPEC_BYTES
    questions.of(request, model)
    assert len(questions) == 0

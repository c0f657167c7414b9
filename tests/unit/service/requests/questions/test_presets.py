"""The question of a request: a preset, and the fields that the request sets."""

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.requests.questions import presets as questions
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb

DEFAULT = {
    "methods": [{"name": "saliency"}, {"name": "lime", "params": {"n_samples": 100}}],
    "baselines": [{"input": "x", "constant": 1}],
    "budget": {"max_rows": 100, "tolerance": 0.1},
    "output": {"max_features": 3},
    "seed": "7",
}


def spec(**fields: Any) -> explain_spec_pb2.ExplainSpec:
    return ParseDict(fields, explain_spec_pb2.ExplainSpec())


def presets() -> dict[str, explain_spec_pb2.ExplainSpec]:
    return {"default": spec(**DEFAULT), "quick": spec(methods=[{"name": "saliency"}])}


def asked(preset: str = "", **fields: Any) -> dict[str, Any]:
    """Returns the question of a request, as JSON."""
    request = pb.ExplainRequest(preset=preset, spec=spec(**fields))
    return MessageToDict(
        questions.effective_spec(request, presets()), preserving_proto_field_name=True
    )


def test_a_request_without_a_spec_has_the_presets_question_itself() -> None:
    known = presets()
    assert questions.effective_spec(pb.ExplainRequest(), known) is known["default"]
    assert questions.effective_spec(pb.ExplainRequest(preset="quick"), known) is known["quick"]
    empty = pb.ExplainRequest(spec=explain_spec_pb2.ExplainSpec())
    assert questions.effective_spec(empty, known) is known["default"]


@pytest.mark.parametrize(
    "own",
    [
        {"methods": [{"name": "lime"}]},
        {"baselines": [{"input": "x", "named": "zero"}]},
        {"budget": {"max_rows": 7}},
        {"budget": {}},
        {"output": {"return_inputs": True}},
        {"seed": "0"},
        {"deterministic": False},
        {"targets": [{"top_k": 2}]},
        {"site": {"layer": "hidden"}, "through": {"layer": "hidden"}},
    ],
    ids=" and ".join,
)
def test_a_field_that_is_set_replaces_the_presets_as_a_whole(own: dict[str, Any]) -> None:
    assert asked(**own) == {**DEFAULT, **own}


def test_an_empty_list_is_not_set() -> None:
    assert asked(methods=[], seed="1") == {**DEFAULT, "seed": "1"}


def test_a_request_may_name_a_preset_and_set_fields() -> None:
    quick = {"methods": [{"name": "saliency"}]}
    assert asked("quick", seed="1") == {**quick, "seed": "1"}


def test_presets_do_not_change_with_the_requests_that_use_them() -> None:
    known = presets()
    request = pb.ExplainRequest(spec=spec(seed="1"))
    found = questions.effective_spec(request, known)
    found.methods[0].name = "changed"
    found.budget.max_rows = 1
    assert known == presets()


def test_a_preset_that_the_model_lacks_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidRequest, match="Did you mean 'quick'") as caught:
        questions.effective_spec(pb.ExplainRequest(preset="quik"), presets())
    assert caught.value.reason is Reason.PRESET_UNKNOWN
    assert caught.value.violations[0].field == "preset"

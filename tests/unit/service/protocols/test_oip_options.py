"""Options of the Open Inference Protocol: what they set, and what is refused."""

from typing import Any

import pytest
from google.protobuf import json_format

from adcaptum.engine.methods import METHODS
from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.protocols.oip import options
from adcaptum.service.wire.method_specs import describe_method
from adcaptum.v1 import explanation_service_pb2 as pb


def asked(**parameters: Any) -> dict[str, Any]:
    request = options.explanation(parameters).request
    found: dict[str, Any] = json_format.MessageToDict(request, preserving_proto_field_name=True)
    return found


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"target": 3}, {"spec": {"targets": [{"index": {"values": [3]}}]}}),
        ({"target": 3.0}, {"spec": {"targets": [{"index": {"values": [3]}}]}}),
        ({"target": "[1, 2]"}, {"spec": {"targets": [{"index": {"values": [1, 2]}}]}}),
        ({"target": "benign"}, {"spec": {"targets": [{"label": "benign"}]}}),
        ({"top_k": 2}, {"spec": {"targets": [{"top_k": 2}]}}),
        ({"baseline": 0}, {"spec": {"baselines": [{"constant": 0.0}]}}),
        ({"baseline": "mean"}, {"spec": {"baselines": [{"named": "mean"}]}}),
        (
            {"layer": "conv", "at_input": True},
            {"spec": {"site": {"layer": "conv", "at_input": True}}},
        ),
        (
            {"tolerance": 0.1, "max_rows": 9},
            {"spec": {"budget": {"tolerance": 0.1, "max_rows": 9}}},
        ),
        (
            {"channel_reduction": "sum", "datatype": "FP16"},
            {
                "spec": {
                    "output": {
                        "channel_reduction": "CHANNEL_REDUCTION_SUM",
                        "datatype": "FP16",
                    }
                }
            },
        ),
        ({"seed": 0}, {"spec": {"seed": "0"}}),
        ({"deterministic": False}, {"spec": {"deterministic": False}}),
        ({"on_deadline": "partial"}, {"on_deadline": "ON_DEADLINE_PARTIAL"}),
        ({"cache": "bypass"}, {"cache": "CACHE_POLICY_BYPASS"}),
        ({"priority": 2}, {"priority": "PRIORITY_BATCH"}),
        ({"priority": 1}, {}),
        ({"priority": 0, "triton_enable_empty_final_response": True, "explain": "x"}, {}),
    ],
)
def test_options_are_fields(parameters: dict[str, Any], expected: dict[str, Any]) -> None:
    assert asked(**parameters) == expected


def test_a_timeout_is_in_microseconds_and_zero_is_none() -> None:
    assert options.prediction_timeout({"timeout": 1_500_000}) == 1.5
    assert options.prediction_timeout({"timeout": 0}) is None
    assert options.explanation({"timeout": 2_000}).timeout == 0.002


def test_all_others_are_parameters_of_the_method() -> None:
    found = options.explanation(
        {"n_steps": 5, "abs": True, "alpha": 0.5, "rule": "rescale", "strides": "[3, 3]"}
    ).method_parameters
    assert {name: json_format.MessageToDict(value) for name, value in found.items()} == {
        "n_steps": 5.0, "abs": True, "alpha": 0.5, "rule": "rescale", "strides": [3.0, 3.0],
    }  # fmt: skip


def test_single_values_of_parts_are_told() -> None:
    assert options.explanation({"tolerance": 0.1}).parts == {"budget"}
    assert options.explanation({"datatype": "FP64", "max_rows": 1}).parts == {"budget", "output"}
    assert not options.explanation({"seed": 1}).parts


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"target": True}, "parameters.target: True; must be a whole number from 0 to 2147483647"),
        ({"target": 1.5}, "parameters.target: 1.5; must be a whole number"),
        (
            {"target": "[1, true]"},
            "parameters.target: '[1, true]'; must be a list of whole numbers",
        ),
        ({"target": "[[" * 1500}, "parameters.target: '[["),
        ({"target": 1, "top_k": 1}, "parameters.top_k: beside target; only one of them is allowed"),
        ({"top_k": 1, "target": 1}, "parameters.target: beside top_k; only one of them is allowed"),
        ({"top_k": 0}, "parameters.top_k: 0; must be a whole number from 1"),
        ({"baseline": float("nan")}, "parameters.baseline: nan; must be a finite number"),
        ({"tolerance": "small"}, "parameters.tolerance: 'small'; must be a finite number"),
        ({"tolerance": 10**400}, "parameters.tolerance: 1000"),
        ({"n_steps": float("inf")}, "parameters.n_steps: inf; must be a finite number"),
        ({"of": "{oops"}, "parameters.of: '{oops'; must be JSON"),
        ({"of": '{"a": ' * 600}, "parameters.of: "),
        ({"of": "[" + "1," * 3000 + "1]"}, "parameters.of: '[1,1,"),
        ({"layer": 3}, "parameters.layer: 3; must be the name or alias of a layer"),
        ({"cache": "maybe"}, "parameters.cache: 'maybe'; must be use or bypass"),
        ({"deterministic": 1}, "parameters.deterministic: 1; must be true or false"),
        ({"priority": -1}, "parameters.priority: -1; must be a whole number from 0"),
        ({"seed": 1 << 63}, "parameters.seed: 9223372036854775808; must be a whole number from 0"),
    ],
)
def test_values_that_are_not_allowed_are_named(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        options.explanation(parameters)
    assert str(refused.value).startswith(text)


def test_predictions_have_few_options() -> None:
    with pytest.raises(InvalidRequest, match=r"parameters\.target: there is no such") as refused:
        options.prediction_timeout({"target": 1})
    assert refused.value.reason is Reason.FIELD_UNKNOWN


def test_no_method_has_a_parameter_with_the_name_of_an_option() -> None:
    names = {
        each.name for method in METHODS.values() for each in describe_method(method).parameters
    }
    assert not names & {options.EXPLAIN, *options.ALWAYS, *options.EXPLANATIONS, *options.UNASKED}


def test_requests_without_options_set_nothing() -> None:
    assert options.explanation({}).request == pb.ExplainRequest()

"""What callers ask, as the protocol says it."""

from typing import Any, cast

import numpy as np
import pytest
from google.protobuf import json_format

from adcaptum.client import (
    AllTargets,
    Blur,
    ExplainOptions,
    InvalidRequest,
    Layer,
    Method,
    Neuron,
    Samples,
    TopK,
)
from adcaptum.client.codec.descriptions import decode_method
from adcaptum.client.codec.requests import encode_method, encode_target, explain_request, model_ref

ROW = np.zeros((1, 3), np.float32)


def said(**options: Any) -> dict[str, Any]:
    """The request with these options as JSON, without model and inputs."""
    request = explain_request("cells", ROW, cast("ExplainOptions", options))
    written = json_format.MessageToDict(request, preserving_proto_field_name=True)
    return {key: value for key, value in written.items() if key not in {"model", "inputs"}}


def test_a_request_without_options_leaves_all_to_the_server() -> None:
    assert said() == {"budget": {}, "output": {}}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (3, {"indices": {"values": ["3"]}}),
        (np.int64(3), {"indices": {"values": ["3"]}}),
        ([1, 0], {"indices": {"values": ["1", "0"]}}),
        (np.array([[1, 2]]), {"indices": {"values": ["1", "2"]}}),
        ("benign", {"label": "benign"}),
        ("all", {"all": {}}),
        (AllTargets(), {"all": {}}),
        (TopK(3), {"top_k": 3}),
    ],
    ids=str,
)
def test_targets_can_be_chosen_in_many_ways(target: Any, expected: dict[str, Any]) -> None:
    encoded = encode_target(target)
    assert encoded is not None
    assert json_format.MessageToDict(encoded, preserving_proto_field_name=True) == expected


@pytest.mark.parametrize("target", [1.5, [], object()], ids=["real", "none", "object"])
def test_what_chooses_no_target_is_refused(target: Any) -> None:
    with pytest.raises(InvalidRequest, match="target"):
        encode_target(target)


def test_a_method_can_be_named_with_its_parameters() -> None:
    assert said(method="occlusion", params={"window": (3, 3)})["methods"] == [
        {"name": "occlusion", "params": {"window": {"integers": {"values": ["3", "3"]}}}}
    ]


def test_several_methods_can_be_mixed() -> None:
    methods = said(method=["saliency", Method("integrated_gradients", n_steps=5)])["methods"]
    assert [method["name"] for method in methods] == ["saliency", "integrated_gradients"]


def test_each_kind_of_parameter_survives_the_way_there_and_back() -> None:
    method = Method(
        "smooth_grad",
        of=Method("integrated_gradients", n_steps=20),
        flag=True,
        kind="vargrad",
        n_samples=10,
        stdev=0.15,
        window=(3, 3),
    )
    assert decode_method(encode_method(method)) == method


def test_parameters_without_the_name_of_a_method_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="params"):
        said(params={"n_steps": 5})


def test_a_parameter_that_no_method_has_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"params\.x"):
        encode_method(Method("saliency", x=[1.5]))  # type: ignore[list-item] # that is the point


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        (0.5, {"constant": 0.5}),
        (np.float32(0.5), {"constant": 0.5}),
        ("zero", {"zero": {}}),
        ("mean", {"named": "mean"}),
        (Blur(2.0), {"blur": {"sigma": 2.0}}),
        (Samples(7), {"samples": {"count": 7}}),
    ],
    ids=str,
)
def test_baselines_can_be_chosen_in_many_ways(baseline: Any, expected: dict[str, Any]) -> None:
    assert said(baselines=baseline)["baselines"] == [expected]
    assert said(baselines={"x": baseline})["baselines"] == [{"input": "x", **expected}]


def test_an_array_is_a_baseline() -> None:
    (baseline,) = said(baselines={"x": ROW})["baselines"]
    assert baseline["tensor"]["shape"] == ["1", "3"]


def test_feature_masks_are_tensors() -> None:
    (mask,) = said(feature_masks=np.array([[0, 0, 1]]))["feature_masks"]
    assert (mask["datatype"], mask["shape"]) == ("INT64", ["1", "3"])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"layer": "hidden"}, {"layer": {"name": "hidden"}}),
        ({"layer": Layer("hidden", input=True)}, {"layer": {"name": "hidden", "input": True}}),
        (
            {"neuron": Neuron("hidden", 4)},
            {"neuron": {"layer": {"name": "hidden"}, "index": ["4"]}},
        ),
        (
            {"neuron": Neuron("conv", (1, 2, 3))},
            {"neuron": {"layer": {"name": "conv"}, "index": ["1", "2", "3"]}},
        ),
        (
            {"neuron": Neuron("conv", (slice(2, 5), 0, slice(4)))},
            {
                "neuron": {
                    "layer": {"name": "conv"},
                    "index": ["2", "0", "0"],
                    "end": ["5", "1", "4"],
                }
            },
        ),
        ({"layer_baselines": 0.5}, {"layer_baselines": [{"constant": 0.5}]}),
        (
            {"layer_baselines": ["zero", 2]},
            {"layer_baselines": [{"zero": {}}, {"constant": 2.0}]},
        ),
        ({"max_rows": 100}, {"budget": {"max_rows": "100"}}),
        ({"tolerance": 0.05}, {"budget": {"tolerance": 0.05}}),
        ({"priority": "batch"}, {"priority": "PRIORITY_BATCH"}),
        ({"cache": "bypass"}, {"cache": "CACHE_BYPASS"}),
        ({"deterministic": True}, {"deterministic": True}),
        ({"on_deadline": "partial"}, {"budget": {"on_deadline": "ON_DEADLINE_PARTIAL"}}),
        (
            {"sum_channels": True, "top_features": 5, "datatype": "FP16", "return_inputs": True},
            {
                "output": {
                    "sum_channels": True,
                    "top_features": 5,
                    "datatype": "FP16",
                    "return_inputs": True,
                }
            },
        ),
        (
            {"return_outputs": True, "return_predictions": True, "top_k": 3},
            {"output": {"return_outputs": True, "return_predictions": True, "top_k": 3}},
        ),
        ({"return_predictions": False}, {"output": {"return_predictions": False}}),
        ({"seed": 7}, {"seed": "7"}),
    ],
    ids=str,
)
def test_every_other_option_has_its_field(
    options: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert said(**options) == {"budget": {}, "output": {}, **expected}


def test_an_array_is_a_baseline_of_a_layer() -> None:
    (baseline,) = said(layer_baselines=np.zeros((1, 128)))["layer_baselines"]
    assert (baseline["tensor"]["datatype"], baseline["tensor"]["shape"]) == ("FP64", ["1", "128"])


@pytest.mark.parametrize("baseline", ["mean", Blur(1.0), Samples(3)], ids=str)
def test_baselines_that_only_inputs_have_are_refused_at_a_layer(baseline: Any) -> None:
    with pytest.raises(InvalidRequest, match="of inputs"):
        said(layer_baselines=baseline)


@pytest.mark.parametrize("index", [slice(1, None), slice(1, 9, 2)], ids=str)
def test_a_block_of_neurons_says_where_it_ends_and_leaves_no_gaps(index: slice) -> None:
    with pytest.raises(InvalidRequest, match="neuron"):
        said(neuron=Neuron("hidden", index))


@pytest.mark.parametrize("option", ["on_deadline", "priority", "cache"])
def test_a_word_that_is_unknown_is_refused(option: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{option}: 'panic' is neither"):
        said(**{option: "panic"})


def test_an_option_that_is_unknown_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="targets"):
        said(targets=3)


def test_a_version_and_an_alias_exclude_each_other() -> None:
    with pytest.raises(InvalidRequest, match="not both"):
        model_ref("cells", "1", "stable")


def test_an_empty_version_is_not_the_default_version() -> None:
    assert model_ref("cells").WhichOneof("selector") is None
    assert model_ref("cells", version="").WhichOneof("selector") == "version"

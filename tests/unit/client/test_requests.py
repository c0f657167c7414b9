"""What callers ask, as the protocol says it."""

import dataclasses
from typing import Any, cast

import numpy as np
import pytest
from google.protobuf import json_format

from adcaptum.client import (
    AllTargets,
    Argmax,
    Background,
    Blur,
    Distribution,
    ExplainOptions,
    FeatureMask,
    InvalidRequest,
    Method,
    Neuron,
    Site,
    Spec,
    TopK,
)
from adcaptum.client.codec.methods import decode_method, write_method
from adcaptum.client.codec.presets import decode_spec
from adcaptum.client.codec.requests import explain_request, model_ref
from adcaptum.v1 import method_pb2

ROW = np.zeros((1, 3), np.float32)


def said(**options: Any) -> dict[str, Any]:
    """The request with these options as JSON, without model and inputs."""
    request = explain_request("cells", ROW, cast("ExplainOptions", options))
    written = json_format.MessageToDict(request, preserving_proto_field_name=True)
    return {key: value for key, value in written.items() if key not in {"model", "inputs"}}


def asked(**options: Any) -> dict[str, Any]:
    """The question with these options as JSON."""
    spec: dict[str, Any] = said(**options)["spec"]
    return spec


def test_a_request_without_options_leaves_all_to_the_server() -> None:
    assert said() == {}
    assert said(**dict.fromkeys(ExplainOptions.__annotations__)) == {}
    assert said(preset="exact") == {"preset": "exact"}


def test_an_option_that_there_is_not_is_told_with_those_that_there_are() -> None:
    with pytest.raises(TypeError, match=r"no option 'layer'; there are methods, .*site"):
        said(layer="conv")


def test_every_field_of_a_question_is_an_option() -> None:
    rest = {"version", "alias", "preset", "spec", "on_deadline", "priority", "cache"}
    assert set(Spec.__dataclass_fields__) == ExplainOptions.__annotations__.keys() - rest


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (3, {"index": {"values": [3]}}),
        (np.int64(3), {"index": {"values": [3]}}),
        ((1, 2), {"index": {"values": [1, 2]}}),
        ((), {"index": {}}),
        (np.array([1, 0]), {"index": {"values": [1, 0]}}),
        (np.array([[1, 2]]), {"index": {"values": [1, 2]}}),
        ("benign", {"label": "benign"}),
        ("all", {"all": {}}),
        (AllTargets(), {"all": {}}),
        (Argmax(), {"argmax": {}}),
        (TopK(3), {"top_k": 3}),
        (Neuron("hidden", 4), {"neuron": {"layer": "hidden", "index": [4]}}),
        (Neuron("score"), {"neuron": {"layer": "score"}}),
        (
            Neuron("conv", (1, 2, 3), at_input=True),
            {"neuron": {"layer": "conv", "at_input": True, "index": [1, 2, 3]}},
        ),
        (
            Neuron("conv", (slice(2, 5), 0, slice(4))),
            {"neuron": {"layer": "conv", "index": [2, 0, 0], "end": [5, 1, 4]}},
        ),
    ],
    ids=str,
)
def test_targets_can_be_chosen_in_many_ways(target: Any, expected: dict[str, Any]) -> None:
    assert asked(targets=target) == {"targets": [expected]}
    assert asked(targets=[target, "benign"])["targets"] == [expected, {"label": "benign"}]


def test_a_list_is_several_targets_of_every_example_and_an_array_one_per_example() -> None:
    several, one_each = asked(targets=[0, 1])["targets"], asked(targets=np.array([0, 1]))["targets"]
    assert several == [{"index": {"values": [0]}}, {"index": {"values": [1]}}]
    assert one_each == [{"index": {"values": [0, 1]}}]


@pytest.mark.parametrize(
    "target",
    [1.5, [], object(), True, (TopK(2), 1), [[0, 1.5]]],
    ids=["real", "none", "object", "bool", "tuple", "nested"],
)
def test_what_chooses_no_target_is_refused(target: Any) -> None:
    with pytest.raises(InvalidRequest, match="targets"):
        said(targets=target)


def test_several_methods_can_be_mixed() -> None:
    methods = asked(methods=["saliency", Method("integrated_gradients", n_steps=5)])["methods"]
    assert methods == [
        {"name": "saliency"},
        {"name": "integrated_gradients", "params": {"n_steps": 5.0}},
    ]
    assert asked(methods="saliency") == {"methods": [{"name": "saliency"}]}


def test_parameters_are_plain_json() -> None:
    method = Method(
        "smooth_grad",
        of=Method("saliency", abs=False),
        window=np.array([3, 3]),
        n_samples=np.int32(20),
        empty=[],
    )
    assert asked(methods=method)["methods"] == [
        {
            "name": "smooth_grad",
            "params": {
                "of": {"name": "saliency", "params": {"abs": False}},
                "window": [3.0, 3.0],
                "n_samples": 20.0,
                "empty": [],
            },
        }
    ]


def test_each_kind_of_parameter_survives_the_way_there_and_back() -> None:
    method = Method(
        "smooth_grad",
        of=Method("integrated_gradients", n_steps=20),
        inner=Method("saliency"),
        flag=True,
        kind="vargrad",
        n_samples=10,
        stdev=0.15,
        window=(3, 3),
        grid=((1, 2), (0.5,)),
        named={"low": 1, "name": 3},  # type: ignore[arg-type] # of a later release
    )
    message = method_pb2.MethodSpec()
    write_method(message, method)
    assert decode_method(message) == method


def test_a_parameter_that_json_lacks_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"params\.x"):
        said(methods=Method("saliency", x=object()))  # type: ignore[arg-type] # that is the point


def test_a_method_that_is_neither_a_name_nor_a_method_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="methods: 3"):
        said(methods=[3])


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        (0, {"constant": 0.0}),
        (0.5, {"constant": 0.5}),
        (np.float32(0.5), {"constant": 0.5}),
        ("mean", {"named": "mean"}),
        (Blur(2.0), {"blur": {"sigma": 2.0}}),
        (Background(7), {"background": {"count": 7}}),
    ],
    ids=str,
)
def test_baselines_can_be_chosen_in_many_ways(baseline: Any, expected: dict[str, Any]) -> None:
    assert asked(baselines=baseline) == {"baselines": [expected]}
    assert asked(baselines={"x": baseline}) == {"baselines": [{"input": "x", **expected}]}


@pytest.mark.parametrize("rows", [1, 2, 10])
def test_an_array_is_a_tensor_and_never_a_distribution(rows: int) -> None:
    array = np.zeros((rows, 3), np.float32)
    (tensor,) = asked(baselines={"x": array})["baselines"]
    assert (tensor.keys(), tensor["tensor"]["shape"]) == ({"input", "tensor"}, [rows, 3])
    (rows_of_all,) = asked(baselines=Distribution(array))["baselines"]
    assert (rows_of_all.keys(), rows_of_all["distribution"]["shape"]) == (
        {"distribution"},
        [rows, 3],
    )


def test_feature_masks_may_have_names() -> None:
    array = np.array([[0, 0, 1]])
    (mask,) = asked(feature_masks=array)["feature_masks"]
    assert (mask["tensor"]["datatype"], mask["tensor"]["shape"]) == ("INT64", [1, 3])
    (named,) = asked(feature_masks={"x": FeatureMask(array, ["size", "shade"])})["feature_masks"]
    assert (named["input"], named["names"]) == ("x", ["size", "shade"])
    assert named["tensor"]["data"] == mask["tensor"]["data"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"site": "hidden"}, {"site": {"layer": "hidden"}}),
        (
            {"site": Site("hidden", at_input=True, baselines=[0.5])},
            {"site": {"layer": "hidden", "at_input": True, "baselines": [{"constant": 0.5}]}},
        ),
        (
            {"site": Site("hidden", baselines=0)},
            {"site": {"layer": "hidden", "baselines": [{"constant": 0.0}]}},
        ),
        ({"through": Neuron("hidden", 4)}, {"through": {"layer": "hidden", "index": [4]}}),
        ({"max_rows": 100}, {"budget": {"max_rows": 100}}),
        ({"tolerance": 0.05}, {"budget": {"tolerance": 0.05}}),
        ({"deterministic": True}, {"deterministic": True}),
        ({"deterministic": False}, {"deterministic": False}),
        (
            {"channel_reduction": "none"},
            {"output": {"channel_reduction": "CHANNEL_REDUCTION_NONE"}},
        ),
        (
            {
                "channel_reduction": "sum",
                "max_features": 5,
                "datatype": "FP16",
                "return_inputs": True,
            },
            {
                "output": {
                    "channel_reduction": "CHANNEL_REDUCTION_SUM",
                    "max_features": 5,
                    "datatype": "FP16",
                    "return_inputs": True,
                }
            },
        ),
        (
            {"return_outputs": True, "return_predictions": True, "max_labels": 3},
            {"output": {"return_outputs": True, "return_predictions": True, "max_labels": 3}},
        ),
        (
            {"return_predictions": False, "return_features": False},
            {"output": {"return_predictions": False, "return_features": False}},
        ),
        ({"return_inputs": False}, {"output": {}}),
        ({"seed": 7}, {"seed": "7"}),
        ({"seed": 0}, {"seed": "0"}),
    ],
    ids=str,
)
def test_every_other_field_of_a_question_has_its_option(
    options: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert said(**options) == {"spec": expected}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"priority": "batch"}, {"priority": "PRIORITY_BATCH"}),
        ({"cache": "bypass"}, {"cache": "CACHE_POLICY_BYPASS"}),
        ({"on_deadline": "partial"}, {"on_deadline": "ON_DEADLINE_PARTIAL"}),
    ],
    ids=str,
)
def test_options_of_the_call_are_no_part_of_the_question(
    options: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert said(**options) == expected


def test_a_question_is_a_value_whose_fields_options_replace() -> None:
    spec = Spec(methods="saliency", targets=[0, 1], tolerance=0.05)
    assert said(spec=spec) == said(methods="saliency", targets=[0, 1], tolerance=0.05)
    assert said(spec=spec, targets=2, seed=None) == said(
        methods="saliency", targets=2, tolerance=0.05
    )


def test_a_question_shows_what_is_given() -> None:
    spec = Spec(methods=[Method("lime", n_samples=9)], targets="benign", seed=0)
    assert repr(spec) == "Spec(methods=[Method('lime', n_samples=9)], targets='benign', seed=0)"
    assert repr(Spec()) == "Spec()"


def test_a_question_survives_the_way_there_and_back() -> None:
    baselines: dict[str, Any] = {
        "a": 0.5,
        "b": np.ones((1, 2)),
        "c": Distribution(np.ones((4, 2))),
        "d": "mean",
        "e": Blur(1.5),
        "f": Background(3),
    }
    spec = Spec(
        methods=[Method("integrated_gradients", n_steps=5), "saliency"],
        targets=[0, (1, 2), "benign", TopK(2), AllTargets(), Argmax(), Neuron("l", (slice(1, 3),))],
        baselines=baselines,
        feature_masks={"a": FeatureMask(np.array([[0, 1]]), ("x", "y"))},
        site=Site("hidden", True, (1.0,), (FeatureMask(np.array([[0]])),)),
        through=Neuron("hidden", (3,)),
        max_rows=10,
        tolerance=0.01,
        channel_reduction="sum",
        max_features=3,
        datatype="FP64",
        return_inputs=True,
        return_outputs=True,
        return_predictions=False,
        return_features=False,
        max_labels=2,
        seed=0,
        deterministic=True,
    )
    request = explain_request("cells", ROW, {"spec": spec})
    copy = decode_spec(request.spec)
    assert explain_request("cells", ROW, {"spec": copy}) == request
    assert (copy.seed, copy.return_predictions, copy.channel_reduction) == (0, False, "sum")
    assert dataclasses.asdict(decode_spec(type(request.spec)())) == dataclasses.asdict(Spec())


def test_an_array_is_a_baseline_of_a_layer() -> None:
    site = Site("hidden", baselines=[np.zeros((1, 128)), Distribution(np.ones((4, 2)))])
    tensor, rows = asked(site=site)["site"]["baselines"]
    assert (tensor["tensor"]["datatype"], tensor["tensor"]["shape"]) == ("FP64", [1, 128])
    assert rows["distribution"]["shape"] == [4, 2]
    masked = Site("hidden", feature_masks=np.zeros((1, 128), np.int64))
    (mask,) = asked(site=masked)["site"]["feature_masks"]
    assert mask["tensor"]["shape"] == [1, 128]


@pytest.mark.parametrize("baseline", ["mean", Blur(1.0), Background(3)], ids=str)
def test_baselines_that_only_inputs_have_are_refused_at_a_layer(baseline: Any) -> None:
    with pytest.raises(InvalidRequest, match="of inputs"):
        said(site=Site("hidden", baselines=[baseline]))


@pytest.mark.parametrize("index", [slice(1, None), slice(1, 9, 2)], ids=str)
def test_a_block_of_neurons_says_where_it_ends_and_leaves_no_gaps(index: slice) -> None:
    with pytest.raises(InvalidRequest, match="neuron"):
        said(targets=Neuron("hidden", index))


@pytest.mark.parametrize("option", ["on_deadline", "priority", "cache", "channel_reduction"])
def test_a_word_that_is_unknown_is_refused(option: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{option}: 'panic' is neither"):
        said(**{option: "panic"})


@pytest.mark.parametrize("option", ["max_rows", "tolerance", "seed", "datatype", "max_labels"])
def test_a_value_that_the_protocol_cannot_express_is_refused(option: str) -> None:
    with pytest.raises(InvalidRequest, match=option):
        said(**{option: object()})


def test_numbers_that_are_too_large_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="max_rows"):
        said(max_rows=2**40)


def test_an_option_that_is_unknown_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="target"):
        said(target=3)


def test_a_version_and_an_alias_exclude_each_other() -> None:
    with pytest.raises(InvalidRequest, match="not both"):
        model_ref("cells", "1", "stable")


def test_an_empty_version_is_not_the_default_version() -> None:
    assert model_ref("cells").WhichOneof("selector") is None
    assert model_ref("cells", version="").WhichOneof("selector") == "version"

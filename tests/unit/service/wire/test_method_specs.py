"""Methods on the wire."""

import math

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from adcaptum.engine.methods import METHODS
from adcaptum.engine.vocabulary.parameters import resolve
from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.wire import method_specs
from adcaptum.v1 import method_pb2


@pytest.mark.parametrize("name", METHODS)
def test_a_resolved_method_resolves_to_itself(name: str) -> None:
    first = method_specs.read(method_pb2.MethodSpec(name=name), "spec.methods[0]")
    again = method_specs.read(first.spec, "spec.methods[0]")
    assert again.method == first.method
    assert again.spec == first.spec


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_is_described(name: str) -> None:
    described = method_specs.describe_method(METHODS[name])
    assert described.description
    assert described.paper.startswith("http")
    assert all(parameter.description for parameter in described.parameters)
    assert method_pb2.PARAMETER_TYPE_UNSPECIFIED not in {p.type for p in described.parameters}


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidRequest) as caught:
        method_specs.read(method_pb2.MethodSpec(name="salience"), "spec.methods[0]")
    assert caught.value.reason is Reason.METHOD_UNKNOWN
    (violation,) = caught.value.violations
    assert violation.field == "spec.methods[0].name"
    assert "Did you mean 'saliency'" in violation.description


def spec(name: str, **params: object) -> method_pb2.MethodSpec:
    """Returns a method as people type it in JSON."""
    return ParseDict({"name": name, "params": params}, method_pb2.MethodSpec())


def refused(asked: method_pb2.MethodSpec) -> tuple[str, str, Reason]:
    """Returns the path, the description and the reason of the error of a method."""
    with pytest.raises(InvalidRequest) as caught:
        method_specs.read(asked, "spec.methods[0]")
    (violation,) = caught.value.violations
    return violation.field, violation.description, caught.value.reason


def test_methods_do_not_wrap_methods_without_end() -> None:
    inner: dict[str, object] = {"name": "saliency"}
    for _ in range(method_specs.DEEPEST - 1):
        inner = {"name": "smooth_grad", "params": {"of": inner}}
    _, description, _ = refused(spec("smooth_grad", of=inner))
    assert "deep" in description


def test_a_wrong_parameter_inside_a_method_is_named_by_its_path() -> None:
    inner = {"name": "integrated_gradients", "params": {"n_steps": 0}}
    path, _, _ = refused(spec("smooth_grad", of=inner))
    assert path == "spec.methods[0].params.of.params.n_steps"


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (2.5, "2.5; must be a whole number"),
        (1e300, "must be a whole number"),
        ("50", "a string was given; must be a whole number"),
        (True, "true or false was given; must be a whole number"),
        (None, "null was given; must be a whole number"),
        ([50], "a list was given; must be a whole number"),
        ({}, "an object was given; must be a whole number"),
    ],
    ids=str,
)
def test_whole_numbers_are_whole(value: object, wrong: str) -> None:
    path, description, reason = refused(spec("integrated_gradients", n_steps=value))
    assert path == "spec.methods[0].params.n_steps"
    assert wrong in description
    assert reason is Reason.FIELD_INVALID


@pytest.mark.parametrize(
    ("name", "given", "params"),
    [
        ("integrated_gradients", {"n_steps": 7.0}, {"n_steps": 7}),
        ("smooth_grad", {"stdev": 1}, {"stdev": 1.0}),
        ("occlusion", {"sliding_window_shapes": 3}, {"sliding_window_shapes": (3,)}),
        ("occlusion", {"sliding_window_shapes": [3]}, {"sliding_window_shapes": (3,)}),
        ("occlusion", {"sliding_window_shapes": [3, 2.0]}, {"sliding_window_shapes": (3, 2)}),
        ("saliency", {"abs": False}, {"abs": False}),
    ],
)
def test_values_have_the_type_of_their_parameter(
    name: str, given: dict[str, object], params: dict[str, object]
) -> None:
    # The text tells 7 from 7.0.
    found = method_specs.read(spec(name, **given), "spec.methods[0]").method
    assert repr(found) == repr(resolve(METHODS[name], params))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_are_finite(value: float) -> None:
    asked = method_pb2.MethodSpec(name="smooth_grad")
    asked.params["stdev"].number_value = value
    path, description, _ = refused(asked)
    assert path == "spec.methods[0].params.stdev"
    assert "must be finite" in description


def test_a_list_has_whole_numbers_only() -> None:
    path, _, _ = refused(spec("occlusion", sliding_window_shapes=[3, "3"]))
    assert path == "spec.methods[0].params.sliding_window_shapes[1]"


@pytest.mark.parametrize(
    ("inner", "path", "reason"),
    [
        ("saliency", "", Reason.FIELD_INVALID),
        ({"params": {}}, ".name", Reason.FIELD_INVALID),
        ({"name": 3}, ".name", Reason.FIELD_INVALID),
        ({"name": "salience"}, ".name", Reason.METHOD_UNKNOWN),
        ({"name": "saliency", "params": [1]}, ".params", Reason.FIELD_INVALID),
        ({"name": "saliency", "parameters": {}}, ".parameters", Reason.FIELD_UNKNOWN),
        ({"name": "saliency", "params": {"x": 1}}, ".params.x", Reason.PARAMETER_UNKNOWN),
    ],
    ids=str,
)
def test_a_method_inside_a_method_has_a_name_and_params(
    inner: object, path: str, reason: Reason
) -> None:
    found, _, why = refused(spec("smooth_grad", of=inner))
    assert (found, why) == (f"spec.methods[0].params.of{path}", reason)


def test_methods_are_written_as_people_type_them() -> None:
    inner = {"name": "integrated_gradients", "params": {"n_steps": 9}}
    found = method_specs.read(spec("smooth_grad", of=inner, n_samples=3), "spec.methods[0]")
    params = MessageToDict(found.spec)["params"]
    assert params["n_samples"] == 3
    assert params["of"]["name"] == "integrated_gradients"
    assert params["of"]["params"]["n_steps"] == 9
    assert method_specs.read(found.spec, "spec.methods[0]").method == found.method


def test_the_neuron_of_a_method_is_a_field_of_the_question() -> None:
    described = method_specs.describe_method(METHODS["neuron_conductance"])
    assert described.accepts_neuron
    assert described.site_use == method_pb2.SITE_USE_NO_LAYER
    assert "neuron" not in [each.name for each in described.parameters]
    _, _, reason = refused(spec("neuron_conductance", neuron=[1]))
    assert reason is Reason.PARAMETER_UNKNOWN


def test_equal_methods_are_resolved_once_whatever_their_place() -> None:
    first = method_specs.read(spec("occlusion", strides=2), "spec.methods[0]")
    assert method_specs.read(spec("occlusion", strides=2.0), "spec.methods[1]") is first


def test_long_methods_take_no_place_in_the_cache() -> None:
    before = method_specs._cached.cache_info().currsize
    shapes = [*range(1 << 40, (1 << 40) + method_specs.MOST_INTEGERS)]
    method_specs.read(spec("occlusion", sliding_window_shapes=shapes), "spec.methods[0]")
    assert method_specs._cached.cache_info().currsize == before


def test_lists_of_more_numbers_than_any_method_takes_are_refused() -> None:
    shapes = [1] * (method_specs.MOST_INTEGERS + 1)
    _, description, _ = refused(spec("occlusion", sliding_window_shapes=shapes))
    assert "257 numbers" in description

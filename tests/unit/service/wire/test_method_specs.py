"""Methods on the wire."""

import pytest

from adcaptum.engine.methods import METHODS
from adcaptum.service.errors import InvalidRequest, NotFound
from adcaptum.service.wire import method_specs
from adcaptum.v1 import method_pb2


@pytest.mark.parametrize("name", METHODS)
def test_a_resolved_method_resolves_to_itself(name: str) -> None:
    first = method_specs.read(method_pb2.MethodSpec(name=name), "methods[0]")
    again = method_specs.read(first.spec, "methods[0]")
    assert again.method == first.method
    assert again.spec == first.spec


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_is_described(name: str) -> None:
    described = method_specs.describe_method(METHODS[name])
    assert described.summary
    assert described.paper.startswith("http")
    assert all(parameter.text for parameter in described.parameters)
    assert method_pb2.PARAMETER_TYPE_UNSPECIFIED not in {p.type for p in described.parameters}


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound) as caught:
        method_specs.read(method_pb2.MethodSpec(name="salience"), "methods[0]")
    assert caught.value.nearest[0] == "saliency"


def test_methods_do_not_wrap_methods_without_end() -> None:
    spec = method_pb2.MethodSpec(name="saliency")
    for _ in range(method_specs.DEEPEST):
        spec = method_pb2.MethodSpec(
            name="smooth_grad", params={"of": method_pb2.ParameterValue(method=spec)}
        )
    with pytest.raises(InvalidRequest, match="deep"):
        method_specs.read(spec, "methods[0]")


def test_a_wrong_parameter_inside_a_method_is_named_by_its_path() -> None:
    inner = method_pb2.MethodSpec(
        name="integrated_gradients", params={"n_steps": method_pb2.ParameterValue(integer=0)}
    )
    spec = method_pb2.MethodSpec(
        name="smooth_grad", params={"of": method_pb2.ParameterValue(method=inner)}
    )
    with pytest.raises(InvalidRequest) as caught:
        method_specs.read(spec, "methods[0]")
    assert caught.value.violations[0].field == "methods[0].params.of.method.params.n_steps"


def test_unknown_fields_take_no_place_in_the_cache() -> None:
    plain = method_pb2.MethodSpec(name="occlusion")
    first = method_specs.read(plain, "methods[0]")
    before = method_specs._cached.cache_info().currsize
    for number in range(4):
        # Field 15, which no server knows.
        unknown = plain.SerializeToString() + bytes([15 << 3 | 2, 100]) + bytes([number]) * 100
        spec = method_pb2.MethodSpec.FromString(unknown)
        assert method_specs.read(spec, "methods[0]") is first
    assert method_specs._cached.cache_info().currsize == before


def test_long_methods_take_no_place_in_the_cache() -> None:
    before = method_specs._cached.cache_info().currsize
    shapes = method_pb2.IntegerList(values=range(1 << 40, (1 << 40) + method_specs.MOST_INTEGERS))
    spec = method_pb2.MethodSpec(
        name="occlusion",
        params={"sliding_window_shapes": method_pb2.ParameterValue(integers=shapes)},
    )
    method_specs.read(spec, "methods[0]")
    assert method_specs._cached.cache_info().currsize == before


def test_lists_of_more_numbers_than_any_method_takes_are_refused() -> None:
    shapes = method_pb2.IntegerList(values=[1] * (method_specs.MOST_INTEGERS + 1))
    spec = method_pb2.MethodSpec(
        name="occlusion",
        params={"sliding_window_shapes": method_pb2.ParameterValue(integers=shapes)},
    )
    with pytest.raises(InvalidRequest, match="257 numbers"):
        method_specs.read(spec, "methods[0]")

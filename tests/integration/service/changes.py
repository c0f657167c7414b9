"""Changes that make a valid request invalid."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from adcaptum.v1 import (
    explain_spec_pb2 as spec_pb2,
    explanation_service_pb2 as pb,
    method_pb2,
    tensor_pb2,
)
from tests.integration.service.asking import (
    Plain,
    background,
    cells,
    explain,
    mask,
    method,
    neuron,
    tensor,
    typed,
    value,
)

Change = Callable[[pb.ExplainRequest], None]


def changed(change: Change) -> pb.ExplainRequest:
    """A request that is valid but for the change."""
    request = explain(cells(), method("integrated_gradients"))
    change(request)
    return request


def both(*changes: Change) -> Change:
    def change(request: pb.ExplainRequest) -> None:
        for each in changes:
            each(request)

    return change


def with_input(message: tensor_pb2.Tensor) -> Change:
    return lambda request: request.inputs[0].CopyFrom(message)


def with_data(values: NDArray[Any]) -> Change:
    return with_input(tensor(values))


def with_typed(*rows: Plain, **fields: Any) -> Change:
    message = typed(*rows)
    message.MergeFrom(tensor_pb2.Tensor(**fields))
    return with_input(message)


def with_tensor(**fields: object) -> Change:
    def change(request: pb.ExplainRequest) -> None:
        for name, field in fields.items():
            if name == "shape":
                del request.inputs[0].shape[:]
                request.inputs[0].shape.extend(field)  # type: ignore[arg-type]
            else:
                setattr(request.inputs[0], name, field)

    return change


def with_number_at(wrong: float) -> Change:
    values = cells()
    values[0, 3] = wrong
    return with_data(values)


def with_param(name: str, wrong: Plain) -> Change:
    return lambda request: request.spec.methods[0].params[name].CopyFrom(value(wrong))


def with_target(*targets: spec_pb2.Target) -> Change:
    return lambda request: request.spec.targets.extend(targets)


def with_baseline(**fields: Any) -> Change:
    return lambda request: request.spec.baselines.append(spec_pb2.Baseline(**fields))


def with_background(count: int) -> Change:
    return lambda request: request.spec.baselines.append(background(count))


def with_enum(field: str, number: int) -> Change:
    """An enumeration has a number that the protocol does not know."""
    return lambda request: setattr(request, field, number)


def with_output(**fields: Any) -> Change:
    return lambda request: request.spec.output.MergeFrom(spec_pb2.OutputOptions(**fields))


def with_budget(**fields: Any) -> Change:
    return lambda request: request.spec.budget.MergeFrom(spec_pb2.Budget(**fields))


def with_mask(values: NDArray[Any], **fields: Any) -> Change:
    return lambda request: request.spec.feature_masks.append(mask(values, **fields))


def with_site_mask(values: NDArray[Any], **fields: Any) -> Change:
    return lambda request: request.spec.site.feature_masks.append(mask(values, **fields))


def with_layer(name: str = "hidden") -> Change:
    return lambda request: setattr(request.spec.site, "layer", name)


def with_through(layer: str, *position: int, end: tuple[int, ...] = ()) -> Change:
    return lambda request: request.spec.through.CopyFrom(neuron(layer, *position, end=end))


def with_start(**fields: Any) -> Change:
    """A baseline at the layer."""
    start = spec_pb2.Baseline(**fields)
    return both(with_layer(), lambda request: request.spec.site.baselines.append(start))


def asked_of(name: str, **params: Plain) -> Change:
    return lambda request: request.spec.methods[0].CopyFrom(method(name, **params))


def with_method(name: str) -> Change:
    return lambda request: request.spec.methods.append(method(name))


def with_preset(name: str) -> Change:
    return lambda request: setattr(request, "preset", name)


def twice(request: pb.ExplainRequest) -> None:
    request.inputs.append(request.inputs[0])


def without_methods(request: pb.ExplainRequest) -> None:
    request.spec.methods[0].CopyFrom(method_pb2.MethodSpec())

"""Decoding of the descriptions of models and methods."""

from adcaptum.client.method import Method, ParameterValue
from adcaptum.client.results.method_info import MethodInfo, ParameterInfo, ParameterType
from adcaptum.client.results.model_info import (
    InputInfo,
    LayerInfo,
    LayoutInfo,
    ModelChecks,
    ModelIdentity,
    ModelInfo,
    ModelState,
    OutputInfo,
)
from adcaptum.v1 import method_pb2, model_pb2

_STATES = {
    model_pb2.MODEL_STATE_LOADING: ModelState.LOADING,
    model_pb2.MODEL_STATE_READY: ModelState.READY,
    model_pb2.MODEL_STATE_UNAVAILABLE: ModelState.UNAVAILABLE,
}
_TYPES = {
    method_pb2.PARAMETER_TYPE_INTEGER: ParameterType.INTEGER,
    method_pb2.PARAMETER_TYPE_NUMBER: ParameterType.NUMBER,
    method_pb2.PARAMETER_TYPE_FLAG: ParameterType.FLAG,
    method_pb2.PARAMETER_TYPE_CHOICE: ParameterType.CHOICE,
    method_pb2.PARAMETER_TYPE_INTEGERS: ParameterType.INTEGERS,
    method_pb2.PARAMETER_TYPE_METHOD: ParameterType.METHOD,
}


def decode_identity(identity: model_pb2.ModelIdentity) -> ModelIdentity:
    """Decode the identity of a model."""
    return ModelIdentity(identity.name, identity.version, identity.digest)


def decode_model(model: model_pb2.Model) -> ModelInfo:
    """Decode the description of a model."""
    return ModelInfo(
        identity=decode_identity(model.identity),
        versions=tuple(model.versions),
        aliases=dict(model.aliases),
        state=_STATES.get(model.state, ModelState.UNKNOWN),
        reason=model.reason,
        description=model.description,
        inputs=tuple(_decode_input(each) for each in model.inputs),
        outputs=tuple(_decode_output(each) for each in model.outputs),
        layers=tuple(
            LayerInfo(each.name, each.alias, each.type, tuple(each.shape)) for each in model.layers
        ),
        checks=_decode_checks(model.checks),
        default_method=model.default_method,
        device=model.device,
        max_rows=model.max_rows,
        max_examples=model.max_examples,
        layout=_decode_layout(model.layout) if model.HasField("layout") else None,
    )


def decode_method(spec: method_pb2.MethodSpec) -> Method:
    """Decode a method with its parameters."""
    params = {name: _decode_value(value) for name, value in sorted(spec.params.items())}
    return Method(spec.name, **{name: value for name, value in params.items() if value is not None})


def decode_method_info(method: method_pb2.Method) -> MethodInfo:
    """Decode the description of a method."""
    return MethodInfo(
        name=method.name,
        title=method.title,
        summary=method.summary,
        paper=method.paper,
        parameters=tuple(_decode_parameter(each) for each in method.parameters),
        gradient=method.gradient,
        baseline=method.baseline,
        random=method.random,
        available=method.available,
        reason=method.reason,
        layers=method.layers,
        layer_required=method.layer_required,
        feature_masks=method.feature_masks,
        background=method.background,
        tolerance=method.tolerance,
    )


def _decode_input(described: model_pb2.ModelInput) -> InputInfo:
    return InputInfo(
        name=described.name,
        datatype=described.datatype,
        shape=tuple(described.shape),
        kind=described.kind,
        features=tuple(described.features),
        units=tuple(described.units),
        default_baseline=described.default_baseline,
        baselines=tuple(described.baselines),
        background_rows=described.background_rows,
        embedding=described.embedding,
    )


def _decode_output(described: model_pb2.ModelOutput) -> OutputInfo:
    return OutputInfo(
        name=described.name,
        datatype=described.datatype,
        shape=tuple(described.shape),
        labels=tuple(described.labels),
        kind=described.kind,
    )


def _decode_checks(checks: model_pb2.ModelChecks) -> ModelChecks:
    return ModelChecks(
        independent=checks.independent,
        differentiable=checks.differentiable,
        accuracy=checks.accuracy if checks.HasField("accuracy") else None,
    )


def _decode_layout(layout: model_pb2.ModelLayout) -> LayoutInfo:
    return LayoutInfo(
        name=layout.name,
        output_distance=layout.output_distance,
        gradient_distance=layout.gradient_distance,
        own_output_rounding=layout.own_output_rounding,
        own_gradient_rounding=layout.own_gradient_rounding,
        rows_per_second=dict(layout.rows_per_second),
        failures=dict(layout.failures),
    )


def _decode_parameter(parameter: method_pb2.Parameter) -> ParameterInfo:
    return ParameterInfo(
        name=parameter.name,
        type=_TYPES.get(parameter.type, ParameterType.UNKNOWN),
        default=_decode_value(parameter.default_value),
        minimum=parameter.minimum if parameter.HasField("minimum") else None,
        maximum=parameter.maximum if parameter.HasField("maximum") else None,
        choices=tuple(parameter.choices),
        text=parameter.text,
    )


def _decode_value(value: method_pb2.ParameterValue) -> ParameterValue | None:  # noqa: PLR0911 - one for each kind
    match value.WhichOneof("kind"):
        case "integer":
            return value.integer
        case "number":
            return value.number
        case "flag":
            return value.flag
        case "text":
            return value.text
        case "integers":
            return tuple(value.integers.values)
        case "method":
            return decode_method(value.method)
    return None

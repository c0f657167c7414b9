"""The messages that the load generators send."""

from __future__ import annotations

import base64

from grpc_health.v1 import health_pb2

from adcaptum.service.wire import tensor_writer
from adcaptum.v1 import (
    explain_spec_pb2,
    explanation_service_pb2 as pb,
    method_pb2,
    model_pb2,
)
from tests.benchmarks.subjects import View

EXPLAIN = "/adcaptum.v1.ExplanationService/Explain"
PREDICT = "/adcaptum.v1.ExplanationService/Predict"
CHECK = "/grpc.health.v1.Health/Check"


def predict(model: str, view: View) -> str:
    """A Predict request for one input, in base64."""
    request = pb.PredictRequest(
        model=model_pb2.ModelRef(name=model), inputs=[tensor_writer.encode(view.inputs[:1])]
    )
    return base64.b64encode(request.SerializeToString()).decode()


def explain(
    model: str, view: View, method: str, *, steps: int = 50, examples: int = 1, shared: bool = False
) -> str:
    """An Explain request for a class given by index, in base64.

    Args:
        model: The model.
        view: What is explained: the first input.
        method: The method.
        steps: How many, of a path.
        examples: How often the input is explained.
        shared: Whether the answer may be that of an equal request.
    """
    spec = method_pb2.MethodSpec(name=method)
    if method == "integrated_gradients":
        spec.params["n_steps"].number_value = steps
    index = explain_spec_pb2.OutputIndex(values=[int(view.targets[0])])
    target = explain_spec_pb2.Target(index=index)
    repeats = [examples] + [1] * (view.inputs.dim() - 1)
    request = pb.ExplainRequest(
        model=model_pb2.ModelRef(name=model),
        inputs=[tensor_writer.encode(view.inputs[:1].repeat(repeats))],
        spec=explain_spec_pb2.ExplainSpec(methods=[spec], targets=[target]),
        # Clients that all send the same would measure the cache.
        cache=pb.CACHE_POLICY_USE if shared else pb.CACHE_POLICY_BYPASS,
    )
    return base64.b64encode(request.SerializeToString()).decode()


def check() -> str:
    """A health check: the cheapest RPC that the server has, in base64."""
    return base64.b64encode(health_pb2.HealthCheckRequest().SerializeToString()).decode()

"""What one writes in an afternoon: grpc.aio, and Captum per request in a thread pool.

It speaks the same protocol for what the benchmark asks, loads the same models, and is set up
fairly: uvloop, one thread per core, one intra-op thread each, Captum's batch size at its best. It
checks nothing, counts nothing, and tells neither outputs nor errors.
"""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from threading import local
from typing import Any

import grpc
import torch
import uvloop
from captum import attr as captum
from torch import Tensor, nn

from adcaptum.service.models.loading import LoadedModel, load
from adcaptum.service.models.repository import stored_models
from adcaptum.service.wire import tensor_writer
from adcaptum.service.wire.tensors import DATATYPES
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb
from tests.benchmarks.models import Transformer

BATCH_ROWS = 64
GRADIENT_SHAP_SAMPLES = 50


class Naive:
    """Hands every request to a thread."""

    def __init__(self, models: Path) -> None:
        self._models = {name: _load(models / name) for name in stored_models.names(models)}
        self._copies = local()
        cores = len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))

    async def predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
        """Evaluates the model."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._predict, request)

    async def explain(self, request: pb.ExplainRequest, context: Any) -> pb.ExplainResponse:
        """Explains."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._explain, request)

    def _predict(self, request: pb.PredictRequest) -> pb.PredictResponse:
        model = self._models[request.model.name]
        with torch.inference_mode():
            logits = model.module(_read(request.inputs[0]))
        return pb.PredictResponse(outputs=[tensor_writer.encode(logits)])

    def _explain(self, request: pb.ExplainRequest) -> pb.ExplainResponse:
        model = self._models[request.model.name]
        x, target = _read(request.inputs[0]), request.spec.targets[0].index.values[0]
        (method,) = request.spec.methods
        values = self._attribute(model, method, x, target)
        explanations = [
            explanation_pb2.Explanation(
                example=i,
                attributions=[explanation_pb2.Attribution(values=tensor_writer.encode(each))],
            )
            for i, each in enumerate(values.detach())
        ]
        result = explanation_pb2.MethodResult(method=method, explanations=explanations)
        return pb.ExplainResponse(results=[result])

    def _own(self, model: LoadedModel) -> nn.Module:
        """Returns the thread's own copy of a model: Captum keeps its state on modules."""
        copies: dict[int, nn.Module] = self._copies.__dict__.setdefault("modules", {})
        if id(model) not in copies:
            copies[id(model)] = deepcopy(model.module)
        return copies[id(model)]

    def _attribute(self, model: LoadedModel, method: Any, x: Tensor, target: int) -> Tensor:
        module = self._own(model)
        if isinstance(module, Transformer):
            # Captum differentiates with respect to embeddings, which the caller looks up.
            x, module = module.embedding(x).detach(), _Rest(module)
        if method.name == "saliency":
            return captum.Saliency(module).attribute(x, target=target)
        declared = model.declaration.inputs[0]
        baseline = model.baselines[declared.name][declared.default_baseline]
        given = baseline if isinstance(baseline, Tensor) else torch.full_like(x, baseline)
        if method.name == "deep_lift":
            return captum.DeepLift(module).attribute(x, given, target)
        if method.name == "gradient_shap":
            shap = captum.GradientShap(module)
            return shap.attribute(x, given, n_samples=GRADIENT_SHAP_SAMPLES, target=target)
        if method.name == "kernel_shap":
            # Captum's default of 25 samples: of as many as the server takes, it answers none in
            # a second.
            kernel_shap = captum.KernelShap(module)
            return kernel_shap.attribute(x, given, target, perturbations_per_eval=BATCH_ROWS)
        return captum.IntegratedGradients(module).attribute(
            x,
            baselines=given,
            target=target,
            n_steps=int(method.params["n_steps"].number_value),
            internal_batch_size=BATCH_ROWS,
        )


def _load(folder: Path) -> LoadedModel:
    stored = stored_models.open_model(folder)
    return load(
        stored,
        stored.versions[stored.default_version],
        torch.device("cpu"),
        ("tests.benchmarks",),
    )


class _Rest(nn.Module):
    """The transformer behind its embedding."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self._model = model

    def forward(self, embeddings: Tensor) -> Tensor:
        return self._model.from_embeddings(embeddings)


def _read(tensor: Any) -> Tensor:
    dtype = DATATYPES[tensor.datatype]
    assert dtype is not None
    values = torch.frombuffer(bytearray(tensor.data), dtype=dtype)
    return values.view(tuple(tensor.shape))


async def serve(models: Path) -> None:
    """Serves until it is killed."""
    server = grpc.aio.server()
    naive = Naive(models)
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Predict": grpc.unary_unary_rpc_method_handler(
            naive.predict, pb.PredictRequest.FromString, pb.PredictResponse.SerializeToString
        ),
        "Explain": grpc.unary_unary_rpc_method_handler(
            naive.explain, pb.ExplainRequest.FromString, pb.ExplainResponse.SerializeToString
        ),
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("adcaptum.v1.ExplanationService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    uvloop.run(serve(Path(sys.argv[1])))

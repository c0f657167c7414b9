"""A server whose models are loaded and unloaded, as tests ask it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import numpy as np

from adcaptum.v1 import (
    explanation_service_pb2 as explanation_pb2,
    explanation_service_pb2_grpc as explanation_grpc,
    model_pb2,
    repository_service_pb2 as pb,
    repository_service_pb2_grpc as pb_grpc,
)
from tests.integration.service.asking import array, reason, tensor
from tests.life_models import SLOW

READY, FAILED = model_pb2.MODEL_STATE_READY, model_pb2.MODEL_STATE_FAILED
LOADING = model_pb2.MODEL_STATE_LOADING
UNLOADING, UNLOADED = model_pb2.MODEL_STATE_UNLOADING, model_pb2.MODEL_STATE_UNLOADED


def ref(name: str = "scale", version: str = "", alias: str = "") -> model_pb2.ModelRef:
    """Names a model."""
    if alias:
        return model_pb2.ModelRef(name=name, alias=alias)
    return (
        model_pb2.ModelRef(name=name, version=version) if version else model_pb2.ModelRef(name=name)
    )


@dataclass
class Life:
    """A connection to a server."""

    explanation: explanation_grpc.ExplanationServiceStub
    repository: pb_grpc.RepositoryServiceStub

    @classmethod
    @contextmanager
    def at(cls, address: str) -> "Iterator[Life]":
        """Connects to a server."""
        with grpc.insecure_channel(address) as channel:
            yield cls(
                explanation_grpc.ExplanationServiceStub(channel),
                pb_grpc.RepositoryServiceStub(channel),
            )

    def load(
        self, name: str = "scale", version: str = "", *, wait: bool = True, key: str = ""
    ) -> model_pb2.ModelVersion:
        request = pb.LoadModelRequest(model=ref(name, version), wait=wait, idempotency_key=key)
        return self.repository.LoadModel(request, timeout=60).version

    def unload(self, name: str = "scale", version: str = "") -> model_pb2.ModelVersion:
        request = pb.UnloadModelRequest(model=ref(name, version))
        return self.repository.UnloadModel(request, timeout=60).version

    def set_alias(
        self, alias: str, version: str, expected: str | None = None, name: str = "scale"
    ) -> model_pb2.Model:
        request = pb.SetAliasRequest(
            model=ref(name, version), alias=alias, expected_version=expected
        )
        return self.repository.SetAlias(request, timeout=60).model

    def model(self, name: str = "scale") -> model_pb2.Model:
        request = explanation_pb2.GetModelRequest(model=ref(name))
        return self.explanation.GetModel(request, timeout=60).model

    def states(self, name: str = "scale") -> dict[str, int]:
        """Returns the state of each version."""
        return {each.identity.version: each.state for each in self.model(name).versions}

    def factor(
        self, name: str = "scale", version: str = "", alias: str = "", *, slowly: bool = False
    ) -> float:
        """Returns the factor of the version that answers; slowly: when it is let go."""
        row = np.array([[1.0, SLOW if slowly else 1.0]], np.float32)
        request = explanation_pb2.PredictRequest(
            model=ref(name, version, alias), inputs=[tensor(row)]
        )
        return float(array(self.explanation.Predict(request, timeout=60).outputs[0])[0, 0])


@contextmanager
def refused(code: grpc.StatusCode, why: str) -> "Iterator[list[str]]":
    """Expects an error with a code and a reason; its text is added to the list."""
    texts, found = list[str](), None
    try:
        yield texts
    except grpc.RpcError as error:
        found = error.code(), reason(error)
        texts.append(str(error.details()))
    assert found == (code, why), texts

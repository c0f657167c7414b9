"""Calls before a guard."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from adcaptum.service.security.credentials import read
from adcaptum.service.security.guard import Guard, Visitor
from adcaptum.service.security.metrics import SecurityMetrics
from adcaptum.v1 import explanation_service_pb2 as pb, model_pb2

OURS = "adcaptum.v1.ExplanationService/"
REPOSITORY = "adcaptum.v1.RepositoryService/"


def guard_of(text: str, tokens: Any = None) -> tuple[Guard, CollectorRegistry]:
    """Returns a guard that knows the callers of a file, and its metrics."""
    registry = CollectorRegistry()
    return Guard(read(text), tokens, SecurityMetrics(registry)), registry


def visit(
    guard: Guard,
    credentials: str = "",
    method: str = OURS + "Predict",
    model: str = "cells",
    *,
    caller: str = "",
    host: str = "ipv4:10.0.0.1",
    certificate: Mapping[str, Sequence[bytes]] | None = None,
) -> Visitor:
    """Makes a call as far as its admission."""
    request = pb.PredictRequest(model=model_pb2.ModelRef(name=model)) if model else b""
    raw = request if isinstance(request, bytes) else request.SerializeToString()
    metadata = [("authorization", credentials)] if credentials else []
    metadata += [("x-caller-id", caller)] if caller else []

    async def scenario() -> Visitor:
        visitor = await guard.identify(method, metadata, host, lambda: certificate or {})
        assert visitor is not None
        visitor.authorise(raw)
        return visitor

    return asyncio.run(scenario())


def counted(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """Returns a metric's value."""
    return registry.get_sample_value(f"adcaptum_security_{name}", labels) or 0.0

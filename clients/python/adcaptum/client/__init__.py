"""The Python client of adcaptum: predictions and explanations of served models."""

import adcaptum.client.drawing  # noqa: F401 - registers the renderer of results
from adcaptum.client.async_client import AsyncClient
from adcaptum.client.baseline import Blur, Samples
from adcaptum.client.client import Client
from adcaptum.client.codec.requests import ExplainOptions
from adcaptum.client.errors import (
    AdcaptumError,
    Cancelled,
    DeadlineExceeded,
    FieldViolation,
    Internal,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from adcaptum.client.method import Method
from adcaptum.client.results.events import Accepted, Event, Final, Partial
from adcaptum.client.results.explanation import (
    Attribution,
    ErrorKind,
    Explanation,
    ExplanationError,
    Feature,
    MethodReport,
    StopReason,
    Token,
)
from adcaptum.client.results.explanations import CacheStatus, Explanations
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
from adcaptum.client.results.prediction import LabelScore, PredictResult
from adcaptum.client.results.timings import Timings
from adcaptum.client.site import Layer, Neuron
from adcaptum.client.target import AllTargets, TopK

__all__ = [
    "Accepted",
    "AdcaptumError",
    "AllTargets",
    "AsyncClient",
    "Attribution",
    "Blur",
    "CacheStatus",
    "Cancelled",
    "Client",
    "DeadlineExceeded",
    "ErrorKind",
    "Event",
    "ExplainOptions",
    "Explanation",
    "ExplanationError",
    "Explanations",
    "Feature",
    "FieldViolation",
    "Final",
    "InputInfo",
    "Internal",
    "InvalidRequest",
    "LabelScore",
    "Layer",
    "LayerInfo",
    "LayoutInfo",
    "Method",
    "MethodInfo",
    "MethodReport",
    "ModelChecks",
    "ModelIdentity",
    "ModelInfo",
    "ModelState",
    "Neuron",
    "NotFound",
    "OutputInfo",
    "ParameterInfo",
    "ParameterType",
    "Partial",
    "PermissionDenied",
    "PredictResult",
    "ResourceExhausted",
    "Samples",
    "StopReason",
    "Timings",
    "Token",
    "TopK",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
]

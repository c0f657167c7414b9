"""The Python client of adcaptum: predictions and explanations of served models."""

import importlib.metadata

import adcaptum.client.drawing  # noqa: F401 - registers the renderer of results
from adcaptum.client.async_client import AsyncClient
from adcaptum.client.baseline import Background, Blur, Distribution
from adcaptum.client.client import Client
from adcaptum.client.deadlines import deadline
from adcaptum.client.errors import (
    AdcaptumError,
    Cancelled,
    Conflict,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from adcaptum.client.mask import FeatureMask, Superpixels
from adcaptum.client.method import Method
from adcaptum.client.neuron import Neuron
from adcaptum.client.results.answer import Answer
from adcaptum.client.results.events import Accepted, Event, Progress, Result
from adcaptum.client.results.explanation import (
    Attribution,
    ErrorEstimate,
    Explanation,
    Interactions,
    MethodReport,
    StopReason,
    Token,
)
from adcaptum.client.results.explanations import CacheStatus, Explanations
from adcaptum.client.results.method_info import MethodInfo, ParameterInfo, ParameterType, SiteUse
from adcaptum.client.results.method_result import Failure, MethodResult
from adcaptum.client.results.model_info import (
    FeatureInfo,
    InputInfo,
    InputKind,
    LayerInfo,
    ModelChecks,
    ModelIdentity,
    ModelInfo,
    ModelLimits,
    ModelState,
    OutputInfo,
    OutputKind,
    Placement,
    Preset,
    VersionInfo,
)
from adcaptum.client.results.prediction import LabelScore, PredictResult
from adcaptum.client.results.server_info import ServerInfo
from adcaptum.client.results.timings import Timings
from adcaptum.client.results.worker_info import WorkerInfo, WorkerState
from adcaptum.client.site import Site
from adcaptum.client.spec import ExplainOptions, Spec
from adcaptum.client.target import AllTargets, Argmax, TopK

__all__ = [
    "Accepted",
    "AdcaptumError",
    "AllTargets",
    "Answer",
    "Argmax",
    "AsyncClient",
    "Attribution",
    "Background",
    "Blur",
    "CacheStatus",
    "Cancelled",
    "Client",
    "Conflict",
    "DeadlineExceeded",
    "Distribution",
    "ErrorEstimate",
    "Event",
    "ExplainOptions",
    "Explanation",
    "Explanations",
    "FailedPrecondition",
    "Failure",
    "FeatureInfo",
    "FeatureMask",
    "FieldViolation",
    "InputInfo",
    "InputKind",
    "Interactions",
    "Internal",
    "InvalidRequest",
    "LabelScore",
    "LayerInfo",
    "Method",
    "MethodInfo",
    "MethodReport",
    "MethodResult",
    "ModelChecks",
    "ModelIdentity",
    "ModelInfo",
    "ModelLimits",
    "ModelState",
    "Neuron",
    "NotFound",
    "OutputInfo",
    "OutputKind",
    "ParameterInfo",
    "ParameterType",
    "PermissionDenied",
    "Placement",
    "PredictResult",
    "Preset",
    "Progress",
    "ResourceExhausted",
    "Result",
    "ServerInfo",
    "Site",
    "SiteUse",
    "Spec",
    "StopReason",
    "Superpixels",
    "Timings",
    "Token",
    "TopK",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "VersionInfo",
    "WorkerInfo",
    "WorkerState",
    "deadline",
]


def __getattr__(name: str) -> str:
    """Return ``__version__``, the version of the installed package, when it is asked for."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.metadata.version("adcaptum")

"""Paths of fields in our own requests -> those of the protocol, in errors."""

import re
from typing import Final

from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from adcaptum.service.nearest import shortened
from adcaptum.service.protocols.oip.values.infer_request import InferRequest
from adcaptum.service.protocols.oip.values.model_names import parsed
from adcaptum.service.rpc.calls import ID_KEY
from adcaptum.service.rpc.local.calls import CallFailed

ELEMENTS: Final = re.compile(r"inputs\[(\d+)\]\.data\b")

RULES: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"model\.name", "model_name"),
        (r"model\.(version|alias)", "model_version"),
        (r"spec\.methods\[0\]\.params\.(\w+)", r"parameters.\1"),
        (r"spec\.targets\[\d+\]\.top_k", "parameters.top_k"),
        (r"spec\.targets\[\d+\](\.\w+)*(\[\d+\])?", "parameters.target"),
        (r"spec\.baselines\[\d+\](\.\w+)*", "parameters.baseline"),
        (r"spec\.site\.(layer|at_input)", r"parameters.\1"),
        (r"spec\.budget\.(tolerance|max_rows)", r"parameters.\1"),
        (r"spec\.output\.(channel_reduction|datatype)", r"parameters.\1"),
        (r"spec\.(seed|deterministic)", r"parameters.\1"),
    )
)
"""Our paths, and what stands for them in the protocol; others stay as they are."""


def translated(path: str, request: InferRequest) -> str:
    """Returns the protocol's path of a field.

    Args:
        path: Its path in our own request.
        request: The request.
    """
    elements = ELEMENTS.match(path)
    if elements is not None and int(elements[1]) < len(request.inputs):
        place = request.inputs[int(elements[1])].place
        return f"{place}{path[elements.end() :]}" if place else path
    if path in ("preset", "spec.methods[0]", "spec.methods[0].name"):
        return "model_name" if parsed(request.model_name).explained_by else "parameters.explain"
    for pattern, replacement in RULES:
        if (found := pattern.match(path)) is not None:
            return found.expand(replacement) + path[found.end() :]
    return path


def told(failed: CallFailed, request: InferRequest) -> CallFailed:
    """Returns an error as the protocol's clients know it: with its fields, and the request's id.

    Args:
        failed: The error of our own call.
        request: The request.
    """
    status = status_pb2.Status.FromString(failed.details)
    message = failed.message
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        if not detail.Unpack(bad):
            continue
        for violation in bad.field_violations:
            path = translated(violation.field, request)
            if violation.field and message.startswith(f"{violation.field}: "):
                message = path + message[len(violation.field) :]
            violation.field = path
        packed = any_pb2.Any()
        packed.Pack(bad)
        detail.CopyFrom(packed)
    own = shortened(request.id)[1:-1] or failed.trailing.get(ID_KEY, "")
    message = f"[request id: {own}] {message}" if own else message
    if status.details:
        status.message = message
    return CallFailed(failed.code, message, status.SerializeToString(), failed.trailing)


def reason(failed: CallFailed) -> str:
    """Returns the reason of an error, for programs; empty if it has none."""
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(failed.details).details:
        if detail.Unpack(info):
            return str(info.reason)
    return ""

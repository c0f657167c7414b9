"""The content of the reply that a question asks for."""

from typing import Final

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.nearest import shortened
from adcaptum.v1 import explain_spec_pb2

DATATYPE: Final = "FP32"
"""The datatype of attributions where the request gives none."""

ALLOWED: Final = ("FP32", "FP64", "FP16")

REDUCTIONS: Final = frozenset(explain_spec_pb2.ChannelReduction.values())


def read(message: explain_spec_pb2.OutputOptions) -> explain_spec_pb2.OutputOptions:
    """Returns the options with their datatype.

    Raises:
        InvalidRequest: One is not allowed.
    """
    if message.channel_reduction not in REDUCTIONS:
        raise InvalidRequest(
            "spec.output.channel_reduction", f"{message.channel_reduction}; must be NONE or SUM"
        )
    if message.datatype and message.datatype not in ALLOWED:
        raise InvalidRequest(
            "spec.output.datatype",
            f"{shortened(message.datatype)}; must be {' or '.join(ALLOWED)}",
        )
    if message.HasField("max_features") and message.max_features < 1:
        raise InvalidRequest(
            "spec.output.max_features", f"{message.max_features}; must be at least 1"
        )
    if message.HasField("max_labels"):
        check_max_labels(message.max_labels, "spec.output.max_labels")
    made = explain_spec_pb2.OutputOptions()
    made.CopyFrom(message)
    made.datatype = message.datatype or DATATYPE
    return made


def check_max_labels(number: int, field: str) -> None:
    """Raises `InvalidRequest` unless a prediction may have that many labels."""
    if number < 1:
        raise InvalidRequest(field, f"{number}; must be at least 1")

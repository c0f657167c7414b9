"""Calls of a server, and exchanges of several calls."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from google.protobuf.message import Message

from adcaptum.client.calling.services import Services

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)
_Result = TypeVar("_Result")


@dataclass(slots=True)
class Call(Generic[_Request, _Response]):
    """A call of the service.

    Attributes:
        rpc: Selects the method of the stub; blocking or awaitable, as the stub is.
        request: The message to send.
        timeout_s: Timeout in seconds; None for the client's default.
        request_id: The id under which the server logs it; None lets the server generate one.
    """

    rpc: Callable[[Services], Any]
    request: _Request
    timeout_s: float | None = None
    request_id: str | None = None


AnyCall: TypeAlias = Call[Any, Any]
Exchange: TypeAlias = Generator[AnyCall, Any, _Result]


def ask(call: Call[_Request, _Response]) -> Exchange[_Response]:
    """Make a call and return its response."""
    response: _Response = yield call
    return response

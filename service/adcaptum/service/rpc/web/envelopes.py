"""Headers of HTTP -> what comes with a call: deadline, ids, trace context, credentials, peer."""

import re
from math import inf
from time import monotonic
from typing import Final

from starlette.requests import Request

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.nearest import shortened
from adcaptum.service.rpc.calls import CALLER_KEY, GOOD_ID, ID_KEY, IDS
from adcaptum.service.rpc.local.calls import Envelope

TIMEOUT: Final = "grpc-timeout"
PASSED: Final = (CALLER_KEY, "traceparent", "tracestate", "authorization")
"""The headers that are metadata of the call as they are, beside the id of the request."""

UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "": 1.0}
"""The seconds of gRPC's units of time; a number without one is in seconds."""

TIME: Final = re.compile(r"([0-9]{1,8}(?:\.[0-9]{1,9})?)([HMSmun]?)")
VISIBLE: Final = re.compile(r"[\x20-\x7e]*")


def envelope(request: Request) -> Envelope:
    """Returns what comes with a request, but for a deadline that cannot be read.

    The request has an id of its own if its headers bring none, so that streams can begin with it.
    """
    headers = request.headers
    given = headers.get(ID_KEY, "")
    metadata = [(ID_KEY, given if GOOD_ID.fullmatch(given) else IDS.next())]
    # gRPC's metadata has no other characters.
    metadata += [
        (key, value)
        for key in PASSED
        if (value := headers.get(key)) is not None and VISIBLE.fullmatch(value)
    ]
    seconds = _seconds(headers.get(TIMEOUT, ""))
    deadline = None if seconds is None or seconds == inf else monotonic() + seconds
    return Envelope(tuple(metadata), deadline, _peer(request))


def check_timeout(request: Request) -> None:
    """Raises `InvalidRequest` if a request has a deadline that cannot be read."""
    text = request.headers.get(TIMEOUT)
    if text is not None and _seconds(text) is None:
        raise InvalidRequest(
            TIMEOUT,
            f"{shortened(text)}; must be a number of at most 8 digits with a unit: 2S, 500m",
        )


def _seconds(text: str) -> float | None:
    found = TIME.fullmatch(text)
    return None if found is None else float(found[1]) * UNITS[found[2]]


def _peer(request: Request) -> str:
    """Returns where a request comes from, as gRPC writes it."""
    if request.client is None:
        return "unix:"
    host, port = request.client
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"

"""Calls as gRPC hands them over -> the facts about them."""

import re
from time import monotonic
from typing import Final, cast

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.handlers.call import Call
from adcaptum.service.nearest import shortened
from adcaptum.service.rpc.messages import Context
from adcaptum.service.rpc.request_ids import RequestIds

ID_KEY: Final = "x-request-id"
CALLER_KEY: Final = "x-caller-id"
COST_KEY: Final = "x-adcaptum-cost"
"""Trailing metadata of worker processes: the seconds of the device that an answer took."""

ROWS_KEY: Final = "x-adcaptum-most-rows"
"""Metadata of fronts: the most rows that the caller may have under way."""

MOST_ID: Final = 128
KEYS: Final = (ID_KEY, CALLER_KEY, ROWS_KEY)
GOOD_ID: Final = re.compile(rf"[\x21-\x7e]{{1,{MOST_ID}}}")

IDS: Final = RequestIds()
"""The ids of requests that bring none."""


def call_of(
    context: Context, arrival: float, nbytes: int = 0, known_caller: str | None = None
) -> Call:
    """Returns the facts about the call that is being served.

    Args:
        context: The call.
        arrival: When it arrived, on the monotonic clock.
        nbytes: The size of its request.
        known_caller: The caller by its credentials; None: as the call itself says.
    """
    # None without a deadline, whatever the stubs say.
    remaining = cast("float | None", context.time_remaining())
    request_id = caller = ""
    most_rows: int | None = None
    for key, value in context.invocation_metadata() or ():
        if key in KEYS and isinstance(value, str) and GOOD_ID.fullmatch(value):
            if key == ID_KEY:
                request_id = value
            elif key == CALLER_KEY:
                caller = value
            elif value.isdecimal():
                most_rows = int(value)
    return Call(
        request_id or IDS.next(),
        arrival,
        None if remaining is None else monotonic() + remaining,
        (caller or host_of(context.peer())) if known_caller is None else known_caller,
        nbytes,
        most_rows,
    )


def check_metadata(context: Context) -> None:
    """Refuses metadata that is no text.

    Raises:
        InvalidRequest: A value is not UTF-8.
    """
    for key, value in context.invocation_metadata() or ():
        # gRPC leaves text that is not UTF-8 as bytes.
        if not isinstance(value, str) and not key.endswith("-bin"):
            raise InvalidRequest("metadata", f"{shortened(key)} is not UTF-8")


def host_of(peer: str) -> str:
    """Returns the address of a peer without the port: many connections are still one caller."""
    return peer.rpartition(":")[0] if peer.startswith("ip") else peer

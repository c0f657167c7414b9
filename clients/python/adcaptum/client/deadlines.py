"""A deadline of all calls inside a block."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from time import monotonic
from typing import Final

from adcaptum.client.errors import DeadlineExceeded

_END: Final = ContextVar[float | None]("adcaptum_client_deadline", default=None)


@contextlib.contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Let all calls inside the block end within some seconds from now.

    Calls keep their own, shorter timeouts; deadlines inside a deadline only shorten it. It holds
    for the tasks that are started inside the block, too. In a gRPC handler,
    ``with deadline(context.time_remaining()):`` hands on the deadline of the handler's caller.

    Args:
        seconds: The seconds; None for no further limit.
    """
    outer = _END.get()
    own = None if seconds is None else monotonic() + seconds
    token = _END.set(own if outer is None else outer if own is None else min(outer, own))
    try:
        yield
    finally:
        _END.reset(token)


def shortened(timeout: float | None) -> float | None:
    """Return the timeout of a call, which may not be longer than the deadline is away.

    Raises:
        DeadlineExceeded: The deadline has passed.
    """
    end = _END.get()
    if end is None:
        return timeout
    left = end - monotonic()
    if left <= 0:
        raise DeadlineExceeded("the deadline of the calls passed before this one")
    return left if timeout is None else min(left, timeout)

"""Requests of HTTP that have JSON: the check of their type, and the reading of their bodies."""

import json
from typing import Any, Final

from starlette.requests import Request

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.rpc.web.problems import Problem

FORM: Final = "application/x-www-form-urlencoded"
"""The type that `curl -d` sends if it is told no other. A page of another site can send it without
being asked first, so it is not taken from browsers, which name the site."""

JSON: Final = "application/json"
SLOW: Final = 1 << 18
"""The smallest body that is read by functions of Python: between two of its numbers other threads
run, which would otherwise wait for all of it."""


def refused_type(request: Request, *also: str) -> Problem | None:
    """Returns the problem of a body that is no JSON; None if it may be.

    Args:
        request: The request.
        also: Further types that are taken.
    """
    media = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if media in (JSON, *also) or (media.startswith("application/") and media.endswith("+json")):
        return None
    if media == FORM and "origin" not in request.headers:
        return None
    return Problem(415, f"The body is {media[:80]!r}; it must be {JSON}.")


def parsed(body: bytes) -> Any:
    """Reads JSON.

    Raises:
        InvalidRequest: It is none, or an object has a name twice.
    """
    slowly = len(body) >= SLOW
    try:
        return json.loads(
            body,
            object_pairs_hook=_object,
            parse_constant=_refuse,
            parse_float=_float if slowly else None,
            parse_int=_int if slowly else None,
        )
    except InvalidRequest:
        raise
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _unreadable(f"is no JSON: {error.msg}, {place}") from error
    except RecursionError as error:
        raise _unreadable("has too many lists or objects inside one another") from error
    except ValueError as error:
        # Of text that is not UTF-8, or a number of thousands of digits.
        raise _unreadable("is no JSON in UTF-8, or has a number of thousands of digits") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _unreadable(f"an object has {twice[:80]!a} twice")
    return found


def _refuse(word: str) -> Any:
    raise _unreadable(f"is no JSON: {word}")


def _float(text: str) -> float:
    return float(text)


def _int(text: str) -> int:
    return int(text)


def _unreadable(text: str) -> InvalidRequest:
    return InvalidRequest("request", text, reason=Reason.REQUEST_UNREADABLE)

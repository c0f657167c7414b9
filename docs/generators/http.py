"""The page of the HTTP interface: its routes, from the code, and its rules."""

from __future__ import annotations

from collections.abc import Iterator

from adcaptum.service.errors import Reason
from adcaptum.service.protocols.api.rpc_route import PREFIX, ROUTES
from adcaptum.service.protocols.routes import of_kserve, of_oip
from adcaptum.service.rpc.error_answers import CODES
from adcaptum.service.rpc.web.problems import STATUSES, TOO_LARGE
from docs.generators.markdown import table


def http_page() -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# HTTP"
    yield ""
    yield (
        "The routes of the HTTP port; [HTTP and JSON](../how-to/http.md) has the rules. A document "
        "for programs is served as `/openapi.json` ([OpenAPI 3.1](openapi.json))."
    )
    yield ""
    yield f"## Routes under {PREFIX}"
    yield ""
    yield from table(
        ("route", "call"),
        ((f"`{each.verb} {each.path}`", f"`{each.rpc}`") for each in ROUTES),
    )
    yield ""
    yield "## Routes of other protocols"
    yield ""
    yield from table(
        ("route", "protocol"),
        (
            (f"`{verb} {path}`", protocol)
            for protocol, found in (("KServe v1", of_kserve()), ("OIP", of_oip()))
            for verb, path in found
        ),
    )
    yield ""
    yield "## Statuses"
    yield ""
    yield from table(
        ("HTTP", "gRPC", "reasons"),
        (
            (
                str(status),
                f"`{code.name}`",
                ", ".join(f"`{each}`" for each in Reason if CODES[each] is code),
            )
            for code, status in STATUSES.items()
        ),
    )
    yield ""
    yield (
        f"`{Reason.REQUEST_TOO_LARGE}` is {TOO_LARGE}, others are 500. What is no route is 404 "
        "or 405, a wrong type 406 or 415."
    )

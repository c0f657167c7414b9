"""The routes of the protocols on the HTTP port."""

from typing import Any, cast

from starlette.routing import Route

from adcaptum.service.protocols.api import endpoints
from adcaptum.service.protocols.exchange import Exchanges
from adcaptum.service.protocols.kserve.endpoints import KServeEndpoints
from adcaptum.service.protocols.oip.rest.endpoints import OipEndpoints


def all_routes(exchanges: Exchanges) -> list[Route]:
    """Returns the routes of all protocols."""
    return [
        *endpoints.routes(exchanges),
        *KServeEndpoints(exchanges).routes(),
        *OipEndpoints(exchanges).routes(),
    ]


def of_kserve() -> list[tuple[str, str]]:
    """Returns the verbs and paths of KServe's protocol."""
    return _listed(KServeEndpoints(cast("Any", None)).routes())


def of_oip() -> list[tuple[str, str]]:
    """Returns the verbs and paths of the Open Inference Protocol."""
    return _listed(OipEndpoints(cast("Any", None)).routes())


def _listed(routes: list[Route]) -> list[tuple[str, str]]:
    return [
        (verb, each.path.replace(":segment", ""))
        for each in routes
        for verb in sorted(each.methods or ())
        if verb != "HEAD"
    ]

"""The protocols that the HTTP port speaks, put together."""

from collections.abc import Callable

from starlette.applications import Starlette

from adcaptum.service.protocols.exchange import Exchanges
from adcaptum.service.protocols.routes import all_routes
from adcaptum.service.rpc.entrance.guarding import Guard
from adcaptum.service.rpc.local.calls import LocalCalls
from adcaptum.service.rpc.web import http
from adcaptum.service.rpc.web.bodies import Bodies
from adcaptum.service.settings import Settings


def application(
    settings: Settings,
    calls: LocalCalls,
    exposition: http.Exposing,
    unready: Callable[[], str],
    guard: Guard | None = None,
) -> Starlette:
    """Returns the application of the process that holds the HTTP port.

    Args:
        settings: The settings of the server.
        calls: Its methods.
        exposition: Its metrics.
        unready: Returns the reason why it is not ready; empty if it is.
        guard: Says who may see the metrics; None: everybody. Calls have their own.
    """
    # JSON takes more bytes than the message that is made of it, whose size is bounded, too.
    bodies = Bodies(2 * settings.max_message_bytes, settings.max_queue_bytes)
    exchanges = Exchanges(calls, bodies)
    return http.application(exposition, unready, all_routes(exchanges), settings.origins, guard)

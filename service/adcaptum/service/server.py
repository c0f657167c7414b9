"""The composition root: builds everything, starts it, drains it."""

import asyncio
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import Final

import grpc
import uvloop
from prometheus_client import disable_created_metrics
from starlette.applications import Starlette

from adcaptum.engine.execution.devices.device_errors import is_lasting
from adcaptum.engine.scheduling.limits import Limits
from adcaptum.service import logs
from adcaptum.service.device import allocator
from adcaptum.service.device.choice import usable
from adcaptum.service.handlers.explainer import Explainer
from adcaptum.service.handlers.joint.joint_explainer import JointExplainer
from adcaptum.service.handlers.joint.joint_predictor import JointPredictor
from adcaptum.service.handlers.predictor import Predictor
from adcaptum.service.handlers.request_metrics import RequestMetrics
from adcaptum.service.handlers.request_reader import RequestReader
from adcaptum.service.handlers.response_cache import ResponseCache
from adcaptum.service.handlers.shared_computations import SharedComputations
from adcaptum.service.hosting import garbage
from adcaptum.service.hosting.host import Host
from adcaptum.service.hosting.model_loader import ModelLoader
from adcaptum.service.lifecycle.watcher import watched
from adcaptum.service.loop_watch import LoopWatch
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.catalogue.catalogue import Catalogue
from adcaptum.service.models.catalogue.entry import State
from adcaptum.service.models.cores import Threads
from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.models.repository import stored_models
from adcaptum.service.placement import alone
from adcaptum.service.processes.exits import CANNOT_START, DEVICE_LOST, CannotStart
from adcaptum.service.processes.guest import Guest
from adcaptum.service.processes.journal import Journal
from adcaptum.service.processes.place import Place
from adcaptum.service.processes.seat import Seat
from adcaptum.service.protocols import http_side
from adcaptum.service.protocols.oip.servicer import OipServicer
from adcaptum.service.rpc import health, listening, status
from adcaptum.service.rpc.frames.server import FrameServer
from adcaptum.service.rpc.interceptors import Interceptor
from adcaptum.service.rpc.local import services
from adcaptum.service.rpc.local.calls import LocalCalls
from adcaptum.service.rpc.ports.joined_server import JoinedServer
from adcaptum.service.rpc.repository.lifecycle_calls import LifecycleCalls
from adcaptum.service.rpc.repository.repository_servicer import RepositoryServicer
from adcaptum.service.rpc.servicers import ExplanationServicer
from adcaptum.service.rpc.web import http
from adcaptum.service.rpc.web.exposition import Exposition
from adcaptum.service.runtime.caller_rows import CallerRows
from adcaptum.service.runtime.dispatcher import RETRY_SECONDS, Dispatcher
from adcaptum.service.security.access import Access
from adcaptum.service.settings import Settings
from adcaptum.service.termination import Departure, Ending, Termination, shut_down, thread_places

FORCE_SECONDS: Final = 4.5
"""The time after `drain_seconds` at which the process is ended by force."""

THREAD_SECONDS: Final = 1.0
"""The time for device threads and planning threads to end when a server stops."""

SWITCH_SECONDS: Final = 0.0005
"""The longest time for which a thread keeps Python's lock from others. With the default, 5 ms, the
operations of PyTorch in device threads wait that long while the event loop is busy."""


def run(settings: Settings, seat: Seat | None = None) -> None:
    """Runs a server until SIGTERM or SIGINT; in-flight requests finish.

    Args:
        settings: Its settings.
        seat: Its place under a supervisor, if it is a worker process.

    Raises:
        SystemExit: It failed; the log says why.
    """
    logs.configure(settings.log_level, worker="" if seat is None else seat.worker)
    allocator.keep_freed_memory()
    sys.setswitchinterval(SWITCH_SECONDS)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        main = Server(settings, seat).serve()
        failed = uvloop.run(main) if settings.uvloop else asyncio.run(main)
    except (CannotStart, DeclarationError) as error:
        logs.logger().error("cannot start", error=str(error))
        raise SystemExit(1 if seat is None else CANNOT_START) from error
    if failed:
        raise SystemExit(1)


class Server:
    """One server process."""

    def __init__(
        self, settings: Settings, seat: Seat | None = None, guest: Guest | None = None
    ) -> None:
        """Opens the repository; `serve` starts everything.

        Args:
            settings: Its settings.
            seat: Its place under a supervisor, on whose sockets it listens; None: on its ports.
            guest: Set if the process is another program's, whose signals, threads and garbage the
                server leaves alone.

        Raises:
            DeclarationError: The repository is not a folder.
            CannotStart: The settings of security cannot be used.
        """
        self._settings = settings
        self._seat = seat
        self._guest = guest
        # Under a supervisor these are the supervisor's events.
        self._event = "{}" if seat is None else "worker {}"
        self._metrics = Metrics()
        # A worker's calls come from its front, which has asked who makes them.
        self._access = Access(settings, self._metrics.registry if seat is None else None)
        names = stored_models.names(settings.repository)
        if not names:
            hint = "each model is a folder with a model.toml, in the repository"
            logs.logger().warning("no models", repository=str(settings.repository), hint=hint)
        if seat is None:
            self._unplaced = alone.unplaced(settings)
        else:
            # Those of the plan, even if the repository has others by now.
            names = (*seat.models, *seat.elsewhere, *seat.unplaced)
            self._unplaced = seat.unplaced
        self._catalogue = Catalogue(names)
        self._health = health.Health()
        self._engines: Dispatcher | None = None
        self._caller_rows = CallerRows()
        self._interceptor = Interceptor(
            self._metrics,
            self._catalogue,
            settings.max_requests,
            self._retry_seconds,
            status.TABLE,
            reports_costs=seat is not None,
            max_bytes=settings.max_queue_bytes,
            guard=self._access.guard,
            note_rows=self._caller_rows.note,
            audit=None if seat is not None else self._access.audit,
        )
        self._ended = asyncio.Event()
        self._termination: Ending = (
            Termination(settings.drain_seconds + FORCE_SECONDS, self._end_from_thread)
            if guest is None
            else Departure(self._end_from_thread)
        )
        self._failed = False
        self._ready = False

    async def serve(self) -> bool:
        """Serves until a signal comes; returns whether it failed."""
        settings, loop = self._settings, asyncio.get_running_loop()
        executor = ThreadPoolExecutor(thread_name_prefix="aside")
        loop.set_default_executor(executor)
        device = usable(settings.device)
        journal = None if self._seat is None else Journal(self._seat.journal)
        engines = self._engines = Dispatcher(
            loop,
            device,
            self._metrics,
            target_batch_seconds=settings.target_batch_seconds,
            crashed=self._crashed,
            stuck_seconds=settings.stuck_seconds,
            limits=Limits(None, settings.max_queue_rows, settings.max_queue_bytes),
            caller_limits=Limits(
                settings.max_caller_requests, settings.max_caller_rows, settings.max_caller_bytes
            ),
            journal=journal,
            caller_rows=self._caller_rows,
        )
        most = (settings.max_image_pixels, settings.max_queue_bytes, engines.retry_seconds)
        reader = RequestReader(*most, settings.max_text_bytes)
        grpc_server = JoinedServer(
            listening.servers() if self._seat is None else 1,
            [self._interceptor],
            listening.options(settings),
            listening.most_calls(settings),
        )
        servicer, explainer = self._servicer(engines, reader)
        host = Host.of(
            settings,
            self._catalogue,
            self._metrics,
            self._health,
            engines,
            unplaced=self._unplaced,
            seat=self._seat,
            journal=journal,
            forget=explainer.joint.forget,
            is_guest=self._guest is not None,
        )
        calls = LocalCalls([self._interceptor], settings.max_message_bytes)
        repository = self._repository_servicer(host, servicer)
        services.add(
            grpc_server, calls, servicer, repository, self._health, reflects=settings.reflection
        )
        self._add_protocols(calls, grpc_server)
        exposition, guard = Exposition(self._metrics.registry), self._access.metrics_guard
        app = http_side.application(settings, calls, exposition, self.unready, guard)
        try:
            http_server, addresses = self._listen(app, grpc_server)
        except (OSError, RuntimeError) as error:
            await grpc_server.stop(grace=None)
            raise listening.cannot_listen(error, settings) from error
        self._loop = loop
        self._termination.install()
        watch = LoopWatch(self._metrics.loop_lag)
        watch.start()
        await self._health.set_server(serving=False)
        await grpc_server.start()
        http_server.start()
        self._access.start()
        frames = await self._take_frames(servicer)
        self._log("listening", **addresses)
        loading = loop.create_task(self._have_models(host, addresses))
        await self._ended.wait()
        await self._drain()
        host.lifecycle.stop()
        loading.cancel()
        with suppress(asyncio.CancelledError):
            await loading
        whole = await engines.stop(THREAD_SECONDS)
        await grpc_server.stop(grace=0.5)
        frames.stop()
        await http_server.stop()
        reader.close()
        watch.stop()
        whole &= await shut_down(executor)
        self._log("stopped", failed=self._failed)
        if not whole:
            self._leave_threads()
        return self._failed

    def _servicer(
        self, engines: Dispatcher, reader: RequestReader
    ) -> tuple[ExplanationServicer, Explainer]:
        """Builds what answers predictions and explanations."""
        settings, metrics = self._settings, RequestMetrics(self._metrics)
        cache = ResponseCache(settings.cache_bytes, settings.cache_entries, self._metrics)
        predictor = Predictor(
            self._catalogue, engines, metrics, reader, JointPredictor(engines, metrics)
        )
        explainer = Explainer(
            self._catalogue,
            engines,
            metrics,
            cache,
            SharedComputations(),
            reader,
            JointExplainer(engines, metrics, cache),
        )
        servicer = ExplanationServicer(self._catalogue, predictor, explainer, self._place)
        return servicer, explainer

    def _add_protocols(self, calls: LocalCalls, grpc_server: grpc.aio.Server) -> None:
        """Adds services of other protocols, which a worker's front has."""
        if self._seat is None:
            oip = OipServicer(calls, self._metrics.registry, self.unready)
            for each in (grpc_server, calls):
                each.add_generic_rpc_handlers((oip.handlers(),))

    def _repository_servicer(self, host: Host, servicer: ExplanationServicer) -> RepositoryServicer:
        """Builds what describes and changes models and workers."""
        # A worker's callers are fronts, which ask theirs.
        settings = self._settings
        allowed = settings.admin_calls or settings.has_credentials or self._seat is not None
        calls = LifecycleCalls(host.lifecycle, servicer.describe, allowed=allowed)
        return RepositoryServicer(self._catalogue, self._place, calls)

    def _listen(
        self, app: Starlette, grpc_server: JoinedServer
    ) -> tuple[http.HttpServer, dict[str, str]]:
        """Opens the ports, or the sockets of a worker process; returns their addresses, too."""
        if self._seat is not None:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self._seat.http_socket))
            grpc_server.add_insecure_port(f"unix:{self._seat.socket}")
            named = {"grpc": f"unix:{self._seat.socket}", "http": f"unix:{self._seat.http_socket}"}
            return http.HttpServer(app, listener), named
        listening.check_free(self._settings)
        host = listening.host(self._settings)
        certificates = self._access.certificates
        http_server = http.HttpServer(app, listening.http_listener(self._settings), certificates)
        port = listening.open_port(grpc_server, self._settings, certificates)
        return http_server, {"grpc": f"{host}:{port}", "http": f"{host}:{http_server.port}"}

    async def _take_frames(self, servicer: ExplanationServicer) -> FrameServer:
        """Serves frames where this process is a worker."""
        handlers = servicer.framed()
        surrounded = {name: self._interceptor.wrap(each, name) for name, each in handlers.items()}
        frames = FrameServer(surrounded, self._settings.max_message_bytes)
        if self._seat is not None:
            await frames.listen(self._seat.frames_socket)
        return frames

    def _log(self, event: str, **facts: object) -> None:
        logs.logger().info(self._event.format(event), **facts)

    @property
    def _place(self) -> Place:
        """The worker that this process is."""
        return Place("0" if self._seat is None else self._seat.worker, self._settings.device)

    def stop(self) -> None:
        """Stops the server as a signal does; callable from any thread, once it listens."""
        self._termination.begin()

    def _leave_threads(self) -> None:
        """Ends the process without waiting for threads that do not end."""
        logs.logger().warning("threads were left", threads=thread_places())
        if self._guest is not None:
            return
        sys.stderr.flush()
        os._exit(int(self._failed))

    def _end_from_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)

    def _retry_seconds(self) -> float:
        return RETRY_SECONDS[0] if self._engines is None else self._engines.retry_seconds()

    def unready(self) -> str:
        """Returns the reason why the server is not ready; empty if it is."""
        if self._interceptor.draining:
            return "draining"
        if self._ready:
            return ""
        loading = [entry.name for entry in self._catalogue if entry.best_state is State.LOADING]
        return f"loading {', '.join(loading)}" if loading else "starting"

    async def _have_models(self, host: Host, addresses: dict[str, str]) -> None:
        """Loads the models, and follows the repository where it is to be watched."""
        await asyncio.gather(
            self._load(host.loader, addresses), watched(self._settings, host.lifecycle)
        )

    async def _load(self, loader: ModelLoader, addresses: dict[str, str]) -> None:
        begin = monotonic()

        async def ready(threads: Threads) -> None:
            self._freeze()
            self._ready = True
            await self._health.set_server(serving=True)
            self._log(
                "ready",
                **addresses,
                models={entry.name: entry.best_state.value for entry in self._catalogue},
                device=self._settings.device,
                device_threads=threads.device,
                intra_op_threads=threads.intra_op,
                seconds=round(monotonic() - begin, 3),
                pid=os.getpid(),
            )
            if self._guest is not None:
                self._guest.ready(
                    addresses, {each.name: each.best_reason for each in self._catalogue}
                )

        try:
            await loader.load_all(ready)
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends the server
            logs.logger().exception("loading failed")
            self._crashed(error)
            return
        self._freeze()

    def _freeze(self) -> None:
        """Takes everything loaded so far out of garbage collection, unless it is a guest's."""
        if self._guest is None:
            garbage.freeze()

    async def _drain(self) -> None:
        """Refuses new requests and waits for those in flight."""
        await self._health.drain()
        self._log("draining", in_flight=self._interceptor.in_flight)
        # After a failure of the engine nothing would answer them.
        await self._interceptor.drain(0.0 if self._failed else self._settings.drain_seconds)
        self._access.stop()

    def _crashed(self, error: BaseException) -> None:
        if self._seat is not None and is_lasting(error):
            # Its front sends the requests elsewhere, and reads in the journal whose rows ran.
            logs.logger().error("the device is lost", device=self._settings.device)
            sys.stderr.flush()
            os._exit(DEVICE_LOST)
        self._failed = True
        self._termination.begin()

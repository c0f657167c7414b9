"""The metrics of all workers and fronts in one text; counters outlive processes.

Each worker's series have the label `worker`; where there are several fronts, each front's own have
the label `front`. Each text is read every `READ_SECONDS` and when somebody asks. Its counters are
added to those that the ended processes of its place had when they were last read, so that a counter
never falls while a process is replaced; what a process counted after its last reading is lost.
"""

import asyncio
import http.client
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from adcaptum.service.front.metrics import FRONT, WORKER_REQUESTS
from adcaptum.service.protocols.oip.oip_metrics import OIP
from adcaptum.service.security.metrics import SECURITY

READ_SECONDS: Final = 2.0
"""The time between two readings of a worker's metrics."""

ANSWER_SECONDS: Final = 5.0
"""The longest wait for a worker's metrics."""

EVERYONES: Final = (FRONT, WORKER_REQUESTS, OIP, SECURITY)
"""The beginnings of the names of metrics that every front has."""

COUNTED: Final = frozenset({"counter", "histogram", "summary"})
"""The types of metrics whose samples add up over processes."""


class Family:
    """A metric of a worker: its head lines, its type, and its samples by name and labels."""

    __slots__ = ("head", "kind", "samples")

    def __init__(self) -> None:
        self.head: list[str] = []
        self.kind = ""
        self.samples: dict[str, float] = {}


class Seated(Protocol):
    """The place of a process.

    Attributes:
        http_socket: The Unix socket on which the process speaks HTTP.
    """

    @property
    def http_socket(self) -> Path: ...


class Exposed(Protocol):
    """A process with metrics.

    Attributes:
        listening: Whether it answers.
        died: Set when it has ended.
        seat: Its place.
    """

    @property
    def listening(self) -> bool: ...

    @property
    def died(self) -> "asyncio.Future[Any]": ...

    @property
    def seat(self) -> Seated: ...


class Source(Protocol):
    """The place of one process after another.

    Attributes:
        id: Its id.
        process: Its process, if it has one.
    """

    @property
    def id(self) -> str: ...

    @property
    def process(self) -> Exposed | None: ...


class SourceMetrics:
    """The metrics of one place over all its processes."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._process: Exposed | None = None
        self._families: dict[str, Family] = {}
        # What ended processes had counted, by sample.
        self._before: dict[str, float] = {}
        self._lock = asyncio.Lock()

    async def read(self) -> None:
        """Reads the metrics of the present process; no text is older than its reading."""
        async with self._lock:
            process = self.source.process
            if process is None or not process.listening:
                return
            try:
                text = await asyncio.to_thread(_fetch, process.seat.http_socket)
            except (OSError, http.client.HTTPException):
                return
            if process is not self._process:
                self._settle()
                self._process = process
            self._families = parsed(text)

    def families(self) -> dict[str, Family]:
        """Returns the metrics, with what ended processes had counted."""
        living = self._process is not None and not self._process.died.done()
        shown = {}
        for name, family in self._families.items():
            added = Family()
            added.head, added.kind = family.head, family.kind
            if family.kind in COUNTED:
                added.samples = dict(family.samples)
                for sample in family.samples:
                    added.samples[sample] += self._before.get(sample, 0.0)
                for sample in self._before.keys() - family.samples.keys():
                    if family_of(sample) == name:
                        added.samples[sample] = self._before[sample]
            elif living:
                added.samples = family.samples
            shown[name] = added
        return shown

    def _settle(self) -> None:
        """Keeps what the last process had counted."""
        for family in self._families.values():
            if family.kind in COUNTED:
                for sample, value in family.samples.items():
                    self._before[sample] = self._before.get(sample, 0.0) + value


class GatheredMetrics:
    """The metrics of a front and of its workers, for `/metrics`."""

    def __init__(
        self,
        registry: CollectorRegistry,
        workers: Sequence[Source],
        fronts: Sequence[Source] = (),
    ) -> None:
        """Prepares it.

        Args:
            registry: The metrics of this process, a front.
            workers: The places of the workers.
            fronts: Those of the other fronts.
        """
        self._registry = registry
        self._workers = [SourceMetrics(each) for each in workers]
        self._fronts = [SourceMetrics(each) for each in fronts]

    async def answer(self, _: str) -> tuple[bytes, str]:
        """Returns the metrics in Prometheus' text format."""
        await self._read_all()
        return await asyncio.to_thread(self._text), CONTENT_TYPE_LATEST

    async def keep_reading(self) -> None:
        """Reads the workers' metrics again and again, so that little is lost with a process."""
        while True:
            await asyncio.sleep(READ_SECONDS)
            with suppress(Exception):
                await self._read_all()

    async def _read_all(self) -> None:
        await asyncio.gather(*(each.read() for each in (*self._workers, *self._fronts)))

    def _text(self) -> bytes:
        own = generate_latest(self._registry)
        by_worker = [_tagged("worker", each) for each in self._workers]
        if not self._fronts:
            return own + _written(by_worker)
        # What all fronts have, and what only this one has, because it has the workers.
        families = parsed(own.decode())
        everyones = {name for name in families if name.startswith(EVERYONES)}
        shared = {name: family for name, family in families.items() if name in everyones}
        alone = {name: family for name, family in families.items() if name not in everyones}
        others = [
            (tag, {name: family for name, family in found.items() if name in everyones})
            for tag, found in (_tagged("front", each) for each in self._fronts)
        ]
        by_front = [('front="0"', shared), *others]
        return _written([("", alone)]) + _written(by_front) + _written(by_worker)


def _tagged(kind: str, metrics: SourceMetrics) -> tuple[str, dict[str, Family]]:
    return f'{kind}="{metrics.source.id}"', metrics.families()


def _written(by_label: Sequence[tuple[str, dict[str, Family]]]) -> bytes:
    """Returns the text of metrics, each family once, with the samples of all that have it.

    Args:
        by_label: The metrics by the label that their samples get; empty: none.
    """
    names = dict.fromkeys(name for _, families in by_label for name in families)
    lines: list[str] = []
    for name in names:
        holders = [(label, families[name]) for label, families in by_label if name in families]
        lines += holders[0][1].head
        for label, family in holders:
            lines += _labelled(family.samples, label)
    return "".join(f"{line}\n" for line in lines).encode()


def parsed(text: str) -> dict[str, Family]:
    """Returns the metrics of a text by name."""
    found: dict[str, Family] = {}
    current = Family()
    for line in text.splitlines():
        if line.startswith("# "):
            _, what, name, rest = [*line.split(" ", 3), ""][:4]
            current = found.setdefault(name, Family())
            current.head.append(line)
            if what == "TYPE":
                current.kind = rest
        elif line:
            sample, _, value = line.rpartition(" ")
            current.samples[sample] = float(value)
    return found


def family_of(sample: str) -> str:
    """Returns the name of the metric that a sample of a counter or histogram belongs to."""
    name = sample.partition("{")[0]
    for suffix in ("_bucket", "_count", "_sum"):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def _labelled(samples: dict[str, float], label: str) -> Iterable[str]:
    for sample, value in samples.items():
        name, brace, rest = sample.partition("{")
        labels = f"{{{label},{rest}" if brace else f"{{{label}}}"
        labels = labels if label else f"{brace}{rest}"
        yield f"{name}{labels} {value!r}"


def _fetch(path: Path) -> str:
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connects."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

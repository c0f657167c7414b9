"""Random messages to all methods and routes: no crash, no INTERNAL, no growth, no harm."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import httpx
import psutil
import pytest
from google.protobuf import message_factory

from adcaptum.service.protocols.api.rpc_route import PREFIX, ROUTES
from adcaptum.service.protocols.oip.wire.messages import POOL
from adcaptum.service.protocols.routes import of_kserve, of_oip
from adcaptum.v1 import explanation_service_pb2 as pb, repository_service_pb2
from tests.integration.conftest import Server
from tests.integration.fuzzing import Fuzzer
from tests.integration.service.asking import BYPASS, cells, explain, method, predict

MESSAGES = int(os.environ.get("ADCAPTUM_FUZZ_MESSAGES", "2000"))
AT_A_TIME = 12
MOST_GROWTH = 150 << 20
SERVICES = [
    *pb.DESCRIPTOR.services_by_name.values(),
    *repository_service_pb2.DESCRIPTOR.services_by_name.values(),
    POOL.FindServiceByName("inference.GRPCInferenceService"),
]
METHODS: list[Any] = [method for service in SERVICES for method in service.methods]
# A fault of the server, or of what stands before it, whatever was sent.
FAULTS = {"INTERNAL", "UNKNOWN", "DATA_LOSS"}
HEADERS: tuple[dict[str, str], ...] = (
    {}, {}, {}, {"content-type": "application/json"}, {"content-type": "text/plain"},
    {"content-type": "application/x-www-form-urlencoded"}, {"grpc-timeout": "1S"},
    {"grpc-timeout": "junk"}, {"x-request-id": "a b"}, {"accept": "application/x-ndjson"},
    {"accept": "text/html"}, {"inference-header-content-length": "7"}, {"origin": "http://x"},
    {"authorization": "Bearer no"}, {"traceparent": "00-zz"},
)  # fmt: skip
QUERIES = ("", "", "", "?tensors=values", "?tensors=7", "?page_size=-1", "?view=1", "?model=no")
PATHS = [
    *((each.verb, PREFIX + each.path) for each in ROUTES),
    *of_kserve(), *of_oip(), ("GET", "/openapi.json"), ("GET", "/metrics"), ("GET", "/healthz"),
]  # fmt: skip
RAW = (
    b"\r\n\r\n", b"GET", b"POST /api/v1/models/cells:predict HTTP/1.1\r\nHost: a\r\n\r\n{",
    b"POST /v2/models/cells/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/models/cells:predict HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(40),
)  # fmt: skip


class Session:
    """Clients of one server, and what it has answered."""

    def __init__(self, server: Server, channel: grpc.aio.Channel, http: httpx.AsyncClient) -> None:
        self.server = server
        self.channel = channel
        self.http = http
        self.fuzzer = Fuzzer(20)
        self.answers: Counter[str] = Counter()
        self.faults: list[str] = []

    async def over_grpc(self) -> None:
        """Sends a message to a method."""
        fuzzer = self.fuzzer
        asked = fuzzer.random.choice(METHODS)
        message = message_factory.GetMessageClass(asked.input_type)()
        fuzzer.fill(message)
        raw = fuzzer.spoilt(message.SerializeToString())
        path = f"/{asked.containing_service.full_name}/{asked.name}"
        try:
            if asked.server_streaming:
                make: Any = (
                    self.channel.stream_stream
                    if asked.client_streaming
                    else self.channel.unary_stream
                )
                given: Any = iter([raw]) if asked.client_streaming else raw
                async for _ in make(path)(given, timeout=3):
                    pass
            else:
                call: Any = self.channel.unary_unary(path)
                await call(raw, timeout=3)
        except grpc.aio.AioRpcError as error:
            self.note("grpc", error.code().name, f"{path} {raw!r}: {error.details()}")
        else:
            self.note("grpc", "OK", path)

    async def over_http(self) -> None:
        """Sends a body to a route."""
        fuzzer, choose = self.fuzzer, self.fuzzer.random.choice
        verb, path = choose(PATHS)
        asked = choose((pb.PredictRequest, pb.ExplainRequest, *MESSAGES_OF_OIP))
        body = fuzzer.body(asked()) if verb == "POST" else b""
        if path.startswith("/v1/") and fuzzer.random.random() < 0.7:
            body = b'{"instances": ' + (body or b"[]") + b"}"
        for name, known in (
            ("model", ("cells", "cells", "digits", "no", "a b")),
            ("version", ("1", "9")),
            ("alias", ("stable", "no")),
        ):
            path = path.replace(f"{{{name}}}", choose(known))
        headers = {"content-type": "application/json", "grpc-timeout": "3S", **choose(HEADERS)}
        if fuzzer.random.random() < 0.05:
            verb = choose(("PUT", "DELETE", "HEAD", "PATCH", "JUNK"))
        reply = await self.http.request(verb, path + choose(QUERIES), content=body, headers=headers)
        code = "INTERNAL" if reply.status_code == 500 else str(reply.status_code)
        self.note("http", code, f"{verb} {path} {body!r}: {reply.text[:300]}")

    async def over_a_socket(self) -> None:
        """Sends bytes that are no request, and closes."""
        host, port = self.server.http_address.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(self.fuzzer.spoilt(self.fuzzer.random.choice(RAW)))
        writer.write_eof()
        try:
            async with asyncio.timeout(1):
                await reader.read()
        except (TimeoutError, ConnectionResetError):
            pass
        writer.close()
        self.note("socket", "closed", "")

    def note(self, protocol: str, code: str, text: str) -> None:
        """Counts an answer."""
        self.answers[f"{protocol} {code}"] += 1
        if code in FAULTS:
            self.faults.append(text)


MESSAGES_OF_OIP = [
    message_factory.GetMessageClass(POOL.FindMessageTypeByName("inference.ModelInferRequest"))
]


async def neighbour(session: Session, ended: asyncio.Event) -> int:
    """Asks the same questions again and again; returns how often they were answered."""
    x = cells(2)
    wanted: dict[str, Any] = {}
    rounds = 0
    asked: list[tuple[str, Any, Any]] = [
        ("Predict", predict(x), pb.PredictResponse),
        (
            "Explain",
            explain(x, method("integrated_gradients"), deterministic=True),
            pb.ExplainResponse,
        ),
    ]
    asked[1][1].cache = BYPASS
    while not ended.is_set() or not rounds:
        for rpc, request, kind in asked:
            call: Any = session.channel.unary_unary(f"/adcaptum.v1.ExplanationService/{rpc}")
            reply = kind.FromString(await call(request.SerializeToString(), timeout=60))
            found = [each.data for each in reply.outputs] if rpc == "Predict" else [
                each.SerializeToString(deterministic=True) for each in reply.results
            ]  # fmt: skip
            assert found == wanted.setdefault(rpc, found)
        rounds += 1
    return rounds


@pytest.mark.slow
@pytest.mark.timeout(290)
async def test_random_messages_harm_nobody(server: Server) -> None:
    process = psutil.Process(server.process.pid)

    def memory() -> int:
        whole = [process, *process.children(recursive=True)]
        return int(sum(each.memory_info().rss for each in whole))

    async with (
        grpc.aio.insecure_channel(server.address) as channel,
        httpx.AsyncClient(base_url=f"http://{server.http_address}", timeout=60) as http,
    ):
        session = Session(server, channel, http)
        ended = asyncio.Event()
        beside = asyncio.create_task(neighbour(session, ended))
        kinds: list[Callable[[], Coroutine[Any, Any, None]]] = [
            *[session.over_grpc] * 10, *[session.over_http] * 10, session.over_a_socket,
        ]  # fmt: skip
        half = 0
        for begin in range(0, MESSAGES, AT_A_TIME):
            if not half and begin >= MESSAGES // 2:
                half = memory()
            await asyncio.gather(*(session.fuzzer.random.choice(kinds)() for _ in range(AT_A_TIME)))
        ended.set()
        rounds = await beside
    assert rounds > 1
    assert server.process.poll() is None
    assert not session.faults, session.faults[:5]
    assert session.answers["grpc OK"] > MESSAGES // 50, session.answers
    assert session.answers["http 200"] > MESSAGES // 50, session.answers
    assert memory() - half < MOST_GROWTH, session.answers
    unexpected = [line for line in server.lines if line.get("exc_info") or line.get("exception")]
    assert not unexpected, unexpected[:2]

"""Key sets at an address."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from adcaptum.service.errors import Unauthenticated
from adcaptum.service.security.access import Access
from adcaptum.service.security.tokens import key_sets
from adcaptum.service.security.tokens.key_sets import BadKeySet, fetch
from adcaptum.service.settings import Settings
from tests.unit.service.security.issuing import AUDIENCE, ISSUER, Issuer, key_set
from tests.unit.service.security.visiting import OURS, counted


class Site:
    """A site of an issuer.

    Attributes:
        url: Its address.
        content: The key set.
        asked: The times that it was asked.
    """

    def __init__(self) -> None:
        self.url = ""
        self.content = ""
        self.asked = 0


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked += 1
            if self.path == "/elsewhere":
                self.send_response(302)
                self.send_header("location", "/keys")
                self.end_headers()
                return
            if self.path == "/slow":
                time.sleep(2)
            self.send_response(200 if site.content else 500)
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(site.content.encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        site.url = f"http://127.0.0.1:{server.server_port}"
        yield site
        server.shutdown()
        thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as found:
        yield found


async def test_keys_are_fetched_kept_and_fetched_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Issuer("first"), Issuer("second")
    site.content = key_set(first)
    path = tmp_path / "credentials.toml"
    path.write_text(
        f"[jwt]\nissuer = '{ISSUER}'\naudience = '{AUDIENCE}'\njwks = '{site.url}/keys'"
    )
    registry = CollectorRegistry()
    access = Access(Settings(repository=tmp_path, credentials=path), registry)
    guard = access.guard
    assert guard is not None

    async def ask(token: str) -> Any:
        metadata = [("authorization", f"Bearer {token}")]
        return await guard.identify(OURS + "Predict", metadata, "ipv4:10.0.0.1", dict)

    await ask(first.token())
    assert site.asked == 1
    # Tokens with unknown keys do not have it fetched again and again.
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await ask(second.token())
    assert site.asked == 1
    monkeypatch.setattr(key_sets, "AGAIN_SECONDS", 0.0)
    site.content = ""
    with pytest.raises(Unauthenticated):
        await ask(second.token())
    assert counted(registry, "source_stale", source="jwks") == 1
    await ask(first.token(sub="kept"))
    site.content = key_set(first, second)
    # All who wait share one fetch.
    before = site.asked
    await asyncio.gather(*(ask(second.token(sub=str(index))) for index in range(5)))
    assert site.asked == before + 1
    assert counted(registry, "source_stale", source="jwks") == 0
    access.stop()


def test_what_an_address_answers_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.content = "x" * (key_sets.MOST_BYTES + 1)
    with pytest.raises(BadKeySet, match="more than"):
        fetch(f"{site.url}/keys")
    site.content = "x" * key_sets.MOST_BYTES
    assert len(fetch(f"{site.url}/keys")) == key_sets.MOST_BYTES
    with pytest.raises(BadKeySet, match="302"):
        fetch(f"{site.url}/elsewhere")
    monkeypatch.setattr(key_sets, "FETCH_SECONDS", 0.2)
    with pytest.raises(BadKeySet, match="timed out"):
        fetch(f"{site.url}/slow")


def test_an_answer_that_is_not_http_is_no_key_set() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 12)
                connection.sendall(b"nonsense\r\n\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(BadKeySet, match="nonsense"):
            fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/keys")
        answering.join()

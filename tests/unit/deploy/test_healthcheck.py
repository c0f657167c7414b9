"""The image's health check, run as Docker runs it."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class Probes(BaseHTTPRequestHandler):
    """Answers the status that the path names."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.removeprefix("/")))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Probes) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def check(repository: Path, url: str) -> subprocess.CompletedProcess[str]:
    script = repository / "deploy/healthcheck.py"
    return subprocess.run(
        [sys.executable, script, url],
        check=False,
        capture_output=True,
        text=True,
        env={"http_proxy": "http://127.0.0.1:9"},
    )


def test_a_ready_server_is_healthy_and_a_proxy_is_not_asked(repository: Path, url: str) -> None:
    done = check(repository, f"{url}/200")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_server_that_is_not_ready_is_unhealthy(repository: Path, url: str) -> None:
    done = check(repository, f"{url}/503")
    assert done.returncode == 1
    assert "503" in done.stderr


def test_a_server_that_does_not_listen_is_unhealthy(repository: Path) -> None:
    done = check(repository, "http://127.0.0.1:1/readyz")
    assert done.returncode == 1
    assert "refused" in done.stderr

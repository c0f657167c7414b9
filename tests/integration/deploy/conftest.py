"""A real Prometheus with the repository's rules."""

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
PATIENCE_SECONDS = 30.0

open_url = build_opener(ProxyHandler({})).open


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus, by its HTTP interface."""

    address: str

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series that an expression has now."""
        url = f"http://{self.address}/api/v1/query?{urlencode({'query': expr})}"
        with open_url(url, timeout=10) as reply:
            result: list[dict[str, Any]] = json.load(reply)["data"]["result"]
        return result

    def wait_for(self, expr: str) -> list[dict[str, Any]]:
        """The series of an expression, as soon as it has some.

        Raises:
            TimeoutError: If it has none for long.
        """
        pause = threading.Event()  # Prometheus can only be asked: it does not say when it scraped
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (series := self.query(expr)):
            if time.monotonic() > deadline:
                raise TimeoutError(expr)
            pause.wait(0.05)
        return series


@pytest.fixture(scope="session")
def prometheus(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Prometheus]]:
    """Starts Prometheus with a target to scrape, HOST:PORT, once for each."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed: apt-get install prometheus")
    with ExitStack() as running:

        @cache  # it takes five seconds to its first scrape
        def start(target: str) -> Prometheus:
            folder = tmp_path_factory.mktemp("prometheus")
            return running.enter_context(started(program, target, folder))

        yield start


@contextmanager
def started(program: str, target: str, folder: Path) -> Iterator[Prometheus]:
    """The program, until the context ends, with the repository's rules, only faster."""
    config = yaml.safe_load((REPOSITORY / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    config["global"] = dict.fromkeys(
        ("scrape_interval", "scrape_timeout", "evaluation_interval"), "200ms"
    )
    config["rule_files"] = [str(REPOSITORY / "deploy/prometheus/rules/*.yml")]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")

    process = subprocess.Popen(
        [
            program,
            f"--config.file={path}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        yield Prometheus(address_in(process.stderr))
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)


def address_in(log: Iterator[str]) -> str:
    """Where it listens, once it says that it is ready.

    Raises:
        RuntimeError: If it ends instead, with what it said.
    """
    address, lines = "", []
    for line in log:
        lines.append(line)
        if listening := re.search(r'msg="Listening on" address=(\S+)', line):
            address = listening[1]
        if "ready to receive web requests" in line:
            return address
    raise RuntimeError("".join(lines))

"""The command line before a canned server."""

from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner

from adcaptum.service.cli.app import app
from tests.unit.client.canned_server import CannedServicer, serving


class Output:
    """What a command printed and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err


Run = Callable[..., Output]


@pytest.fixture
def servicer() -> CannedServicer:
    return CannedServicer()


@pytest.fixture
def address(servicer: CannedServicer) -> Iterator[str]:
    with serving(servicer) as served_at:
        yield served_at


@pytest.fixture
def run(address: str) -> Run:
    """Runs a command with the server's address in the environment."""

    def invoke(*words: str, **environment: str) -> Output:
        env = {"ADCAPTUM_ADDRESS": address, "COLUMNS": "100", **environment}
        result = CliRunner(env=env).invoke(app, words)
        return Output(result.exit_code, result.stdout, result.stderr)

    return invoke

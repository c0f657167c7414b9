"""What is so for every test."""

import os
from collections.abc import Iterator

import pytest
import structlog

# Threads of PyTorch that spin while they wait take the cores from servers and other tests. OpenMP
# reads this once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--workers", type=int, default=0, help="test servers with so many worker processes"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("workers"):
        skip = pytest.mark.skip(reason="several workers have limits and queues of their own")
        for item in items:
            if "one_process" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _no_logs_are_left() -> Iterator[None]:
    """Leaves no configuration of logs: servers and commands in a test's process make one."""
    yield
    structlog.reset_defaults()

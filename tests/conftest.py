"""What is so for every test."""

import os

import pytest

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

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

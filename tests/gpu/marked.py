"""The tests marked `gpu`."""

from __future__ import annotations

import sys

import pytest

from tests.gpu.subjects import tell


class Counts:
    """Counts how tests ended."""

    def __init__(self) -> None:
        self.ended: dict[str, int] = {}
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Counts a test's call, or a skip or failure before it."""
        if report.when == "call" or report.outcome != "passed":
            self.ended[report.outcome] = self.ended.get(report.outcome, 0) + 1
            if report.failed:
                self.failed.append(f"{report.nodeid}: {str(report.longrepr)[-400:]}")


def main() -> int:
    """Runs them."""
    counts = Counts()
    arguments = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "-W", "ignore", "tests/unit/service"]
    code = int(pytest.main(arguments, plugins=[counts]))
    tell(tests=counts.ended, failed=counts.failed)
    return code


if __name__ == "__main__":
    sys.exit(main())

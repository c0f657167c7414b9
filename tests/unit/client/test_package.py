"""What the package shows, and what it does without."""

import subprocess
import sys
from types import ModuleType

import pytest

from adcaptum import client


def test_everything_that_is_exported_is_listed_in_order() -> None:
    members = {
        name
        for name, value in vars(client).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert client.__all__ == sorted(members)


@pytest.mark.parametrize("heavy", ["torch", "matplotlib", "rich", "pydantic"])
def test_the_client_is_imported_without(heavy: str) -> None:
    program = f"import sys, adcaptum.client; sys.exit({heavy!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)

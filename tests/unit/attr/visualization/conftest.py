"""Pictures are drawn without windows, and no test leaves a figure behind."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def no_figures() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The figures that pyplot knew, each time that it was told to show them."""
    calls: list[list[int]] = []
    monkeypatch.setattr(plt, "show", lambda: calls.append(plt.get_fignums()))
    return calls

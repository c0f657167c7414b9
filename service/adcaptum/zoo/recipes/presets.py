"""Presets of the bundled models: a path integral to a coarse and to a fine error (ADR 120)."""

from typing import Any


def to_errors(*, quick: float, exact: float) -> dict[str, dict[str, Any]]:
    """Returns the presets `quick` and `exact`.

    Args:
        quick: The largest relative error of the first.
        exact: The largest relative error of the second.
    """
    return {
        "quick": _preset("A first look", quick),
        "exact": _preset("For the record", exact),
    }


def _preset(purpose: str, tolerance: float) -> dict[str, Any]:
    return {
        "description": f"{purpose}: integrated gradients to an error of {100 * tolerance:g} %.",
        "methods": [{"name": "integrated_gradients"}],
        "budget": {"tolerance": tolerance},
    }

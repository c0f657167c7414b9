"""Presets of the bundled models, with the errors and times of decision 120."""

from typing import Any, Final

REGIONS: Final[dict[str, Any]] = {
    "description": "A first look: the regions that speak for the class, by Grad-CAM.",
    "methods": [{"name": "grad_cam"}],
    "site": {"layer": "features"},
}
"""One row, where a coarse path integral still takes seconds."""


def quick(tolerance: float) -> dict[str, Any]:
    """Returns the preset of a first look: integrated gradients to a coarse relative error."""
    return _path("A first look", tolerance)


def exact(tolerance: float) -> dict[str, Any]:
    """Returns the preset of an answer to keep: integrated gradients to a fine relative error."""
    return _path("For the record", tolerance)


def _path(purpose: str, tolerance: float) -> dict[str, Any]:
    return {
        "description": f"{purpose}: integrated gradients to an error of {100 * tolerance:g} %.",
        "methods": [{"name": "integrated_gradients"}],
        "budget": {"tolerance": tolerance},
    }

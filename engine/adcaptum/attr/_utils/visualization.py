"""Captum's path of the pictures of attributions.

Names that need matplotlib are imported when they are asked for.
"""

from typing import Any

from adcaptum.attr import visualization

__all__ = list(visualization.__all__)


def __getattr__(name: str) -> Any:
    return getattr(visualization, name)


def __dir__() -> list[str]:
    return __all__

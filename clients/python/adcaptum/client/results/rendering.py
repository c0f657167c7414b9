"""The seam between results and their drawings.

Results import no drawing: they ask the renderer that the package ``drawing`` registers here.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Renderer(Protocol):
    """Drawings of results, as figures and as HTML."""

    def figure(
        self, explanations: Sequence[Any], *, image: npt.NDArray[Any] | None = None
    ) -> "Figure":
        """Draw explanations one below the other; heat maps over the image where there is one."""

    def html(self, result: Any) -> str:
        """Render an explanation, the explanations of a request, or a prediction."""


_registered: list[Renderer] = []


def register(renderer: Renderer) -> None:
    """Draw every result with this renderer from now on."""
    _registered[:] = [renderer]


def renderer() -> Renderer:
    """Return the registered renderer; importing ``adcaptum.client`` registers one."""
    return _registered[0]

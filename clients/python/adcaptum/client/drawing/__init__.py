"""Drawings of explanations: PNG, HTML and terminal.

Importing the package registers the renderer of results; matplotlib is imported by the first figure.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from adcaptum.client.results.explanation import Explanation
from adcaptum.client.results.rendering import register

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class _Drawings:
    """The renderer of the package; imports what it needs when it draws."""

    def figure(
        self, explanations: Sequence[Explanation], *, image: npt.NDArray[Any] | None = None
    ) -> "Figure":
        from adcaptum.client.drawing.png import draw  # noqa: PLC0415 - matplotlib is optional

        return draw(explanations, image=image)

    def html(self, result: Any) -> str:
        from adcaptum.client.drawing.html import to_html  # noqa: PLC0415 - most programs draw nothing

        return to_html(result)


register(_Drawings())

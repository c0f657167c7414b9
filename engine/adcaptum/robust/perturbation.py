"""The base class of perturbations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Perturbation:
    """A change of inputs; calling the object changes them.

    Subclasses define `perturb`, which takes the inputs first and returns them changed, in the same
    container.
    """

    perturb: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Perturbs; for the arguments see `perturb`."""
        return self.perturb(*args, **kwargs)

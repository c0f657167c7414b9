"""Options of the perturbation methods: progress bars, ignored arguments, numbers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.attribution import Attribution


def title(attribution: Attribution, show_progress: bool) -> str | None:
    """Returns the name of a method's progress bar; None for no bar."""
    return f"{attribution.get_name()} attribution" if show_progress else None


def warn_of_ignored(attribution: Attribution, names: Iterable[str]) -> None:
    """Warns of keyword arguments that a method accepts for compatibility and ignores."""
    unused = sorted(set(names) - {"baselines"})
    if unused:
        warnings.warn(f"{attribution.get_name()} ignores {', '.join(unused)}", stacklevel=3)


def check_samples(n_samples: object) -> None:
    """Raises InvalidInput unless the number is whole and above zero."""
    if not isinstance(n_samples, int) or n_samples < 1:
        raise InvalidInput("n_samples", repr(n_samples), "a whole number, at least 1")


def check_per_eval(per_eval: object) -> None:
    """Raises InvalidInput unless the number is whole and above zero."""
    if not isinstance(per_eval, int) or per_eval < 1:
        raise InvalidInput("perturbations_per_eval", repr(per_eval), "a whole number, at least 1")

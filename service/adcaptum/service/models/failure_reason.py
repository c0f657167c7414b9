"""The reason for which a model does not serve, as callers may read it."""

import re
from typing import Final

from adcaptum.service.models.declaration import DeclarationError

MOST: Final = 1000
"""The most characters of a reason."""

_PATH: Final = re.compile(
    r"""(?<![\w./:\\-])        # not inside a word, a relative path or an URL
        (?:[A-Za-z]:)?          # a drive
        (?:[/\\][^\s/\\'"`:;,()\[\]<>|]+)*
        [/\\](?P<name>[^\s/\\'"`:;,()\[\]<>|]+)""",
    re.VERBOSE,
)


class ModelFailure(Exception):
    """An error about a model whose text is already a reason for callers."""


def failure_reason(error: Exception) -> str:
    """Returns an error's text for callers: without absolute paths, of bounded length.

    The log has the whole error.
    """
    text = str(error) if isinstance(error, DeclarationError | ModelFailure) else _typed(error)
    return without_paths(text)


def without_paths(text: str) -> str:
    """Returns a text with absolute paths shortened to file names, of bounded length."""
    text = _PATH.sub(lambda found: found["name"], text)
    return text if len(text) <= MOST else f"{text[: MOST - 3]}..."


def _typed(error: Exception) -> str:
    name, text = type(error).__name__, str(error).strip()
    return f"{name}: {text}" if text else name

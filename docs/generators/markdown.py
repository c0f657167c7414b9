"""Markdown tables and texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(flat(cell) for cell in row)} |"


def flat(text: str) -> str:
    """Return a text as the content of a cell: one line, without borders."""
    return " ".join(text.split()).replace("|", "\\|")


def markdown(text: str) -> str:
    """Turn a docstring's quotation of code into Markdown's."""
    return text.replace("``", "`")

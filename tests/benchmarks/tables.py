"""Tables for the terminal and for RESULTS.md."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

CONSOLE = Console(width=160, highlight=False)


def table(title: str, columns: Sequence[str]) -> Table:
    """An empty table whose first column is words and whose others are numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", box=MARKDOWN)
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right")
    return made


def ratio(value: float | None) -> str:
    """A ratio with as many digits as it deserves; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds * 1e6:.3g} µs"

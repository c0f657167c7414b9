"""Names that resemble a misspelt name, and values shortened for messages."""

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str], *, most: int = 3) -> tuple[str, ...]:
    """Returns the names that most resemble `name`, best first; none if no name does."""
    by_folded = {known.lower(): known for known in sorted(names)}
    # Hostile names may be megabytes long, and the comparison is quadratic.
    found = difflib.get_close_matches(name[:100].lower(), by_folded, n=most, cutoff=0.5)
    return tuple(by_folded[folded] for folded in found)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Returns a sentence with the nearest names, or with all names if none is near."""
    known = sorted(names)
    close = nearest(name, known)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    if not known:
        return "There are none."
    shown = ", ".join(map(repr, known[:20]))
    return f"There are {shown}{' and others' if len(known) > 20 else ''}."


def shortened(value: object, *, most: int = 80) -> str:
    """Returns `repr(value)`, cut where it would flood a message."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."

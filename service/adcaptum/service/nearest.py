"""Names that resemble a misspelt name, and values shortened for messages."""

import difflib
from collections.abc import Iterable
from itertools import islice, pairwise
from typing import Final

MOST_NAMES: Final = 1024
"""The most names that are looked through for those that resemble another."""

MOST_COMPARED: Final = 16
"""The most of them that are compared letter by letter, in 0.1 ms each."""

MOST_LETTERS: Final = 64
"""The most letters of a name that are compared: it comes from a caller and may be a megabyte."""

MOST_PAIRS: Final = 32
"""The most pairs of its letters that are looked for in each name."""


def nearest(name: str, names: Iterable[str], *, most: int = 3) -> tuple[str, ...]:
    """Returns the names that most resemble `name`, best first; none if no name does."""
    given = name[:MOST_LETTERS].lower()
    by_folded = {known[:MOST_LETTERS].lower(): known for known in islice(names, MOST_NAMES)}
    # The comparison is quadratic, and models have a thousand labels: pairs of letters come first.
    pairs = {first + second for first, second in islice(pairwise(given), MOST_PAIRS)}
    shared = {folded: sum([pair in folded for pair in pairs]) for folded in by_folded}
    chosen = sorted(by_folded, key=lambda each: (-shared[each], abs(len(each) - len(given)), each))
    found = difflib.get_close_matches(given, chosen[:MOST_COMPARED], n=most, cutoff=0.5)
    return tuple(by_folded[folded] for folded in found)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Returns a sentence with the nearest names, or with all names if none is near."""
    known = sorted(names)
    close = nearest(name, known)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    if not known:
        return "There are none."
    if len(known) == 1:
        return f"There is only {known[0]!r}."
    shown = ", ".join(map(repr, known[:20]))
    return f"There are {shown}{' and others' if len(known) > 20 else ''}."


def shortened(value: object, *, most: int = 80) -> str:
    """Returns `repr(value)`, cut where it would flood a message."""
    # A caller's text may have 60 MB, whose form would hold up all threads for a second.
    text = repr(value[: most + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= most else f"{text[: most - 3]}..."

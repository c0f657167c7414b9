"""Pages of lists."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.nearest import shortened

T = TypeVar("T")

USUAL: Final = 100
"""Items of a page where the request does not say."""

MOST: Final = 1000
"""The most items of a page."""

CHECK_BYTES: Final = 6
"""The length of the digest in a token, which other texts lack."""


def page(
    items: Sequence[T], name: Callable[[T], str], size: int, token: str, kind: str
) -> tuple[Sequence[T], str]:
    """Returns a page of a list, and the token of the next one; empty if there is none.

    A token holds the name after which its page begins, so that a list may change between two
    pages.

    Args:
        items: The whole list.
        name: The name of an item; no two have the same.
        size: The most items wanted; 0 for the usual number.
        token: The token of the page; empty for the first one.
        kind: The list that the token is of, such as `models`.

    Raises:
        InvalidRequest: The size is negative, or the token is of no page of this list.
    """
    if size < 0:
        raise InvalidRequest("page_size", f"{size}; must be from 0 to {MOST}")
    ordered = sorted(items, key=name)
    after = _name_of(token, kind)
    rest = ordered if after is None else [each for each in ordered if name(each) > after]
    shown = rest[: most(size)]
    return shown, token_after(name(shown[-1]), kind) if len(rest) > len(shown) else ""


def most(size: int) -> int:
    """Returns the most items of a page of a wanted size; 0 stands for the usual one."""
    return min(size or USUAL, MOST)


def token_after(last: str, kind: str) -> str:
    """Returns the token of the page of a list that begins after a name."""
    text = last.encode()
    digest = hashlib.blake2b(text, digest_size=CHECK_BYTES, person=kind.encode()).digest()
    return base64.urlsafe_b64encode(digest + text).decode().rstrip("=")


def _name_of(token: str, kind: str) -> str | None:
    """Returns the last name before a token's page; None for the first page."""
    if not token:
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        name = base64.b64decode(padded, altchars=b"-_", validate=True)[CHECK_BYTES:].decode()
    except ValueError:
        name = ""
    if token_after(name, kind) != token:
        raise InvalidRequest(
            "page_token", f"{shortened(token)}; must be the next_page_token of a page of {kind}"
        )
    return name

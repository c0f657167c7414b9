"""API keys: random texts, of which the server knows a digest only.

A key has 256 random bits, so that nobody can guess it, and one SHA-256 of it is as safe as a slow
hash: slow ones are for passwords (docs/decisions/0175-credentials.md).
"""

import hashlib
import hmac
import re
import secrets
from typing import Final, NamedTuple

PREFIX: Final = "adc"
"""The first part of every key, by which tools find keys in texts where none should be."""

ID_BYTES: Final = 5
SECRET_BYTES: Final = 32

MOST_KEY: Final = 128
"""The longest text that is taken for a key."""

STORED: Final = re.compile(r"(?P<id>[0-9a-f]{10}):(?P<digest>[0-9a-f]{64})")

NOBODY: Final = bytes(32)
"""The digest of no key: unknown ids cost what known ones cost."""


class NewKey(NamedTuple):
    """A key that was just made.

    Attributes:
        key: The key, for its caller alone.
        stored: Its id and digest, for the server.
    """

    key: str
    stored: str


def new_key() -> NewKey:
    """Makes a key."""
    name = secrets.token_hex(ID_BYTES)
    key = f"{PREFIX}_{name}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return NewKey(key, f"{name}:{_digest(key).hex()}")


def is_key(text: str) -> bool:
    """Returns whether a text looks like a key."""
    return text.startswith(f"{PREFIX}_") and len(text) <= MOST_KEY


def id_of(key: str) -> str:
    """Returns the id of a text that looks like a key."""
    return key[len(PREFIX) + 1 :].partition("_")[0]


def matches(key: str, digest: bytes | None) -> bool:
    """Returns whether a key has a digest, in the same time whatever the key is.

    Args:
        key: The key.
        digest: The digest of its id; None: there is no such id.
    """
    same = hmac.compare_digest(_digest(key), digest or NOBODY)
    return same and digest is not None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()

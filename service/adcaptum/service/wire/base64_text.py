"""Texts in base64 -> bytes."""

import binascii
from typing import Final

BASE64_CHARACTERS: Final = 1 << 19
"""The characters of a text in base64 that are decoded at a time, in a millisecond."""

WHITESPACE: Final = b" \t\n\r\v\f"
"""The characters that a text in base64 may have anywhere."""


def from_base64(text: str) -> bytes | None:
    """Returns the bytes that a text encodes, which may have line breaks; None if it is no base64.

    It is decoded in pieces: a text of 60 MB would hold up all threads for as long as it takes.
    """
    pieces: list[tuple[bytes, bool]] = []
    rest = b""
    for start in range(0, len(text), BASE64_CHARACTERS):
        try:
            part = text[start : start + BASE64_CHARACTERS].encode("ascii")
            rest += part.translate(None, WHITESPACE)
            whole = len(rest) // 4 * 4
            if pieces and whole and pieces[-1][1]:
                return None  # something comes after the padding
            piece = binascii.a2b_base64(rest[:whole], strict_mode=True)
        except ValueError:
            return None
        if whole:
            pieces.append((piece, rest[whole - 1 : whole] == b"="))
            rest = rest[whole:]
    return None if rest else b"".join([piece for piece, _ in pieces])

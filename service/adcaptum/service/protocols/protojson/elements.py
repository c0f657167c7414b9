"""Values of JSON: as they stand in messages for people, and the check of texts."""

from typing import Final

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.nearest import shortened

MOST_BITS: Final = 1024
"""The longest whole number that is written out."""


def shown(content: object) -> str:
    """Returns a value of JSON for a message."""
    match content:
        case None:
            return "null"
        case bool():
            return "true" if content else "false"
        case dict():
            return "an object"
        case list():
            return "a list"
        case int() if content.bit_length() > MOST_BITS:
            return f"a number of more than {MOST_BITS} bits"
        case _:
            return shortened(content)


def check_text(text: str, field: str) -> None:
    """Raises `InvalidRequest` if a text has halves of characters, which UTF-8 has not."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(field, "half of a character; must be UTF-8") from error

"""Sizes of encoded images, read from their first bytes without decoding anything."""

import struct
from typing import Final, NamedTuple

PNG: Final = b"\x89PNG\r\n\x1a\n"
JPEG: Final = b"\xff\xd8"

FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""The JPEG markers of segments with the image's size: start of frame, of any coding."""

STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xDA)})
"""The JPEG markers without a segment."""

MOST_SEGMENTS: Final = 1000
"""The most JPEG segments before the size; cameras write up to some dozens."""


class ImageSize(NamedTuple):
    """The size of an image, in pixels."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        """The number of pixels."""
        return self.width * self.height


def size_of(data: bytes) -> ImageSize | None:
    """Returns the size that a PNG's or JPEG's header states; None if it is neither."""
    if data.startswith(PNG):
        return _png(data)
    if data.startswith(JPEG):
        return _jpeg(data)
    return None


def _png(data: bytes) -> ImageSize | None:
    # The first chunk has to be the header: its length and name, then both sides.
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    return ImageSize(*struct.unpack_from(">II", data, 16))


def _jpeg(data: bytes) -> ImageSize | None:
    at = len(JPEG)
    for _ in range(MOST_SEGMENTS):
        # Any number of fill bytes 0xFF may stand before a marker; more than a few never do.
        start = at
        while at < len(data) and data[at] == 0xFF and at - start < 64:
            at += 1
        if at == start or at + 3 > len(data):
            return None
        marker = data[at]
        at += 1
        if marker in STANDALONE:
            continue
        length = int.from_bytes(data[at : at + 2])
        if marker in FRAMES:
            if at + 7 > len(data):
                return None
            height, width = struct.unpack_from(">HH", data, at + 3)
            return ImageSize(width, height)
        at += max(2, length)
    return None

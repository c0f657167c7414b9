"""Bytes of a request beside the data of its tensors, counted before the request is decoded.

Data are copied, and a copy costs little for each byte. Everything else (names, lengths, numbers,
messages in messages) becomes objects: a megabyte of it takes a hundred megabytes and the time of
as many requests. So there may be little of it.
"""

from collections.abc import Mapping
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from adcaptum.service.errors import InvalidRequest

MOST_STRUCTURE: Final = 1 << 16
"""The most bytes beside the data of tensors; decoding them takes 2 ms at most (ADR 60)."""

MOST_FIELDS: Final = 2048
"""The most fields that are looked through for data; a request with 64 tensors has 600."""

Payloads = Mapping[int, "Payloads | None"]
"""By number, the fields of a message that are data (None), or have data inside."""


def payloads(descriptor: Descriptor) -> Payloads:
    """Finds the fields of a message, and of those inside it, that hold data of tensors."""
    return _payloads(descriptor, ())


def check_structure(raw: bytes, fields: Payloads) -> None:
    """Raises `InvalidRequest` if a serialised message has too many bytes beside its data.

    Args:
        raw: The message.
        fields: Its fields with data.

    Raises:
        InvalidRequest: It has too many, or is not a message.
    """
    if len(raw) <= MOST_STRUCTURE:
        return
    scan = _Scan(raw)
    try:
        data = scan.data(0, len(raw), fields)
    except InvalidRequest:
        raise
    except (IndexError, ValueError) as error:
        raise undecodable() from error
    if len(raw) - data > MOST_STRUCTURE:
        raise InvalidRequest(
            "request",
            f"{len(raw) - data} bytes beside the data of tensors; at most {MOST_STRUCTURE} are "
            "allowed",
        )


def undecodable() -> InvalidRequest:
    """Returns the error for bytes that are not a message of the expected type."""
    return InvalidRequest("request", "its bytes are not a message of this method's type")


def _payloads(descriptor: Descriptor, outer: tuple[str, ...]) -> Payloads:
    found: dict[int, Payloads | None] = {}
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_BYTES:
            found[field.number] = None
        elif (inner := field.message_type) is not None and inner.full_name not in outer:
            deeper = _payloads(inner, (*outer, descriptor.full_name))
            if deeper:
                found[field.number] = deeper
    return found


class _Scan:
    """Walks over the fields of a serialised message without decoding them."""

    __slots__ = ("_left", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._left = MOST_FIELDS

    def data(self, start: int, stop: int, fields: Payloads) -> int:
        """Returns how many bytes of start..stop are data.

        Raises:
            ValueError: These bytes are not fields.
            IndexError: A number ends behind the message's end.
            InvalidRequest: There are too many fields.
        """
        found, at = 0, start
        while at < stop:
            self._left -= 1
            if self._left < 0:
                raise InvalidRequest("request", f"of more than {MOST_FIELDS} fields")
            tag, at = self._varint(at)
            kind = tag & 7
            if kind == 0:
                _, at = self._varint(at)
            elif kind == 1:
                at += 8
            elif kind == 5:  # 32 bits
                at += 4
            elif kind == 2:  # a length and as many bytes
                length, at = self._varint(at)
                if at + length > stop:
                    raise ValueError(length)
                if tag >> 3 in fields:
                    inner = fields[tag >> 3]
                    found += length if inner is None else self.data(at, at + length, inner)
                at += length
            else:
                raise ValueError(kind)
        if at > stop:
            raise ValueError(at)
        return found

    def _varint(self, at: int) -> tuple[int, int]:
        value = self._raw[at]
        if value < 128:  # most numbers take one byte
            return value, at + 1
        value &= 127
        for shift in range(7, 70, 7):
            at += 1
            byte = self._raw[at]
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at + 1
        raise ValueError(at)

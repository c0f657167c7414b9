"""Random messages: of protobuf by their descriptors, JSON of them, and both with faults."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from random import Random
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message

NAMES = ("cells", "digits", "cells", "cells:explain:saliency", "no", "", "\u00e9", "x" * 300)
WORDS = (
    "lime", "saliency", "integrated_gradients", "kernel_shap", "occlusion", "n_samples", "FP32",
    "INT64", "BYTES", "measurements", "image", "malignant", "zeros", "1", "stable", "a" * 200, "",
)  # fmt: skip
WHOLE = (0, 1, 2, 3, 30, 64, -1, 255, 1000, 2**31 - 1, -(2**31))
REAL = (0.0, 1.0, -1.0, 0.01, 1e300, float("nan"), float("inf"), 5e-324)
JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**30, "", "x", "\ud800", [], [[]], {}, {"a": 1}, [None], [1, "a"],
    [[1], [2, 3]],
)  # fmt: skip
MOST_DEPTH = 5


class Fuzzer:
    """A source of random messages."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def fill(self, message: Message, depth: int = 0) -> None:
        """Sets random fields of a message."""
        kind = message.DESCRIPTOR
        if kind.name in ("Tensor", "InferInputTensor") and self.random.random() < 0.7:
            self._tensor(message)
            return
        for field in kind.fields:
            likely = (
                0.9 if field.name in ("model", "inputs", "explain", "spec", "methods") else 0.25
            )
            if self.random.random() > likely or depth > MOST_DEPTH:
                continue
            self._set(message, field, depth)

    def _set(self, message: Any, field: Any, depth: int) -> None:
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            members, value = getattr(message, field.name), inner.fields_by_name["value"]
            key: Any = self.random.choice(WORDS)
            if inner.fields_by_name["key"].type != Field.TYPE_STRING:
                return
            if value.message_type is not None:
                self.fill(members[key], depth + 1)
            else:
                members[key] = self._scalar(value)
        elif field.is_repeated:
            for _ in range(self.random.choice((1, 1, 2, 3))):
                if inner is not None:
                    self.fill(getattr(message, field.name).add(), depth + 1)
                else:
                    getattr(message, field.name).append(self._scalar(field))
        elif inner is not None:
            getattr(message, field.name).SetInParent()
            self.fill(getattr(message, field.name), depth + 1)
        else:
            setattr(message, field.name, self._scalar(field))

    def _scalar(self, field: Any) -> Any:
        choices: dict[int, Sequence[Any]] = {
            Field.TYPE_BOOL: (True, False),
            Field.TYPE_STRING: NAMES if "name" in field.name else WORDS,
            Field.TYPE_BYTES: [self.random.randbytes(size) for size in (0, 1, 4, 120, 240)],
            Field.TYPE_DOUBLE: REAL,
            Field.TYPE_FLOAT: REAL,
            Field.TYPE_UINT32: [abs(each) for each in WHOLE],
            Field.TYPE_UINT64: [abs(each) for each in WHOLE],
        }
        if field.type == Field.TYPE_ENUM:
            return self.random.choice([*field.enum_type.values_by_number, 77])
        return self.random.choice(choices.get(field.type, WHOLE))

    def _tensor(self, message: Any) -> None:
        """Fills a tensor as a model may take it."""
        rows = self.random.choice((1, 2, 3))
        numbers = [self.random.uniform(-3, 3) for _ in range(30 * rows)]
        message.shape.extend([rows, 30])
        message.datatype = "FP32"
        if "contents" in message.DESCRIPTOR.fields_by_name:
            message.name = "measurements"
            message.contents.fp32_contents.extend(numbers)
        else:
            message.data = struct.pack(f"<{len(numbers)}f", *numbers)

    def spoilt(self, raw: bytes) -> bytes:
        """Returns bytes with faults, or as they are."""
        found = bytearray(raw)
        for _ in range(self.random.choice((0, 0, 1, 1, 3))):
            if not found:
                break
            at = self.random.randrange(len(found))
            match self.random.randrange(4):
                case 0:
                    found[at] = self.random.randrange(256)
                case 1:
                    del found[at:]
                case 2:
                    found[at:at] = self.random.randbytes(self.random.choice((1, 3, 50)))
                case _:
                    found[at:at] = found[at : at + 40]
        return bytes(found)

    def spoilt_json(self, content: Any) -> Any:
        """Returns JSON in which a value may be another one."""
        if isinstance(content, dict) and content and self.random.random() < 0.9:
            key = self.random.choice(sorted(content))
            name = key if self.random.random() < 0.95 else "nothing"
            return content | {name: self.spoilt_json(content[key])}
        if isinstance(content, list) and content and self.random.random() < 0.8:
            at = self.random.randrange(len(content))
            return [*content[:at], self.spoilt_json(content[at]), *content[at + 1 :]]
        return self.random.choice(JUNK)

    def body(self, message: Message) -> bytes:
        """Returns a random message as the JSON of a body, perhaps with faults."""
        self.fill(message)
        try:
            content = json_format.MessageToDict(message, preserving_proto_field_name=True)
        except (json_format.SerializeToJsonError, ValueError):
            content = {}
        content.pop("model", None)
        if self.random.random() < 0.5:
            content = self.spoilt_json(content)
        raw = json.dumps(content).encode()
        return self.spoilt(raw) if self.random.random() < 0.3 else raw

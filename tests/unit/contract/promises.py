"""What programs may rely on beside the messages: its list, and the script that adds to it.

Run `python -m tests.unit.contract.promises` after adding a method, a parameter, a reason, a field.
It adds what is new to `promises.json`; it takes nothing away, because nothing may be.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor

from adcaptum.engine.methods import METHODS
from adcaptum.service.errors import Reason
from adcaptum.service.rpc import calls, error_answers
from adcaptum.service.wire import method_specs
from adcaptum.v1 import (
    explain_spec_pb2,
    explanation_pb2,
    explanation_service_pb2,
    method_pb2,
    model_pb2,
    tensor_pb2,
)

FILE: Final = Path(__file__).parent / "promises.json"
FILES: Final = (
    explanation_service_pb2,
    explain_spec_pb2,
    explanation_pb2,
    method_pb2,
    model_pb2,
    tensor_pb2,
)

Promises = Mapping[str, Mapping[str, Any]]


def kept() -> Promises:
    """What the code promises now, by section and name."""
    return {
        "reasons": {reason.value: error_answers.CODES[reason].name for reason in Reason},
        "metadata": dict(sorted(_metadata())),
        "methods": {name: dict(_parameters(name)) for name in sorted(METHODS)},
        "json": dict(sorted(_json_names())),
    }


def promised() -> Promises:
    """What the list promises."""
    found: Promises = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def _metadata() -> Iterator[tuple[str, str]]:
    yield calls.ID_KEY, "request and reply: id of the request in the server's log"
    yield calls.CALLER_KEY, "request: name of the caller"
    yield error_answers.DETAILS_KEY, "reply: google.rpc.Status of an error"
    yield "ErrorInfo.domain", error_answers.DOMAIN
    yield "ErrorInfo.metadata.needed_seconds", "DEADLINE_TOO_SHORT: seconds needed"
    yield "ErrorInfo.metadata.limit", "QUEUE_FULL, QUOTA: the limit that is reached"
    yield "ErrorInfo.metadata.nearest", "*_NOT_FOUND: names that look like it"


def _parameters(name: str) -> Iterator[tuple[str, Any]]:
    # The type and the default, neither of which ever changes.
    described = method_specs.describe_method(METHODS[name])
    for parameter in described.parameters:
        kind = method_pb2.ParameterType.Name(parameter.type).removeprefix("PARAMETER_TYPE_")
        entry: dict[str, Any] = {"type": kind}
        if parameter.HasField("default_value"):
            entry["default"] = json_format.MessageToDict(parameter.default_value)
        if parameter.choices:
            entry["choices"] = list(parameter.choices)
        yield parameter.name, entry


def _json_names() -> Iterator[tuple[str, Any]]:
    for file in FILES:
        for message in file.DESCRIPTOR.message_types_by_name.values():
            yield from _fields(message)
        for enum in file.DESCRIPTOR.enum_types_by_name.values():
            yield enum.name, [value.name for value in enum.values]


def _fields(message: Descriptor) -> Iterator[tuple[str, Any]]:
    # The proto's names, which ProtoJSON reads as well as its own.
    yield message.name, [field.name for field in message.fields]


def grown(old: Any, new: Any) -> Any:
    """What was promised, with what has come since."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: grown(old.get(key), value) for key, value in new.items()}}
    if isinstance(old, list) and isinstance(new, list):
        return [*old, *(each for each in new if each not in old)]
    return new if old is None else old


def main() -> None:
    """Adds to the list what it lacks."""
    old = promised() if FILE.exists() else {}
    text = json.dumps(grown(old, kept()), indent=1, ensure_ascii=False)
    FILE.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(f"{FILE}: {sum(map(len, kept().values()))} promises\n")


if __name__ == "__main__":
    main()

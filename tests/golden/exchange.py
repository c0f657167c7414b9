"""Recorded exchanges with a server of the bundled models, in the JSON that people read.

Each file of `exchanges/` has a call, its request as somebody would type it, and what came back: a
reply, the events of a stream, or an error. `python -m tests.golden` asks a server again and writes
the replies anew; tests compare them field by field.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from adcaptum.v1 import explanation_service_pb2 as pb
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub

FOLDER: Final = Path(__file__).parent / "exchanges"
MODELS: Final = ("cells", "digits", "photos", "reviews")
METADATA: Final = (("x-request-id", "golden"),)
WIDTH: Final = 110
DIGITS: Final = 6

VOLATILE: Final = frozenset(
    {
        "timings",
        "load_time",
        "digest",
        "variant",
        "expected_rows",
        "expected_seconds",
        "next_page_token",
    }
)
"""Fields that differ between runs and machines: only their presence is compared."""

SERVER_VERSION: Final = ".reply.version"
"""The version of the server that answered."""

TOLERANCE: Final = 0.02
"""Largest relative difference of numbers: batches, threads and kernels round differently."""

NOISE: Final = 1e-4
"""Largest absolute difference of numbers."""


def names() -> list[str]:
    """The names of the exchanges."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> dict[str, Any]:
    """Reads an exchange."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def request_of(exchange: dict[str, Any]) -> Message:
    """Reads the request of an exchange, in which no field may be unknown."""
    message: Message = getattr(pb, f"{exchange['call']}Request")()
    return json_format.ParseDict(exchange["request"], message)


def ask(exchange: dict[str, Any], stub: ExplanationServiceStub) -> dict[str, Any]:
    """Asks a server again; returns the exchange with what came back."""
    asked = {key: exchange[key] for key in ("about", "call", "request")}
    call = getattr(stub, exchange["call"])
    request = request_of(exchange)
    try:
        if exchange["call"] == "ExplainStream":
            events = [as_json(event) for event in call(request, metadata=METADATA)]
            # One event of progress stands for all: how many there are depends on the machine.
            between = sorted(events[1:-1], key=_estimates, reverse=True)[:1]
            return {**asked, "events": [events[0], *between, events[-1]]}
        return {**asked, "reply": as_json(call(request, metadata=METADATA))}
    except grpc.RpcError as error:
        return {**asked, "error": error_as_json(error)}


def _estimates(event: dict[str, Any]) -> int:
    results = event.get("progress", {}).get("results", [])
    return sum(len(each.get("explanations", ())) for each in results)


def as_json(message: Message) -> Any:
    """Writes a message with the proto's names, and whole numbers without a point."""
    return rounded(json_format.MessageToDict(message, preserving_proto_field_name=True))


def error_as_json(error: grpc.RpcError) -> dict[str, Any]:
    """Writes a status with its details."""
    trailing: dict[str, Any] = {each.key: each.value for each in error.trailing_metadata()}
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    details = {}
    for detail in status.details:
        name = detail.TypeName().rpartition(".")[2]
        message = getattr(error_details_pb2, name).FromString(detail.value)
        details[name] = as_json(message)
    return {"code": error.code().name, "message": status.message, "details": details}


def rounded(value: Any) -> Any:
    """Rounds numbers to a few digits, and makes integers of whole ones."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    if isinstance(value, float) and math.isfinite(value):
        short = float(f"{value:.{DIGITS}g}")
        return int(short) if short.is_integer() and abs(short) < 2**53 else short
    return value


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Yields what differs between two exchanges, by its path."""
    if path.rpartition(".")[2].partition("[")[0] in VOLATILE or path == SERVER_VERSION:
        return
    if path.endswith(".events"):
        old, new = ([each for each in events if "progress" not in each] for events in (old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() ^ new.keys()):
            yield f"{path}.{key} is {'gone' if key in old else 'new'}"
        for key in old.keys() & new.keys():
            yield from differences(old[key], new[key], f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{path} has {len(new)} entries instead of {len(old)}"
        for place, (one, other) in enumerate(zip(old, new, strict=False)):
            yield from differences(one, other, f"{path}[{place}]")
    elif _numbers(old, new):
        if not math.isclose(old, new, rel_tol=TOLERANCE, abs_tol=NOISE):
            yield f"{path} is {new} instead of {old}"
    elif old != new:
        yield f"{path} is {new!r} instead of {old!r}"


def _numbers(*values: Any) -> bool:
    return all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)


def written(value: Any, indent: int = 0) -> str:
    """Writes JSON in lines of a width: what fits into one line stays in one."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + indent <= WIDTH or not isinstance(value, dict | list) or not value:
        return line
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {written(each, indent + 2)}" for key, each in value.items()]
        return "{\n" + ",\n".join(inner + part for part in parts) + "\n" + " " * indent + "}"
    if any(isinstance(each, dict | list) for each in value):
        parts = [written(each, indent + 2) for each in value]
        return "[\n" + ",\n".join(inner + part for part in parts) + "\n" + " " * indent + "]"
    return "[\n" + "\n".join(_filled(value, inner)) + "\n" + " " * indent + "]"


def _filled(values: list[Any], inner: str) -> Iterator[str]:
    line = inner
    for place, each in enumerate(values):
        word = json.dumps(each, ensure_ascii=False) + ("," if place < len(values) - 1 else "")
        if len(line) + len(word) > WIDTH and line.strip():
            yield line.rstrip()
            line = inner
        line += word + " "
    yield line.rstrip()


def save(name: str, exchange: dict[str, Any]) -> None:
    """Writes an exchange."""
    (FOLDER / f"{name}.json").write_text(written(exchange) + "\n", encoding="utf-8")

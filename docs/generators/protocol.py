"""The page of the protocol, from the compiled files."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2

from docs.generators.markdown import flat, markdown, table

PROTO = Path(__file__).parents[2] / "proto"
_Comments = Mapping[tuple[int, ...], Any]


def protocol_page() -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Protocol"
    yield ""
    yield (
        "The package `adcaptum.v1`, from the files of `proto/adcaptum/v1`. The server answers "
        "reflection (`grpc.reflection.v1alpha`) and health checks (`grpc.health.v1`), for the "
        "whole server and for each model by its name."
    )
    for file in compiled():
        comments = {tuple(each.path): each for each in file.source_code_info.location}
        yield f"\n## {Path(file.name).name}\n"
        yield comment(comments, (12,)) or comment(comments, (2,))
        for place, service in enumerate(file.service):
            yield f"\n### {service.name}\n"
            yield comment(comments, (6, place))
            yield ""
            yield from table(
                ("call", "request", "reply", ""),
                (
                    (
                        f"`{call.name}`",
                        _link(call.input_type),
                        ("stream of " if call.server_streaming else "") + _link(call.output_type),
                        flat(comment(comments, (6, place, 2, number))),
                    )
                    for number, call in enumerate(service.method)
                ),
            )
        for place, message in enumerate(file.message_type):
            yield from _message(message, comments, (4, place))
        for place, enum in enumerate(file.enum_type):
            yield f"\n### {enum.name}\n"
            yield comment(comments, (5, place))
            yield ""
            yield from table(
                ("value", "number", ""),
                (
                    (
                        f"`{value.name}`",
                        str(value.number),
                        flat(comment(comments, (5, place, 2, number))),
                    )
                    for number, value in enumerate(enum.value)
                ),
            )


def _message(
    message: descriptor_pb2.DescriptorProto, comments: _Comments, path: Any
) -> Iterator[str]:
    yield f"\n### {message.name}\n"
    yield comment(comments, path)
    if not message.field:
        return
    yield ""
    maps = {f".{each.name}": each for each in message.nested_type if each.options.map_entry}
    rows = []
    for number, field in enumerate(message.field):
        entry = next((m for name, m in maps.items() if field.type_name.endswith(name)), None)
        kind = _kind(field)
        if entry is not None:
            kind = f"map of {_kind(entry.field[0])} to {_kind(entry.field[1])}"
        elif field.label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED:
            kind = f"repeated {kind}"
        text = flat(comment(comments, (*path, 2, number)))
        if field.HasField("oneof_index") and not field.proto3_optional:
            text += f" (One of `{message.oneof_decl[field.oneof_index].name}`.)"
        rows.append((f"`{field.name}`", "optional " * field.proto3_optional + kind, text))
    yield from table(("field", "type", ""), rows)


def _kind(field: descriptor_pb2.FieldDescriptorProto) -> str:
    if field.type_name:
        return _link(field.type_name)
    return descriptor_pb2.FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _link(name: str) -> str:
    short = name.rsplit(".", 1)[1]
    return f"[{short}](#{short.lower()})" if name.startswith(".adcaptum.") else f"`{name[1:]}`"


def comment(comments: _Comments, path: Any) -> str:
    """Return the comment of a place in a file."""
    found = comments.get(tuple(path))
    if found is None:
        return ""
    texts = [*found.leading_detached_comments, found.leading_comments]
    return markdown("\n".join(line.removeprefix(" ") for line in "".join(texts).splitlines()))


def compiled() -> list[descriptor_pb2.FileDescriptorProto]:
    """Return the files of the protocol with their comments."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        buf = Path(sys.executable).parent / "buf"
        command = [str(buf), "build", "--as-file-descriptor-set", "--output", str(image)]
        subprocess.run(command, cwd=PROTO, check=True)
        found = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
    return sorted(
        (file for file in found.file if file.name.startswith("adcaptum/")),
        key=lambda file: (not file.service, file.name),
    )

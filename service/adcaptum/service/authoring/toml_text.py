"""Writes a `model.toml` that reads well: long lists and texts wrapped, small tables in one line."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

WIDTH: Final = 100
"""The most characters of a line, where a value can be broken."""

INDENT: Final = "    "

NO_COMMENTS: Final[Mapping[str, str]] = MappingProxyType({})

NESTED: Final = ("presets",)
"""Tables of tables that have a heading each; others are written in one line each."""


def dumps(content: Mapping[str, object], comments: Mapping[str, str] = NO_COMMENTS) -> str:
    """Writes a table, its plain values before its tables, as TOML requires.

    Args:
        content: The table.
        comments: Comments by the key or table above which they stand; that of "" stands at the
            end.
    """
    lines: list[str] = []
    for key, value in content.items():
        if not _has_heading(value):
            lines += [*_comment(comments.get(key, "")), *_pair(key, value)]
    for key, value in content.items():
        if not _has_heading(value):
            continue
        note = comments.get(key, "")
        if note:
            lines += ["", *_comment(note)]
        if isinstance(value, Mapping):
            table = list(_table(key, value))
        else:
            assert isinstance(value, list), f"{key} is a table or a list of tables"
            table = [line for each in value for line in _item(key, each)]
        lines += table[1:] if note else table
    if "" in comments:
        lines += ["", *_comment(comments[""])]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> Iterator[str]:
    yield from (f"# {line}".rstrip() for line in text.splitlines())


def _has_heading(value: object) -> bool:
    return isinstance(value, Mapping) or _is_list_of_tables(value)


def _is_list_of_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _table(name: str, content: Mapping[str, object]) -> Iterator[str]:
    if name in NESTED:
        for key, inner in content.items():
            assert isinstance(inner, Mapping), f"{name}.{key} is a table"
            yield from _block(f"[{name}.{_key(key)}]", inner)
    else:
        yield from _block(f"[{name}]", content)


def _item(name: str, content: Mapping[str, object]) -> Iterator[str]:
    """Writes an item of a list of tables, with the tables in it below it."""
    inner = {key: value for key, value in content.items() if isinstance(value, Mapping)}
    yield from _block(
        f"[[{name}]]", {key: value for key, value in content.items() if key not in inner}
    )
    for key, table in inner.items():
        yield from _block(f"[{name}.{_key(key)}]", table)


def _block(heading: str, content: Mapping[str, object]) -> Iterator[str]:
    yield ""
    yield heading
    for key, value in content.items():
        yield from _pair(key, value)


def _pair(key: str, value: object) -> Iterator[str]:
    line = f"{_key(key)} = {_inline(value)}"
    if len(line) <= WIDTH:
        yield line
    elif isinstance(value, list):
        yield f"{_key(key)} = ["
        yield from _wrapped([f"{_inline(each)}," for each in value])
        yield "]"
    elif isinstance(value, str) and " ".join(pieces := _pieces(value)) == _escaped(value):
        yield f'{_key(key)} = """\\'
        # A backslash at the end of a line joins it to the next, the space before it stays.
        yield from (f"{INDENT}{piece} \\" for piece in pieces[:-1])
        yield f'{INDENT}{pieces[-1]}"""'
    else:
        yield line


def _pieces(text: str) -> list[str]:
    """Cuts a text at spaces; returns nothing if there are spaces around it."""
    if text != text.strip():
        return []
    width = WIDTH - len(INDENT) - 2
    return textwrap.wrap(_escaped(text), width, break_long_words=False, break_on_hyphens=False)


def _wrapped(items: list[str]) -> Iterator[str]:
    """Writes as many items in each line as it holds."""
    line = INDENT
    for item in items:
        if line != INDENT and len(line) + len(item) > WIDTH:
            yield line.rstrip()
            line = INDENT
        line += f"{item} "
    yield line.rstrip()


def _inline(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return f'"{_escaped(value)}"'
        case list():
            return f"[{', '.join(_inline(each) for each in value)}]"
        case Mapping():
            pairs = ", ".join(f"{_key(key)} = {_inline(each)}" for key, each in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case _:
            raise TypeError(f"{value!r} has no form in TOML")


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else f'"{_escaped(key)}"'

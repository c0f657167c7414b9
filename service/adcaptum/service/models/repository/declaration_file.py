"""Reads `model.toml`."""

import re
import tomllib
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast, get_args

from adcaptum.service.models.declaration import (
    ZERO,
    Declaration,
    DeclarationError,
    FileBaseline,
    InputDeclaration,
    Kind,
    MemoryFormat,
    NamedBaseline,
    NumberBaseline,
    OutputDeclaration,
    OutputKind,
    Precision,
    Runtime,
    TokenBaseline,
)
from adcaptum.service.models.loaders import LOADERS
from adcaptum.service.models.repository import preset_tables
from adcaptum.service.models.repository.toml_table import TomlTable
from adcaptum.service.nearest import did_you_mean, shortened
from adcaptum.service.placement.stored import DECLARATION
from adcaptum.service.placement.terms import DEVICE, DEVICE_RULE, Terms
from adcaptum.service.wire.tensors import DATATYPES

FILE: Final = DECLARATION
FACTORY: Final = "factory"
TEXT_KEYS: Final = ("tokenizer", "max_tokens", "pad_token")
NUMERIC: Final = tuple(name for name in DATATYPES if name != "BYTES")


def read(folder: Path) -> Declaration:
    """Reads the declaration in a model's folder.

    Raises:
        DeclarationError: It is missing, not TOML, or says something that is not allowed.
    """
    path = folder / FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DeclarationError(f"{folder.name}/{FILE}: {reason}") from error
    table = TomlTable(values, f"{folder.name}/{FILE}")
    declaration = _declaration(table, folder)
    table.finish()
    return declaration


def _declaration(table: TomlTable, folder: Path) -> Declaration:
    limits, examples = table.table("limits"), table.table("examples")
    loader = table.text("loader", FACTORY, choices=tuple(LOADERS))
    factory = _factory(table, loader)
    inputs = tuple(_input(each, folder) for each in table.tables("inputs"))
    _distinct(table, "inputs", [each.name for each in inputs])
    if sum(each.kind == "text" for each in inputs) > 1:
        raise table.error("inputs", "there may be one text only")
    outputs = tuple(_output(each, folder) for each in table.tables("outputs"))
    _distinct(table, "outputs", [each.name for each in outputs])
    declaration = Declaration(
        name=folder.name,
        description=table.text("description", ""),
        factory=factory,
        inputs=inputs,
        outputs=outputs,
        loader=loader,
        arguments=MappingProxyType(_plain(table.table("arguments"))),
        trusted=MappingProxyType(_trusted(table.table("trusted"))),
        default_version=table.text("default_version", ""),
        aliases=MappingProxyType(_texts(table.table("aliases"))),
        accuracy=_accuracy(table),
        source=table.text("source", ""),
        layers=MappingProxyType(_texts(table.table("layers"))),
        presets=MappingProxyType(preset_tables.read(table)),
        max_rows=limits.integer("max_rows", 100_000, least=1),
        max_examples=limits.integer("max_examples", 64, least=1),
        examples=_file(examples, "file", folder),
        example_texts=examples.texts("texts"),
        runtime=_runtime(table.table("runtime")),
        placement=_placement(table.table("placement")),
    )
    for part in (limits, examples):
        part.finish()
    return declaration


def _factory(table: TomlTable, loader: str) -> str:
    if loader != FACTORY:
        if "factory" in table:
            raise table.error("factory", f"only the loader {FACTORY!r} has one, not {loader!r}")
        return ""
    factory = table.text("factory")
    if factory.count(":") != 1:
        raise table.error("factory", f"{shortened(factory)} is not of the form 'module:callable'")
    return factory


def _trusted(table: TomlTable) -> dict[str, str]:
    found = _texts(table)
    for path, digest in found.items():
        if re.fullmatch("[0-9a-f]{64}", digest) is None:
            raise table.error(
                f'"{path}"', f"{shortened(digest)} is not a SHA-256 of 64 digits 0-9 and a-f"
            )
    return found


def _runtime(table: TomlTable) -> Runtime:
    runtime = Runtime(
        precision=cast(
            "Precision", table.text("precision", "as loaded", choices=get_args(Precision))
        ),
        memory_format=cast(
            "MemoryFormat", table.text("memory_format", "auto", choices=get_args(MemoryFormat))
        ),
        fold_batch_norm=_auto(table, "fold_batch_norm"),
    )
    table.finish()
    return runtime


def _placement(table: TomlTable) -> Terms:
    devices = table.texts("devices")
    for device in devices:
        if DEVICE.fullmatch(device) is None:
            raise table.error("devices", f"{shortened(device)} is not {DEVICE_RULE}")
    numbers = {
        key: table.integer(key, least=1) for key in ("replicas", "memory_bytes") if key in table
    }
    table.finish()
    return Terms(devices, **numbers)


def _auto(table: TomlTable, key: str) -> bool:
    """Reads `"auto"`, which is also the default, or false."""
    value = table.raw(key) if key in table else "auto"
    if value is not False and value != "auto":
        raise table.error(key, f"{shortened(value)} is not 'auto' or false")
    return value == "auto"


def _input(table: TomlTable, folder: Path) -> InputDeclaration:
    kind = cast("Kind", table.text("kind", "tensor", choices=get_args(Kind)))
    name = table.text("name")
    shape = _shape(table)
    baselines = _baselines(table.table("baselines"), kind, folder)
    fallback = "pad" if kind == "text" and "pad" in baselines else ZERO
    default = _default_baseline(table, fallback, kind, baselines)
    if default not in baselines:
        known = did_you_mean(default, baselines)
        raise table.error("default_baseline", f"there is no baseline {shortened(default)}. {known}")
    features, units = table.texts("features"), table.texts("units")
    for key, names in (("features", features), ("units", units)):
        if names and len(names) != shape[-1]:
            raise table.error(key, f"{len(names)} of them for a shape of {list(shape)}")
    text = kind == "text"
    for key in TEXT_KEYS:
        if key in table and not text:
            raise table.error(key, "only a text input has it")
    declared = InputDeclaration(
        name=name,
        kind=kind,
        datatype=table.text("datatype", "INT64" if text else "FP32", choices=tuple(DATATYPES)),
        shape=shape,
        default_baseline=default,
        baselines=MappingProxyType(baselines),
        features=features,
        units=units,
        categories=MappingProxyType(_categories(table.table("categories"), features)),
        background=_file(table, "background", folder),
        resize=table.integer("resize", least=1) if "resize" in table else None,
        tokenizer=_file(table, "tokenizer", folder),
        max_tokens=table.integer("max_tokens", 128, least=1) if text else 0,
        embedding=table.text("embedding") if text else table.text("embedding", ""),
        pad_token=table.text("pad_token", "[PAD]") if text else "",
    )
    table.finish()
    if text and declared.tokenizer is None:
        raise table.error("tokenizer", "missing; a text input needs one")
    if kind == "image" and len(shape) != 4:
        raise table.error("shape", f"{list(shape)} is not [batch, channels, height, width]")
    return declared


def _categories(table: TomlTable, features: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    for name in table.names():
        if name not in features:
            raise table.error(name, f"there is no such feature. {did_you_mean(name, features)}")
        if not table.texts(name):
            raise table.error(name, "empty; must be the names of the values 0, 1, …")
    return {name: table.texts(name) for name in table.names()}


def _default_baseline(
    table: TomlTable, fallback: str, kind: Kind, baselines: dict[str, NamedBaseline]
) -> str:
    """Reads the name of a baseline, or a number, which becomes a baseline of that name."""
    value = table.raw("default_baseline") if "default_baseline" in table else fallback
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or kind == "text":
        allowed = "the name of a baseline" + (
            "" if kind == "text" else ", such as 'zero', or a number"
        )
        raise table.error("default_baseline", f"{shortened(value)} is not {allowed}")
    number = table.number("default_baseline")
    if number == 0:
        return ZERO
    baselines.setdefault(str(number), NumberBaseline(number))
    return str(number)


def _output(table: TomlTable, folder: Path) -> OutputDeclaration:
    shape = _shape(table)
    labels = table.texts("labels")
    path = _file(table, "labels_file", folder)
    if path is not None:
        labels = tuple(path.read_text(encoding="utf-8").splitlines())
    output = OutputDeclaration(
        name=table.text("name"),
        datatype=table.text("datatype", "FP32", choices=NUMERIC),
        shape=shape,
        kind=cast("OutputKind", table.text("kind", "values", choices=get_args(OutputKind))),
        labels=labels,
    )
    table.finish()
    if labels and (len(shape) != 2 or shape[1] not in (-1, len(labels))):
        raise table.error("labels", f"{len(labels)} of them for a shape of {list(shape)}")
    return output


def _baselines(table: TomlTable, kind: Kind, folder: Path) -> dict[str, NamedBaseline]:
    found: dict[str, NamedBaseline] = {ZERO: NumberBaseline(0.0)}
    if kind == "text":
        del found[ZERO]
    for name in table.names():
        value = table.raw(name)
        if not isinstance(value, dict):
            found[name] = NumberBaseline(table.number(name))
            continue
        source = table.table(name)
        if "token" in source:
            found[name] = TokenBaseline(source.text("token"))
        else:
            path = _file(source, "file", folder)
            if path is None:
                raise table.error(name, "must be a number, { file, key } or { token }")
            found[name] = FileBaseline(path, source.text("key", name))
        source.finish()
    if kind == "text" and not found:
        found["pad"] = TokenBaseline("[PAD]")
    return found


def _shape(table: TomlTable) -> tuple[int, ...]:
    shape = table.integers("shape")
    if not shape or shape[0] != -1 or any(length < -1 or length == 0 for length in shape):
        raise table.error("shape", f"{list(shape)} is not -1, then lengths above 0 or -1 for any")
    return shape


def _file(table: TomlTable, key: str, folder: Path) -> Path | None:
    if key not in table:
        return None
    path = folder / table.text(key)
    # A declaration may come from elsewhere; it shall not read the rest of the disk.
    if not path.resolve().is_relative_to(folder.resolve()):
        raise table.error(key, f"{table.text(key)!r} is outside of the model's folder")
    if not path.is_file():
        raise table.error(key, f"there is no file {table.text(key)!r} in {folder.name}/")
    return path


def _accuracy(table: TomlTable) -> float | None:
    if "accuracy" not in table:
        return None
    accuracy = table.number("accuracy")
    if not 0 <= accuracy <= 1:
        raise table.error("accuracy", f"{accuracy} is not from 0 to 1")
    return accuracy


def _texts(table: TomlTable) -> dict[str, str]:
    return {key: table.text(key) for key in table.names()}


def _plain(table: TomlTable) -> dict[str, Any]:
    return {key: table.raw(key) for key in table.names()}


def _distinct(table: TomlTable, key: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise table.error(key, f"the names {names} are not distinct")

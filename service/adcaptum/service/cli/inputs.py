"""The inputs of a command line."""

import base64
import binascii
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
import typer

from adcaptum.client import InputInfo, InputKind, ModelInfo
from adcaptum.client.codec.inputs import Inputs
from adcaptum.service.cli.arguments import no_array
from adcaptum.service.cli.tables import csv_rows, listed, parquet_table, read_bytes, typed_rows

STDIN: Final = "-"
"""The name of standard input."""

NAMED: Final = "--input"
NUMERIC: Final = (InputKind.TABULAR, InputKind.TENSOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """The input options of a command line.

    Attributes:
        texts: Texts.
        images: Files of encoded images.
        values: Rows of numbers, written with commas.
        csv: A table; a header chooses and orders columns by the names of the model's features.
        parquet: A Parquet file, likewise.
        npy: A file of one array, or .npz of one array per input.
        inputs: A JSON file: an object with the values of each input, or the values of the only one.
        named: ``NAME=VALUE`` for an input of any kind; a value is a text, a file or a row.
    """

    texts: Sequence[str] = ()
    images: Sequence[Path] = ()
    values: Sequence[str] = ()
    csv: Path | None = None
    parquet: Path | None = None
    npy: Path | None = None
    inputs: Path | None = None
    named: Sequence[str] = ()

    def read(self, describe: Callable[[], ModelInfo]) -> Inputs:
        """Read the inputs.

        Args:
            describe: Fetches the model's description.

        Raises:
            typer.BadParameter: None is given, one cannot be read, or is of no input of the model.
        """
        given = {
            "--text": (InputKind.TEXT, self.texts),
            "--image": (InputKind.IMAGE, self.images),
            "--values": (None, self.values),
            "--csv": (None, self.csv),
            "--parquet": (None, self.parquet),
            "--npy": (None, self.npy),
        }
        used = {option: each for option, each in given.items() if each[1]}
        if not used and not self.named and self.inputs is None:
            raise typer.BadParameter(
                f"give {', '.join(given)}, {NAMED} NAME=VALUE or --inputs", param_hint="inputs"
            )
        reader = _Reader(describe)
        if self.inputs is not None:
            if used or self.named:
                raise typer.BadParameter("it has all inputs", param_hint="--inputs")
            return reader.json(self.inputs)
        if not self.named and len(used) == 1:
            ((option, (kind, value)),) = used.items()
            return reader.alone(option, kind, value)
        found: dict[str, Any] = {}
        for word in self.named:
            name, equals, value = word.partition("=")
            if not equals:
                raise typer.BadParameter(f"{word!r} is not NAME=VALUE", param_hint=NAMED)
            reader.add(found, reader.named(name), value)
        for option, (kind, value) in used.items():
            reader.place(found, option, kind, value)
        return reader.joined(found)


@dataclass(slots=True)
class _Reader:
    """Reads inputs, of which one may come from standard input."""

    describe: Callable[[], ModelInfo]
    _used: list[str] = field(default_factory=list)

    def alone(self, option: str, kind: InputKind | None, value: Any) -> Inputs:
        """Read inputs of one option: of the only input, unless the model has several."""
        if kind is not None:
            return self._read(option, value, None)
        numeric = [each for each in self._declared() if each.kind in NUMERIC]
        declared = numeric[0] if len(numeric) == 1 else None
        rows = self._read(option, value, declared)
        if declared is None or len(self._declared()) == 1 or isinstance(rows, dict):
            return rows
        return {declared.name: rows}

    def place(self, found: dict[str, Any], option: str, kind: InputKind | None, value: Any) -> None:
        """Read an input, and find the one of the model that is of its kind."""
        if option == "--npy" and value.suffix == ".npz":
            for name, array in self._arrays(value, option).items():
                self._put(found, self.named(name, option), array, option)
            return
        kinds = NUMERIC if kind is None else (kind,)
        free = [each for each in self._declared() if each.name not in found]
        fitting = [each for each in free if each.kind in kinds]
        if option == "--npy":
            fitting = free
        if len(fitting) != 1:
            names = listed([each.name for each in fitting or self._declared()])
            reason = f"it may be of {names}" if fitting else f"no input left for it of {names}"
            raise typer.BadParameter(f"{reason}; name it: {NAMED} NAME=VALUE", param_hint=option)
        self._put(found, fitting[0], self._read(option, value, fitting[0]), option)

    def add(self, found: dict[str, Any], declared: InputInfo, word: str) -> None:
        """Read a value of a named input; several are examples of it."""
        value = self._value(declared, word)
        known = found.get(declared.name)
        if known is None:
            found[declared.name] = value
        elif isinstance(known, list) and isinstance(value, list):
            known += value
        elif isinstance(known, np.ndarray) and isinstance(value, np.ndarray):
            if known.shape[1:] != value.shape[1:]:
                raise typer.BadParameter(
                    f"{declared.name}: shapes {list(known.shape)} and {list(value.shape)} do not "
                    "fit together",
                    param_hint=NAMED,
                )
            found[declared.name] = np.concatenate([known, value])
        else:
            raise typer.BadParameter(f"{declared.name}: given in two forms", param_hint=NAMED)

    def named(self, name: str, option: str = NAMED) -> InputInfo:
        """Return the input of a name."""
        for each in self._declared():
            if each.name == name:
                return each
        known = listed([each.name for each in self._declared()], 6) or "none that are known"
        raise typer.BadParameter(
            f"the model has no input {name!r}; it has {known}", param_hint=option
        )

    def joined(self, found: dict[str, Any]) -> Inputs:
        """Return all inputs, with as many examples each."""
        counts = {name: len(value) for name, value in found.items() if hasattr(value, "__len__")}
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{name}: {count}" for name, count in counts.items())
            raise typer.BadParameter(f"different numbers of examples: {shown}", param_hint="inputs")
        return found

    def json(self, path: Path) -> Inputs:
        """Read the values of all inputs from a JSON file."""
        option = "--inputs"
        content, source = self._content(path, option)
        try:
            written = json.loads(content)
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise typer.BadParameter(f"{source}: no JSON: {error}", param_hint=option) from error
        if not isinstance(written, dict):
            declared = self._declared()
            return self._written(written, declared[0] if len(declared) == 1 else None, source)
        return {
            name: self._written(value, self.named(name, option), f"{source}: {name}")
            for name, value in written.items()
        }

    def _written(self, value: Any, declared: InputInfo | None, source: str) -> Any:
        """Return the values of an input; a text of an image is its file in base64."""
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not value:
            raise typer.BadParameter(
                f"{source}: {value!r:.60}; must be a list of examples", param_hint="--inputs"
            )
        image = declared is not None and declared.kind is InputKind.IMAGE
        if not image or not isinstance(value[0], str):
            return value
        try:
            return [base64.b64decode(each, validate=True) for each in value]
        except (binascii.Error, TypeError, ValueError) as error:
            raise typer.BadParameter(
                f"{source}: an image must be a PNG or JPEG file in base64: {error}",
                param_hint="--inputs",
            ) from error

    def _read(self, option: str, value: Any, declared: InputInfo | None) -> Any:
        match option:
            case "--text":
                return [self._text(each, option) for each in value]
            case "--image":
                return [self._content(each, option)[0] for each in value]
            case "--values":
                rows = [row for word in value for row in self._rows(word)]
                return typed_rows(rows, declared, option)
            case "--csv":
                return csv_rows(*self._content(value, option), declared, option)
            case "--parquet":
                return parquet_table(*self._content(value, option), option)
        return self._array_file(value, option)

    def _array_file(self, path: Path, option: str) -> Any:
        return (self._arrays if path.suffix == ".npz" else self._array)(path, option)

    def _value(self, declared: InputInfo, word: str) -> Any:
        """Read the value of a named input."""
        hint = f"{NAMED} {declared.name}"
        if declared.kind is InputKind.TEXT:
            return [self._text(word, hint)]
        path = Path(word)
        if path.suffix == ".npy":
            return self._array(path, hint)
        if declared.kind is InputKind.IMAGE:
            return [self._content(path, hint)[0]]
        if path.suffix == ".parquet":
            return parquet_table(*self._content(path, hint), hint)
        if word == STDIN or path.suffix == ".csv":
            return csv_rows(*self._content(path, hint), declared, hint)
        return typed_rows([word], declared, hint)

    def _put(self, found: dict[str, Any], declared: InputInfo, value: Any, option: str) -> None:
        if declared.name in found:
            raise typer.BadParameter(f"{declared.name!r} is given twice", param_hint=option)
        found[declared.name] = value

    def _declared(self) -> Sequence[InputInfo]:
        model = self.describe()
        return model.default.inputs if model.versions else ()

    def _text(self, word: str, option: str) -> str:
        if word != STDIN:
            return word
        content, source = self._content(Path(STDIN), option)
        try:
            return content.decode().removesuffix("\n")
        except UnicodeDecodeError as error:
            raise typer.BadParameter(f"{source}: {error}", param_hint=option) from error

    def _rows(self, word: str) -> list[str]:
        if word != STDIN:
            return [word]
        return [line for line in self._text(word, "--values").splitlines() if line.strip()]

    def _content(self, path: Path, option: str) -> tuple[bytes, str]:
        """Return the bytes of a file and its name in messages."""
        if str(path) != STDIN:
            return read_bytes(path, option), str(path)
        if self._used:
            raise typer.BadParameter(
                f"standard input is {self._used[0]}'s already", param_hint=option
            )
        self._used.append(option)
        return sys.stdin.buffer.read(), "standard input"

    def _array(self, path: Path, option: str) -> Any:
        content, source = self._content(path, option)
        try:
            return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise typer.BadParameter(f"{source}: {no_array(error)}", param_hint=option) from error

    def _arrays(self, path: Path, option: str) -> dict[str, Any]:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
            raise typer.BadParameter(f"{path}: {no_array(error)}", param_hint=option) from error

"""Rows of numbers on a command line, in CSV and in Parquet files."""

import csv
import importlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt
import typer

from adcaptum.client import FeatureInfo, InputInfo
from adcaptum.client.codec.tables import allowed, category

Rows = npt.NDArray[np.float64] | npt.NDArray[np.int64]
Line = tuple[str, list[str]]
"""The place of a row, such as "line 2", and its cells."""


def typed_rows(words: Sequence[str], declared: InputInfo | None, option: str) -> Rows:
    """Read rows of numbers with commas between them.

    Raises:
        typer.BadParameter: One cannot be read; the message names row, column and value.
    """
    lines = [(f"row {number}", word.split(",")) for number, word in enumerate(words, 1)]
    return _Reader("", declared, option).numbers(lines)


def csv_rows(content: bytes, source: str, declared: InputInfo | None, option: str) -> Rows:
    """Read a table; a header chooses and orders columns by the names of the input's features.

    Raises:
        typer.BadParameter: It cannot be read; the message names file, line, column and value.
    """
    reader = _Reader(source, declared, option)
    lines: list[Line] = []
    try:
        parsed = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        every = ((f"line {parsed.line_num}", row) for row in parsed)
        lines += [line for line in every if any(cell.strip() for cell in line[1])]
    except UnicodeDecodeError as error:
        reader.refuse(f"must be in UTF-8: {error}")
    except csv.Error as error:
        reader.refuse(str(error))
    if lines and reader.is_header(lines[0][1]):
        lines = reader.arranged(lines)
    return reader.numbers(lines)


def parquet_table(content: bytes, source: str, option: str) -> Any:
    """Read a Parquet file as an Arrow table, whose columns the client chooses and checks.

    Raises:
        typer.BadParameter: It is none.
        ImportError: pyarrow is not installed.
    """
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow: pip install 'adcaptum[parquet]'") from error
    try:
        return parquet.read_table(io.BytesIO(content))
    except (ValueError, OSError) as error:
        raise typer.BadParameter(f"{source}: {error}", param_hint=option) from error


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return the first few names for a message, with the number of the others."""
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} others"


class _Reader:
    """Reads the rows of one source for one input."""

    def __init__(self, source: str, declared: InputInfo | None, option: str) -> None:
        self._source = source
        self._declared = declared
        self._option = option
        self._features: Sequence[FeatureInfo] = declared.features if declared is not None else ()
        self._titles: list[str] = [each.name for each in self._features]
        # Numbers of -1 may be any; inputs of several dimensions have no rows of a fixed length.
        shape = declared.shape if declared is not None else ()
        self._width = shape[1] if len(shape) == _TABLE and shape[1] > 0 else None

    def refuse(self, reason: str, place: str = "", column: int | None = None) -> NoReturn:
        """Raise the error of a place."""
        where = [place] if place else []
        if column is not None:
            named = column < len(self._titles)
            where.append(f"column {self._titles[column]!r}" if named else f"column {column + 1}")
        parts = [self._source, ", ".join(where), reason]
        raise typer.BadParameter(": ".join(filter(None, parts)), param_hint=self._option)

    def is_header(self, cells: Sequence[str]) -> bool:
        """True if a first line has names: of features, or words that are no values."""
        stripped = [cell.strip() for cell in cells]
        if {each.name for each in self._features} & set(stripped):
            return True
        return not all(
            _is_number(cell) or category(cell, self._feature(place)) is not None
            for place, cell in enumerate(stripped)
        )

    def arranged(self, lines: Sequence[Line]) -> list[Line]:
        """Choose and order the columns by the input's features; without names, keep them."""
        header = [cell.strip() for cell in lines[0][1]]
        if not self._features:
            self._titles = header
            return list(lines[1:])
        names = [each.name for each in self._features]
        missing = [name for name in names if name not in header]
        if len(missing) == len(names):
            word = next((cell for cell in header if not _is_number(cell)), header[0])
            self.refuse(
                f"the first line is a header, because {word[:40]!r} is not a number, and names "
                f"none of the model's {len(names)} features ({listed(names)})"
            )
        if missing:
            self.refuse(f"no column {listed(missing)}; there are {listed(header, 6)}")
        columns = [header.index(name) for name in names]
        for place, cells in lines[1:]:
            if len(cells) <= max(columns):
                self.refuse(f"{len(cells)} cells; the header has {len(header)}", place)
        return [(place, [cells[column] for column in columns]) for place, cells in lines[1:]]

    def numbers(self, lines: Sequence[Line]) -> Rows:
        """Convert rows to an array: of whole numbers, if all are."""
        if not lines:
            self.refuse("there are no rows")
        first, cells = lines[0]
        width, whose = len(cells), f"{first} has {len(cells)}"
        if self._width is not None and self._declared is not None:
            width, whose = self._width, f"input {self._declared.name!r} takes {self._width}"
        for place, row in lines:
            if len(row) != width:
                self.refuse(f"{_counted(len(row))}; {whose}", place)
        rows = [
            [self._number(cell.strip(), place, column) for column, cell in enumerate(row)]
            for place, row in lines
        ]
        # The client converts numpy's default datatypes to that of the model's input.
        if all(isinstance(number, int) for row in rows for number in row):
            return self._shaped(np.array(rows, dtype=np.int64))
        return self._shaped(np.array(rows, dtype=np.float64))

    def _shaped(self, rows: Any) -> Any:
        single = self._declared is not None and len(self._declared.shape) == 1
        return rows[:, 0] if single and rows.shape[1] == 1 else rows

    def _number(self, cell: str, place: str, column: int) -> float | int:
        feature = self._feature(column)
        found = category(cell, feature)
        if found is not None:
            return found
        if _is_id(cell):
            return int(cell)
        if not _is_number(cell):
            reason = "is empty" if not cell else f"{cell[:60]!r} is not a number"
            of_categories = f"; {allowed(feature)}" if feature and feature.categories else ""
            self.refuse(reason + of_categories, place, column)
        if self._declared is not None and self._declared.datatype.startswith(_WHOLE):
            self.refuse(
                f"{cell[:60]!r} is not a whole number; input {self._declared.name!r} takes "
                f"{self._declared.datatype}",
                place,
                column,
            )
        return float(cell)

    def _feature(self, column: int) -> FeatureInfo | None:
        return self._features[column] if column < len(self._features) else None


_TABLE: Final = 2
_WHOLE: Final = ("INT", "UINT")


def read_bytes(path: Path, option: str) -> bytes:
    """Read a file.

    Raises:
        typer.BadParameter: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint=option) from error


def _counted(cells: int) -> str:
    return "1 number" if cells == 1 else f"{cells} numbers"


def _is_id(cell: str) -> bool:
    """True for a whole number that a tensor of INT64 can hold."""
    try:
        return -(2**63) <= int(cell) < 2**63
    except ValueError:
        return False


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

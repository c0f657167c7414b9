"""The inputs of a command line."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import typer

from adcaptum.client import ModelInfo
from adcaptum.client.codec.inputs import Inputs
from adcaptum.service.cli.arguments import cause, load_array


@dataclass(frozen=True, slots=True)
class InputOptions:
    """The input options of a command line, exactly one of which is used.

    Attributes:
        texts: Texts.
        images: Files of encoded images.
        values: Rows of numbers, written with commas.
        csv: A table; a header chooses and orders columns by the names of the model's features.
        npy: A file of one array, or .npz of one array per input.
    """

    texts: Sequence[str]
    images: Sequence[Path]
    values: Sequence[str]
    csv: Path | None
    npy: Path | None

    def read(self, describe: Callable[[], ModelInfo]) -> Inputs:
        """Read the inputs.

        Args:
            describe: Fetches the model's description; called for a table with a header only.

        Raises:
            typer.BadParameter: None or several options are used, or one cannot be read.
        """
        kinds = (self.texts, self.images, self.values, self.csv, self.npy)
        if sum(bool(kind) for kind in kinds) != 1:
            raise typer.BadParameter(
                "give one of --text, --image, --values, --csv and --npy", param_hint="inputs"
            )
        if self.texts:
            return list(self.texts)
        if self.images:
            return [_read_bytes(path) for path in self.images]
        if self.csv is not None:
            return _read_csv(self.csv, describe)
        if self.npy is not None:
            return _read_npy(self.npy)
        return _numbers([row.split(",") for row in self.values], "--values")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="--image") from error


def _read_npy(path: Path) -> Inputs:
    if path.suffix != ".npz":
        return load_array(path, "--npy")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path}: {cause(error)}", param_hint="--npy") from error


def _read_csv(path: Path, describe: Callable[[], ModelInfo]) -> npt.NDArray[np.float64 | np.int64]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise typer.BadParameter(f"{path}: {cause(error)}", param_hint="--csv") from error
    if rows and not all(_is_number(cell) for cell in rows[0]):
        rows = _arranged(rows, describe())
    return _numbers(rows, "--csv")


def _arranged(rows: Sequence[Sequence[str]], model: ModelInfo) -> list[list[str]]:
    """Choose and order the columns by the model's features; without names, keep them."""
    header = [cell.strip() for cell in rows[0]]
    inputs = model.default.inputs if model.versions else ()
    features = [each.name for each in inputs[0].features] if inputs else []
    if not features:
        return [list(row) for row in rows[1:]]
    if missing := [name for name in features if name not in header]:
        raise typer.BadParameter(_missing(missing, features, header), param_hint="--csv")
    columns = [header.index(name) for name in features]
    short = [number for number, row in enumerate(rows, 1) if len(row) <= max(columns)]
    if short:
        raise typer.BadParameter(f"line {short[0]} is too short", param_hint="--csv")
    return [[row[column] for column in columns] for row in rows[1:]]


def _missing(missing: Sequence[str], features: Sequence[str], header: Sequence[str]) -> str:
    if len(missing) == len(features):
        word = next(cell for cell in header if not _is_number(cell))
        return (
            f"the first line is a header, because {word[:40]!r} is not a number, and names "
            f"none of the model's {len(features)} features ({listed(features)})"
        )
    return f"no column {listed(missing)}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return the first few names for a message, with the number of the others."""
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} others"


def _numbers(rows: Sequence[Sequence[str]], option: str) -> npt.NDArray[np.float64 | np.int64]:
    if not rows:
        raise typer.BadParameter("there are no rows", param_hint=option)
    if len({len(row) for row in rows}) > 1:
        raise typer.BadParameter("the rows are not equally long", param_hint=option)
    if wrong := [cell for row in rows for cell in row if not _is_number(cell)]:
        raise typer.BadParameter(f"{wrong[0]!r} is not a number", param_hint=option)
    # The client converts numpy's default datatypes to that of the model's input.
    if all(_is_id(cell) for row in rows for cell in row):
        return np.array([[int(cell) for cell in row] for row in rows], dtype=np.int64)
    return np.array([[float(cell) for cell in row] for row in rows], dtype=np.float64)


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

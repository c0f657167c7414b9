"""Options of several commands."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Timeout: TypeAlias = Annotated[
    float | None, typer.Option(min=0.001, metavar="SECONDS", help="Seconds that the call may take.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ModelName: TypeAlias = Annotated[str, typer.Argument(help="The model's name.")]
Version: TypeAlias = Annotated[str | None, typer.Option(help="The version that answers.")]
Alias: TypeAlias = Annotated[str | None, typer.Option(help="The alias of that version.")]
Texts: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--text", metavar="TEXT", help="A text, or - (standard input); may be repeated."),
]
Images: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option("--image", metavar="FILE", help="A PNG or JPEG file, or -; may be repeated."),
]
Values: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--values", metavar="1,2,3", help="A row of numbers, or -; may be repeated."),
]
Csv: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="A table of numbers, or -; a header selects the model's features."
    ),
]
Parquet: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A Parquet file, whose columns are chosen likewise."),
]
Named: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=VALUE",
        help="An input of several: a text, an image's file, a row, or a file of rows or an array.",
    ),
]
InputsFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--inputs", metavar="FILE", help="A JSON file, or -: an object with each input's values."
    ),
]
Npy: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A .npy file, or .npz with an array per input.")
]
Restart = Annotated[
    bool,
    typer.Option(
        "--restart",
        help="Replace all processes first, one after another; the server must allow it.",
    ),
]

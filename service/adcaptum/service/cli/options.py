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
    list[str] | None, typer.Option("--text", metavar="TEXT", help="A text; may be repeated.")
]
Images: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option("--image", metavar="FILE", help="A PNG or JPEG file; may be repeated."),
]
Values: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--values", metavar="1,2,3", help="A row of numbers; may be repeated."),
]
Csv: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A table of numbers; a header selects the model's features."),
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

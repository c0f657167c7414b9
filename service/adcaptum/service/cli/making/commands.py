"""The commands init, check, package, unpack and convert."""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from adcaptum.service.cli import options
from adcaptum.service.cli.making.guarded import guarded
from adcaptum.service.cli.making.views import Bar, as_json_object, print_trial

SECONDS: Final = 10.0
"""The time for each answer of `check`, by default."""

Into: TypeAlias = Annotated[Path, typer.Option(metavar="FOLDER", help="The repository.")]
Labels: TypeAlias = Annotated[
    str | None, typer.Option(metavar="A,B,C", help="The classes of the output.")
]
Folder: TypeAlias = Annotated[Path, typer.Argument(help="The model's folder, such as models/wine.")]


def init(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    *,
    factory: Annotated[
        str,
        typer.Option(
            metavar="MODULE:CALLABLE", help="Returns the nn.Module; importable from here."
        ),
    ],
    example: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="A .npy file, or .npz with an array per input; the batch first."
        ),
    ],
    argument: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An argument of the factory. May be repeated."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Its state dict: safetensors, or .pt without pickled objects. By default as made.",
        ),
    ] = None,
    labels: Labels = None,
    into: Into = Path("models"),
) -> None:
    """Make a model's folder from a factory: its code, weights, example and model.toml."""
    arguments = dict(_argument(word) for word in argument or [])
    with guarded("init"):
        from adcaptum.service.authoring import files, scaffold  # noqa: PLC0415 - they import torch

        made = scaffold.scaffold(
            name,
            factory,
            files.examples(example),
            into,
            arguments=arguments,
            weights=None if weights is None else files.weights(weights),
            labels=labels.split(",") if labels else (),
        )
    _print_made(made.folder, made.declared)
    for path in made.code:
        typer.echo(f"  code/{path}")
    if weights is None:
        typer.echo("The weights are those that the factory made; --weights FILE takes others.")
    allow = f" --allowed-packages {made.allow}" if made.allow else ""
    if made.allow:
        typer.echo(
            f"{made.allow} is an installed package: the operator of a server has to allow it."
        )
    typer.echo(f"Next: adcaptum check {made.folder}{allow}")


def check(
    folder: Folder,
    *,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="The most time for each answer.")
    ] = SECONDS,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Ask this method only. May be repeated."),
    ] = None,
    device: Annotated[str, typer.Option(help="The device, such as cpu or cuda.")] = "cpu",
    allowed_packages: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="As for the command serve.")
    ] = "",
    as_json: options.AsJson = False,
) -> None:
    """Load a model, ask it Predict and every method about its example, and print what works.

    The exit code is 1 if it does not load or predict, or fails at what it should do.
    """
    with guarded("check", as_json=as_json):
        from adcaptum.service.authoring import trial  # noqa: PLC0415 - it imports torch

        with Bar() as bar:
            result = trial.trial(
                folder,
                seconds=seconds,
                report=bar.show,
                methods=method or (),
                # Its own lines would tear the bar apart, and the table has the reasons.
                settings={
                    "device": device,
                    "allowed_packages": allowed_packages,
                    "log_level": "error",
                },
            )
        if as_json:
            typer.echo(json.dumps(as_json_object(result), indent=2, ensure_ascii=False))
        else:
            print_trial(folder, result)
    if not result.passed:
        raise typer.Exit(1)


def package(
    folder: Folder,
    *,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The archive; by default NAME.tar.")
    ] = None,
) -> None:
    """Write a model's folder into one archive; equal folders give equal bytes.

    The archive begins with SHA256SUMS. The command unpack checks it and puts the model into a
    repository.
    """
    with guarded("package"):
        from adcaptum.service.authoring import archive  # noqa: PLC0415 - it imports torch

        packed = archive.pack(folder, output)
    typer.echo(f"{packed.sha256}  {packed.path}")


def unpack(
    archive: Annotated[Path, typer.Argument(help="An archive of the command package.")],
    *,
    into: Into = Path("models"),
) -> None:
    """Put the model of an archive into a repository, once all its checksums are right."""
    with guarded("unpack"):
        from adcaptum.service.authoring.archive import unpack as run  # noqa: PLC0415 - likewise

        folder = run(archive, into)
    typer.echo(f"{folder}: all checksums are right")


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="A program of torch.export (.pt2), a TorchScript archive (.pt) or a folder of a "
            "Hugging Face model."
        ),
    ],
    *,
    name: Annotated[
        str | None, typer.Option(help="The model's name; by default that of the file or folder.")
    ] = None,
    example: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A .npy file, or .npz with an array per input; needed for TorchScript.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Of a Hugging Face folder; by default that of its architecture."),
    ] = None,
    labels: Labels = None,
    into: Into = Path("models"),
) -> None:
    """Make a model's folder from an exported model.

    Loading a .pt2 or .pt file can run code that it contains: convert only what you trust. The
    model.toml then has its SHA-256, and servers load no other file in its place.
    """
    with guarded("convert"):
        from adcaptum.service.authoring import conversion, files  # noqa: PLC0415 - likewise

        folder, declared = conversion.convert(
            source,
            into,
            name=name,
            examples=None if example is None else files.examples(example),
            task=task,
            labels=labels.split(",") if labels else (),
        )
    _print_made(folder, declared)
    typer.echo(f"Next: adcaptum check {folder}")


def _argument(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if not equals or not name.isidentifier():
        raise typer.BadParameter(f"{word!r} is not NAME=VALUE", param_hint="--argument")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        # A text needs no quotes here.
        return name, value


def _print_made(folder: Path, declared: Any) -> None:
    typer.echo(f"{folder}: made")
    for kind in ("inputs", "outputs"):
        for each in declared[kind]:
            facts = [f"{key} {each[key]}" for key in ("kind", "datatype", "shape") if key in each]
            typer.echo(f"  {kind[:-1]} {each['name']}: {', '.join(facts)}")

"""The commands and their options."""

import dataclasses
import functools
import importlib
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from adcaptum.client import ExplainOptions
from adcaptum.client.codec.protojson import to_json
from adcaptum.client.drawing.terminal import render_explanations, render_labels, render_prediction
from adcaptum.service.cli import keys, options
from adcaptum.service.cli.inputs import InputOptions
from adcaptum.service.cli.json_errors import JsonErrors
from adcaptum.service.cli.listing import workers_table
from adcaptum.service.cli.making import commands as making
from adcaptum.service.cli.methods import method_view, methods_view
from adcaptum.service.cli.models import commands as models
from adcaptum.service.cli.progress import follow
from adcaptum.service.cli.question import QuestionOptions
from adcaptum.service.cli.serve import serve
from adcaptum.service.cli.server_options import ServerOptions, asks_server
from adcaptum.service.cli.session import connected
from adcaptum.service.nearest import did_you_mean

app = typer.Typer(
    help="Predictions of models and their explanations.",
    cls=JsonErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adcaptum {importlib.metadata.version('adcaptum')}")
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Predictions of models and their explanations."""


app.command()(serve)
app.add_typer(keys.app, name="keys")


@app.command()
@asks_server
def predict(
    model: options.ModelName,
    *,
    text: options.Texts = None,
    image: options.Images = None,
    values: options.Values = None,
    csv: options.Csv = None,
    parquet: options.Parquet = None,
    npy: options.Npy = None,
    named: options.Named = None,
    inputs: options.InputsFile = None,
    max_labels: Annotated[
        int | None, typer.Option(min=1, help="The most labels to show; 5 by default.")
    ] = None,
    version: options.Version = None,
    alias: options.Alias = None,
    timeout: options.Timeout = None,
    as_json: options.AsJson = False,
    server: ServerOptions,
) -> None:
    """Print a model's prediction."""
    chosen = InputOptions(
        texts=text or (), images=image or (), values=values or (), csv=csv, parquet=parquet,
        npy=npy, inputs=inputs, named=named or (),
    )  # fmt: skip
    with connected(server, as_json=as_json) as client:
        describe = functools.cache(lambda: client.model(model, version=version, alias=alias))
        result = client.predict(
            model,
            chosen.read(describe),
            version=version,
            alias=alias,
            max_labels=max_labels,
            timeout=timeout,
        )
    if as_json:
        _print_json(to_json(result.message))
    else:
        render_prediction(result, Console())


@app.command()
@asks_server
def explain(
    model: options.ModelName,
    *,
    text: options.Texts = None,
    image: options.Images = None,
    values: options.Values = None,
    csv: options.Csv = None,
    parquet: options.Parquet = None,
    npy: options.Npy = None,
    named: options.Named = None,
    inputs: options.InputsFile = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A question of the model: see the command models. Options replace its fields.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET",
            help="An index, a label, top:K or all; by default the largest output. May be repeated.",
        ),
    ] = None,
    neuron: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER:INDEX",
            help="Explain this element of a layer, as in features:3,0..2,1. May be repeated.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Its name: see the command methods. By default the preset's. May be repeated.",
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A parameter of the method: n_steps=50, of=saliency, of.n_steps=20.",
        ),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[INPUT=]TEXT",
            help="A number, a name, blur:SIGMA, FILE.npy; or for methods that take a distribution, "
            "background:COUNT or distribution:FILE.npy. For each input one.",
        ),
    ] = None,
    feature_mask: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[INPUT=]FILE",
            help="A .npy file in which elements of equal numbers are one feature; or of an image "
            "superpixels or superpixels:COUNT. For each input one.",
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(metavar="NAME[@input]", help="Explain by this layer instead of the inputs."),
    ] = None,
    layer_baseline: Annotated[
        list[str] | None,
        typer.Option(help="The layer's baseline: a number, FILE.npy or distribution:FILE.npy."),
    ] = None,
    layer_mask: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A .npy file of the layer's features."),
    ] = None,
    through: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER:INDEX", help="Explain the output through this element of a layer."
        ),
    ] = None,
    max_rows: Annotated[int | None, typer.Option(min=1, help="The most rows to evaluate.")] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="The relative error to reach, such as 0.05."),
    ] = None,
    on_deadline: Annotated[
        Literal["fail", "partial"] | None, typer.Option(help="The answer when the time is over.")
    ] = None,
    max_features: Annotated[
        int | None, typer.Option(min=1, help="The most features to keep.")
    ] = None,
    channel_reduction: Annotated[
        Literal["none", "sum"] | None,
        typer.Option(help="sum: one number per pixel of an image instead of one per channel."),
    ] = None,
    max_labels: Annotated[
        int | None, typer.Option(min=1, help="Also print the prediction: at most so many labels.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The seed of sampling methods.")] = None,
    priority: Annotated[
        Literal["interactive", "batch"] | None,
        typer.Option(help="batch uses only what other requests leave idle."),
    ] = None,
    cache: Annotated[
        Literal["use", "bypass"] | None,
        typer.Option(help="bypass computes it, even if the answer is stored."),
    ] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Give the same bits each time; takes longer.")
    ] = False,
    version: options.Version = None,
    alias: options.Alias = None,
    timeout: options.Timeout = None,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw it into this PNG file.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Show the progress.")] = False,
    as_json: options.AsJson = False,
    server: ServerOptions,
) -> None:
    """Print the contribution of each part of an input to a model's output."""
    chosen = InputOptions(
        texts=text or (), images=image or (), values=values or (), csv=csv, parquet=parquet,
        npy=npy, inputs=inputs, named=named or (),
    )  # fmt: skip
    question = QuestionOptions(
        preset=preset,
        targets=target or [],
        neurons=neuron or [],
        methods=method or [],
        params=param or [],
        baselines=baseline or [],
        feature_masks=feature_mask or [],
        layer=layer,
        layer_baselines=layer_baseline or [],
        layer_masks=layer_mask or [],
        through=through,
        max_rows=max_rows,
        tolerance=tolerance,
        channel_reduction=channel_reduction,
        max_features=max_features,
        max_labels=max_labels,
        seed=seed,
        deterministic=deterministic,
        # Drawings show the image, or the features' values.
        drawn=png is not None or not as_json,
    )
    with connected(server, as_json=as_json) as client:
        if png is not None:
            # Fails before anything is computed: without its folder, and without matplotlib.
            if not png.parent.is_dir():
                raise typer.BadParameter(f"{png.parent} is not a folder", param_hint="--png")
            importlib.import_module("adcaptum.client.drawing.png")
        describe = functools.cache(lambda: client.model(model, version=version, alias=alias))
        asked = question.read(describe)
        asked.update(
            ExplainOptions(
                version=version,
                alias=alias,
                on_deadline=on_deadline,
                priority=priority,
                cache=cache,
            )
        )
        given = chosen.read(describe)
        if stream:
            events = client.explain_stream(model, given, timeout=timeout, **asked)
            result = follow(events, Console(file=sys.stderr))
        else:
            result = client.explain(model, given, timeout=timeout, **asked)
        if png is not None:
            result.save_png(png)
    if as_json:
        _print_json(to_json(result.message))
    else:
        if max_labels is not None:
            render_labels(result.predictions, Console())
        render_explanations(result, Console())


@app.command()
@asks_server
def methods(
    model: Annotated[
        str | None, typer.Argument(help="Also print which of them this model can run.")
    ] = None,
    *,
    about: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this method, in full.")
    ] = None,
    as_json: options.AsJson = False,
    server: ServerOptions,
) -> None:
    """List the attribution methods and their parameters."""
    with connected(server, as_json=as_json) as client:
        listed = client.methods(model)
    if about is not None:
        names = [each.name for each in listed]
        if about not in names:
            problem = f"there is no method {about!r}. {did_you_mean(about, names)}"
            raise typer.BadParameter(problem, param_hint="--about")
        listed = tuple(each for each in listed if each.name == about)
    if as_json:
        _print_json({"methods": [to_json(each.message) for each in listed]})
    elif about is not None:
        Console().print(method_view(listed[0]))
    else:
        Console().print(methods_view(listed))


@app.command()
@asks_server
def workers(
    *,
    restart: options.Restart = False,
    as_json: options.AsJson = False,
    server: ServerOptions,
) -> None:
    """List the worker processes with their devices and models."""
    with connected(server, as_json=as_json) as client:
        listed = client.restart_workers() if restart else client.workers()
    if as_json:
        _print_json({"workers": [dataclasses.asdict(each) for each in listed]})
    else:
        Console().print(workers_table(listed))


app.add_typer(models.app, name="models")

for command in (making.init, making.check, making.package, making.unpack, making.convert):
    app.command()(command)


def _print_json(result: object) -> None:
    typer.echo(json.dumps(result, indent=2, ensure_ascii=False))

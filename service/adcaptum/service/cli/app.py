"""The commands."""

import importlib
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from adcaptum.client.codec.requests import ExplainOptions
from adcaptum.client.connection import DEFAULT_ADDRESS
from adcaptum.client.drawing.terminal import render_explanations, render_labels, render_prediction
from adcaptum.service.cli import options
from adcaptum.service.cli.arguments import (
    parse_baseline,
    parse_layer,
    parse_layer_baselines,
    parse_mask,
    parse_method,
    parse_neuron,
    parse_target,
)
from adcaptum.service.cli.inputs import InputOptions
from adcaptum.service.cli.listing import model_view, models_table
from adcaptum.service.cli.methods import method_view, methods_view
from adcaptum.service.cli.plain import plain
from adcaptum.service.cli.progress import follow
from adcaptum.service.cli.serve import run_server
from adcaptum.service.cli.session import connected

app = typer.Typer(
    help="What a model says, and why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def serve(
    repository: Annotated[Path | None, typer.Argument(help="The folder of models.")] = None,
    *,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="gRPC; 0 picks a free one.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Metrics and health; 0 picks one.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...")] = None,
    target_batch_seconds: Annotated[
        float | None, typer.Option(help="How long a batch may keep a prediction waiting.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Serve a folder of models.

    What is not given is read from the environment (ADCAPTUM_REPOSITORY, ADCAPTUM_PORT, ...).
    """
    run_server(
        {
            "repository": repository,
            "host": host,
            "port": port,
            "http_port": http_port,
            "device": device,
            "target_batch_seconds": target_batch_seconds,
            "log_level": log_level,
        }
    )


@app.command()
def predict(
    model: options.ModelName,
    *,
    text: options.Texts = None,
    image: options.Images = None,
    values: options.Values = None,
    csv: options.Csv = None,
    npy: options.Npy = None,
    top: Annotated[int, typer.Option(min=1, help="How many labels to show.")] = 5,
    version: options.Version = None,
    alias: options.Alias = None,
    timeout: options.Timeout = None,
    as_json: options.AsJson = False,
    address: options.Address = DEFAULT_ADDRESS,
    tls: options.Tls = False,
    ca: options.RootCertificates = None,
) -> None:
    """Ask a model for its answer."""
    chosen = InputOptions(text or [], image or [], values or [], csv, npy)
    with connected(address, tls=tls, ca=ca) as client:
        result = client.predict(
            model,
            chosen.read(lambda: client.model(model, version=version, alias=alias)),
            version=version,
            alias=alias,
            top_k=top,
            timeout=timeout,
        )
    if as_json:
        _print_json(result)
    else:
        render_prediction(result, Console())


@app.command()
def explain(
    model: options.ModelName,
    *,
    text: options.Texts = None,
    image: options.Images = None,
    values: options.Values = None,
    csv: options.Csv = None,
    npy: options.Npy = None,
    target: Annotated[
        str | None,
        typer.Option(help="A number, numbers per example, a label, top:K or all; else the best."),
    ] = None,
    method: Annotated[str | None, typer.Option(help="See the command methods.")] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Such as n_steps=50, of=saliency, of.n_steps=20."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="A number, a name, blur:SIGMA, FILE.npy, or samples:COUNT for a distribution."
        ),
    ] = None,
    feature_mask: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .npy file: equal numbers are one feature."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(metavar="NAME[@input]", help="Explain this layer, not the inputs."),
    ] = None,
    layer_baseline: Annotated[
        list[str] | None,
        typer.Option(help="What the layer is compared with: a number or FILE.npy."),
    ] = None,
    neuron: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER:INDEX", help="Explain this number of a layer, as in features:3,0..2,1."
        ),
    ] = None,
    max_rows: Annotated[int | None, typer.Option(min=1, help="What it may cost.")] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="How far it may be off: 0.05 of the attributions' magnitudes."),
    ] = None,
    on_deadline: Annotated[
        Literal["fail", "partial"] | None, typer.Option(help="What to answer when time is over.")
    ] = None,
    top_features: Annotated[int | None, typer.Option(min=1, help="Keep only so many.")] = None,
    sum_channels: Annotated[
        bool, typer.Option("--sum-channels", help="One number per pixel of an image.")
    ] = False,
    top: Annotated[
        int | None, typer.Option(min=1, help="Also show what the model says: so many labels.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Where sampling methods begin.")] = 0,
    priority: Annotated[
        Literal["interactive", "batch"] | None,
        typer.Option(help="batch: only while nobody else wants the device."),
    ] = None,
    bypass_cache: Annotated[
        bool, typer.Option("--bypass-cache", help="Have it computed whatever was asked before.")
    ] = False,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same to the last bit; takes longer.")
    ] = False,
    version: options.Version = None,
    alias: options.Alias = None,
    timeout: options.Timeout = None,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw it into this file.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Show how far it is.")] = False,
    as_json: options.AsJson = False,
    address: options.Address = DEFAULT_ADDRESS,
    tls: options.Tls = False,
    ca: options.RootCertificates = None,
) -> None:
    """Ask what each part of an input contributed to a model's answer."""
    chosen = InputOptions(text or [], image or [], values or [], csv, npy)
    asked = ExplainOptions(
        version=version,
        alias=alias,
        target=parse_target(target),
        method=parse_method(method, param or []),
        baselines=parse_baseline(baseline),
        feature_masks=parse_mask(feature_mask),
        layer=parse_layer(layer),
        layer_baselines=parse_layer_baselines(layer_baseline or []),
        neuron=parse_neuron(neuron),
        max_rows=max_rows,
        tolerance=tolerance,
        on_deadline=on_deadline,
        top_features=top_features,
        sum_channels=sum_channels,
        # Drawings show the image, or the features' values.
        return_inputs=png is not None or not as_json,
        return_predictions=None if top is None else True,
        top_k=top,
        seed=seed,
        priority=priority,
        cache="bypass" if bypass_cache else None,
        deterministic=deterministic,
    )
    with connected(address, tls=tls, ca=ca) as client:
        if png is not None:
            # Without matplotlib this fails, and nothing is asked for that cannot be drawn.
            importlib.import_module("adcaptum.client.drawing.png")
        inputs = chosen.read(lambda: client.model(model, version=version, alias=alias))
        if stream:
            events = client.explain_stream(model, inputs, timeout=timeout, **asked)
            result = follow(events, Console(file=sys.stderr))
        else:
            result = client.explain(model, inputs, timeout=timeout, **asked)
        if png is not None:
            result.save_png(png)
    if as_json:
        _print_json(result)
    else:
        if top is not None:
            render_labels(result.predictions, Console())
        render_explanations(result, Console())


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Only this one, with its layers.")] = None,
    as_json: options.AsJson = False,
    address: options.Address = DEFAULT_ADDRESS,
    tls: options.Tls = False,
    ca: options.RootCertificates = None,
) -> None:
    """List the models, or describe one."""
    with connected(address, tls=tls, ca=ca) as client:
        if name is not None:
            described = client.model(name)
            if as_json:
                _print_json(described)
            else:
                Console().print(model_view(described))
            return
        listed = client.models()
    if as_json:
        _print_json(listed)
    else:
        Console().print(models_table(listed))


@app.command()
def methods(
    model: Annotated[str | None, typer.Argument(help="Say what this model can run.")] = None,
    *,
    about: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this method, with all of it.")
    ] = None,
    as_json: options.AsJson = False,
    address: options.Address = DEFAULT_ADDRESS,
    tls: options.Tls = False,
    ca: options.RootCertificates = None,
) -> None:
    """List the attribution methods and their parameters."""
    with connected(address, tls=tls, ca=ca) as client:
        listed = client.methods(model)
    if about is not None:
        listed = tuple(each for each in listed if each.name == about)
        if not listed:
            raise typer.BadParameter(f"there is no method {about!r}", param_hint="--about")
    if as_json:
        _print_json(listed)
    elif about is not None:
        Console().print(method_view(listed[0]))
    else:
        Console().print(methods_view(listed))


def _print_json(result: object) -> None:
    typer.echo(json.dumps(plain(result), indent=2, ensure_ascii=False))

"""`make demo`: starts the server, explains an image, a text and a table row, and stops it.

The server is a process of its own, and every request goes through gRPC and the Python client.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from rich.console import Console

from adcaptum.client import Client, ExplainOptions, Method
from adcaptum.client.drawing.terminal import render_explanations, render_prediction
from adcaptum.zoo import samples

_STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Scene:
    """One model of the demonstration.

    Attributes:
        model: The model's name.
        title: The title to print.
        inputs: The input.
        options: The options of its explanations, by the name of the picture of each.
    """

    model: str
    title: str
    inputs: Any
    options: Mapping[str, ExplainOptions]


def scenes() -> tuple[Scene, ...]:
    """Returns the scenes: a photograph, a review and a row of measurements."""
    path = Method("integrated_gradients")
    return (
        Scene(
            "photos",
            "A photograph of a cat: which pixels, and which regions, speak for the breed?",
            samples.photograph()[None],
            {
                "photos": {
                    "methods": [
                        path,
                        Method("occlusion", sliding_window_shapes=[3, 32, 32], strides=[3, 16, 16]),
                    ],
                    "channel_reduction": "sum",
                    "return_inputs": True,
                },
                # The last feature maps, 7 x 7, laid over the image.
                "photos_layer": {
                    "methods": "grad_cam",
                    "site": "features",
                    "return_inputs": True,
                },
            },
        ),
        Scene(
            "reviews",
            "A film review: which words make it good or bad?",
            [samples.review()],
            {"reviews": {"methods": path}},
        ),
        Scene(
            "cells",
            "Thirty measurements of a tumour's cells: which of them decide?",
            samples.measurements()[None],
            {"cells": {"methods": [path, Method("kernel_shap")]}},
        ),
    )


class Addresses(NamedTuple):
    """The addresses of a server, as host:port.

    Attributes:
        grpc: Where it speaks gRPC.
        http: Where it speaks HTTP.
    """

    grpc: str
    http: str


@contextmanager
def server(models: Path) -> Iterator[Addresses]:
    """Starts a server on a free port of the loopback for the duration of a `with` block.

    Yields:
        Its addresses.

    Raises:
        RuntimeError: The server does not become ready or does not stop cleanly; the message has
            the last lines of its log.
    """
    command = [sys.executable, "-m", "adcaptum.service.cli", "serve", str(models)]
    command += ["--port", "0", "--http-port", "0"]
    # The demonstration asks every model: ready means that none loads any more.
    environment = {**os.environ, "ADCAPTUM_READY_AFTER_SECONDS": "600"}
    log: deque[str] = deque(maxlen=20)
    with subprocess.Popen(  # noqa: S603 - the command is ours
        command, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None, "stderr is a pipe"
        reader = Thread(target=log.extend, args=(process.stderr,), daemon=True)
        try:
            addresses = _wait_until_ready(process, log)
            # Without a reader the server would block once the pipe is full.
            reader.start()
            yield addresses
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            if reader.ident is not None:
                reader.join()
    if code != 0:
        raise RuntimeError(f"the server ended with {code}:\n{''.join(log)}")


def _wait_until_ready(process: subprocess.Popen[str], log: deque[str]) -> Addresses:
    """Reads the log until the server is ready; returns its addresses."""
    for line in process.stderr or ():
        log.append(line)
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if said.get("event") == "ready":
            return Addresses(said["grpc"], said["http"])
    raise RuntimeError(f"the server ended with {process.wait()}:\n{''.join(log)}")


def show(client: Client, scene: Scene, console: Console, pictures: Path) -> None:
    """Predicts and explains one input, prints both, and draws the explanation."""
    console.rule(f"[bold]{scene.model}[/bold]: {scene.title}")
    if isinstance(scene.inputs, list):
        console.print(*(f"[italic]{text}[/italic]" for text in scene.inputs))
    render_prediction(client.predict(scene.model, scene.inputs), console)
    console.print()
    for picture, options in scene.options.items():
        explanations = client.explain(scene.model, scene.inputs, timeout=120, **options)
        render_explanations(explanations, console, max_bars=10)
        path = pictures / f"{picture}.png"
        explanations.save_png(path)
        console.print(f"drawn in {path}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the demonstration."""
    parser = argparse.ArgumentParser(prog="python -m adcaptum.zoo.demo", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="the model repository")
    parser.add_argument("--pictures", type=Path, required=True, help="where to write PNG files")
    options = parser.parse_args(arguments)
    options.pictures.mkdir(parents=True, exist_ok=True)
    console = Console()
    with ExitStack() as stack:
        with console.status("starting the server and warming up its models"):
            address = stack.enter_context(server(options.models)).grpc
        console.print(f"the server is ready at {address}")
        client = stack.enter_context(Client(address))
        for scene in scenes():
            show(client, scene, console, options.pictures)
    console.print("the server has stopped")


if __name__ == "__main__":
    main()

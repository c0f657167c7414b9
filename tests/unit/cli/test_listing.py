"""What the command line says of models."""

from dataclasses import replace

from rich.console import Console

from adcaptum.client import ModelInfo
from adcaptum.client.codec.descriptions import decode_model
from adcaptum.service.cli.listing import model_view
from tests.unit.client import canned


def shown(model: ModelInfo) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(model_view(model))
    return capture.get()


def test_a_model_says_how_it_is_arranged_and_what_that_brings() -> None:
    text = shown(decode_model(canned.model()))
    assert "folded: 1.40 times as fast as it was loaded" in text
    assert "off by 1e-07 (outputs), 3e-06 (gradients)" in text
    assert "not channels last: 0.90 times" in text
    assert "not bfloat16: gives what is not a number" in text


def test_a_model_of_which_nothing_was_tried_says_only_that() -> None:
    message = canned.model()
    message.layout.Clear()
    message.layout.name = "as loaded"
    (line,) = [each for each in shown(decode_model(message)).splitlines() if "layout" in each]
    assert line.split() == ["layout", "as", "loaded"]


def test_a_model_that_does_not_serve_yet_says_nothing_of_it() -> None:
    assert "layout" not in shown(replace(decode_model(canned.model()), layout=None))

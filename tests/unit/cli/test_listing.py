"""What the command line says of models."""

from rich.console import Console
from rich.table import Table

from adcaptum.client.codec.descriptions import decode_model
from adcaptum.service.cli.listing import model_view, models_table
from adcaptum.v1 import model_pb2
from tests.unit.client import canned


def shown(view: Table) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(view)
    return capture.get()


def cells() -> model_pb2.Model:
    """A model of two versions, of which the newer one failed."""
    message = canned.model()
    newer = message.versions.add()
    newer.CopyFrom(message.versions[0])
    newer.identity.version = "2"
    newer.state = model_pb2.MODEL_STATE_FAILED
    newer.reason = "no weights"
    return message


def test_versions_are_listed_with_aliases_presets_and_devices() -> None:
    head, first, second = shown(models_table([decode_model(cells())])).splitlines()
    assert head.split() == [
        "model",
        "version",
        "state",
        "input",
        "presets",
        "device",
        "description",
    ]
    assert first.split()[:4] == ["cells", "1*", "(stable)", "ready"]
    assert "default, quick" in first
    assert "cpu" in first
    assert first.rstrip().endswith("Benign or malignant.")
    assert second.split()[:2] == ["2", "failed"]
    assert second.rstrip().endswith("no weights")


def test_a_model_that_has_not_been_read_is_listed() -> None:
    message = canned.model()
    del message.versions[:]
    model = decode_model(message)
    assert "cells" in shown(models_table([model]))
    assert "Benign or malignant." in shown(model_view(model))


def test_a_version_that_goes_on_as_it_was_says_why() -> None:
    message = canned.model()
    message.versions[0].load_failure = "inputs: missing"
    model = decode_model(message)
    assert "ready: not loaded anew: inputs: missing" in shown(model_view(model))
    assert "not loaded anew: inputs: missing" in shown(models_table([model]))


def test_a_version_that_could_not_be_read_says_only_why() -> None:
    message = canned.model()
    message.default_version = ""
    message.aliases.clear()
    del message.versions[:]
    broken = message.versions.add(state=model_pb2.MODEL_STATE_FAILED, reason="no inputs")
    broken.identity.name = "cells"
    lines = shown(model_view(decode_model(message))).splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines] == ["model", "description", "version"]
    assert lines[-1].split(maxsplit=1)[1].rstrip() == "failed: no inputs"


def test_a_model_is_described_with_its_versions_presets_and_placements() -> None:
    lines = [line.rstrip() for line in shown(model_view(decode_model(cells()))).splitlines()]
    told = [line.split(maxsplit=1) for line in lines]
    assert ["version", "1* (stable), ready"] in told
    assert ["version", "2, failed: no weights"] in told
    assert ["preset", "default*: The usual. [integrated_gradients(n_steps=50)]"] in told
    assert ["preset", "quick: A look. [integrated_gradients(n_steps=50)]"] in told
    assert ["placement", "worker 0 on cpu, ready, folded, channels last"] in told
    assert ["limits", "1000 rows, 64 examples"] in told


def test_the_bounds_of_a_preset_are_told() -> None:
    message = canned.model()
    spec = message.versions[0].presets[1].spec
    spec.budget.tolerance = 0.01
    spec.budget.max_rows = 500
    text = shown(model_view(decode_model(message)))
    assert "[integrated_gradients(n_steps=50), tolerance 0.01, at most 500 rows]" in text

"""Requests are read as they were typed, and answered as they were recorded."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from adcaptum.v1 import explanation_service_pb2 as pb
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from adcaptum.zoo.demo import server
from tests.golden import exchange
from tests.unit.zoo.conftest import model_folder

__all__ = ["model_folder"]


@pytest.fixture(scope="module")
def stub(
    model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ExplanationServiceStub]:
    """A server of the bundled models."""
    folder = tmp_path_factory.mktemp("golden")
    for name in exchange.MODELS:
        (folder / name).symlink_to(model_folder(name).resolve())
    with server(folder) as addresses, grpc.insecure_channel(addresses.grpc) as channel:
        yield ExplanationServiceStub(channel)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", exchange.names())
def test_an_answer_is_as_recorded(name: str, stub: ExplanationServiceStub) -> None:
    recorded = exchange.load(name)
    asked = exchange.ask(recorded, stub)
    assert not list(exchange.differences(recorded, asked))


@pytest.mark.parametrize("name", exchange.names())
def test_a_recorded_answer_is_a_message(name: str) -> None:
    recorded = exchange.load(name)
    request = exchange.request_of(recorded)
    assert request.ByteSize() > 0 or not recorded["request"]
    kind = getattr(pb, f"{recorded['call']}Response")
    replies: list[Any] = recorded.get("events", [])
    if "reply" in recorded:
        replies = [recorded["reply"]]
    for reply in replies:
        message = json_format.ParseDict(reply, kind())
        assert exchange.as_json(message) == reply


@pytest.mark.parametrize("name", exchange.names())
def test_a_file_is_laid_out_as_it_is_written(name: str) -> None:
    text = (exchange.FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert text == exchange.written(json.loads(text)) + "\n"


def test_there_is_an_exchange_of_every_call() -> None:
    calls = {exchange.load(name)["call"] for name in exchange.names()}
    service = pb.DESCRIPTOR.services_by_name["ExplanationService"]
    assert calls == {method.name for method in service.methods}


def test_differences_are_found() -> None:
    old = {"a": [1, 2.0], "b": {"c": "x"}, "timings": {"batches": 3}}
    assert not list(exchange.differences(old, {**old, "a": [1, 2.0001], "timings": {}}))
    new = {"a": [1, 2.5, 3], "b": {"d": True}, "timings": {}}
    assert len(list(exchange.differences(old, new))) == 4

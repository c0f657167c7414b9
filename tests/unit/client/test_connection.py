"""Retries, deadlines and the rest of the connection, over a real one."""

import json

import numpy as np
import pytest

from adcaptum.client import Client, Unavailable
from adcaptum.client.connection import Connection
from tests.unit.client.canned_server import CannedServicer, unavailable

# gRPC writes a deadline with few digits, rounded up.
ROUNDED_UP = 0.5

# Larger than what gRPC by itself would keep in order to send it again.
IMAGE = np.zeros((1, 3, 224, 224), np.float32)


def test_a_call_is_repeated_while_the_server_is_unavailable(
    address: str, servicer: CannedServicer
) -> None:
    servicer.failures.extend([unavailable()] * 3)
    with Client(address) as client:
        client.predict("cells", IMAGE)
    assert servicer.rpcs == ["Predict"] * 4


def test_a_call_is_repeated_only_so_often(address: str, servicer: CannedServicer) -> None:
    servicer.failures.extend([unavailable()] * 3)
    with Client(address, max_attempts=2) as client, pytest.raises(Unavailable):
        client.models()
    assert servicer.rpcs == ["ListModels"] * 2


def test_retries_can_be_turned_off(address: str, servicer: CannedServicer) -> None:
    servicer.failures.append(unavailable())
    with Client(address, max_attempts=1) as client, pytest.raises(Unavailable):
        client.models()
    assert servicer.rpcs == ["ListModels"]


def test_only_unavailable_servers_are_asked_again() -> None:
    options = dict(Connection().options)
    (method,) = json.loads(options["grpc.service_config"])["methodConfig"]
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert method["name"] == [{"service": "adcaptum.v1.ExplanationService"}]


def test_a_call_has_a_minute_by_default(client: Client, servicer: CannedServicer) -> None:
    client.models()
    assert servicer.seconds_left is not None
    assert 50 < servicer.seconds_left <= 60 + ROUNDED_UP


def test_a_call_can_have_its_own_deadline(client: Client, servicer: CannedServicer) -> None:
    client.predict("cells", IMAGE, timeout=7)
    assert servicer.seconds_left is not None
    assert 5 < servicer.seconds_left <= 7 + ROUNDED_UP


def test_a_client_can_do_without_deadlines(address: str, servicer: CannedServicer) -> None:
    with Client(address, timeout=None) as client:
        client.models()
    # gRPC reports the end of time as a number of years.
    assert servicer.seconds_left is None or servicer.seconds_left > 1e9


def test_metadata_of_the_client_comes_with_every_call(
    address: str, servicer: CannedServicer
) -> None:
    with Client(address, metadata={"authorization": "Bearer abc"}) as client:
        client.models()
    assert servicer.metadata["authorization"] == "Bearer abc"


def test_messages_can_be_compressed(address: str, servicer: CannedServicer) -> None:
    with Client(address, compression="gzip") as client:
        assert client.predict("cells", IMAGE).labels == ("malignant",)


def test_leaving_a_stream_ends_its_call(client: Client, servicer: CannedServicer) -> None:
    servicer.endless = True
    for _ in client.explain_stream("cells", IMAGE):
        break
    assert servicer.stream_ended.wait(10)


@pytest.mark.parametrize(
    ("connection", "encrypted"),
    [
        (Connection(), False),
        (Connection(tls=True), True),
        (Connection(client_key=b"key", client_certificates=b"chain"), True),
    ],
    ids=["plain", "tls", "client certificate"],
)
def test_certificates_imply_encryption(connection: Connection, encrypted: bool) -> None:
    assert (connection.credentials is not None) is encrypted


def test_a_client_that_encrypts_does_not_talk_to_a_server_that_does_not(address: str) -> None:
    with Client(address, tls=True, max_attempts=1) as client, pytest.raises(Unavailable):
        client.models()


@pytest.mark.parametrize(
    "wrong",
    [{"max_attempts": 0}, {"max_attempts": 6}, {"client_key": b"key"}, {"compression": "zip"}],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Connection(**wrong)  # type: ignore[arg-type] # that is the point

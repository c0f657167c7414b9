"""Encrypted connections; `make test-workers` tests them with two workers behind a front."""

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import HTTPSHandler, build_opener

import grpc
import pytest

from adcaptum.client import Client, Unavailable
from adcaptum.v1 import (
    explanation_service_pb2 as pb,
    explanation_service_pb2_grpc as pb_grpc,
    model_pb2,
)
from tests.faults.load import row
from tests.faults.running import running
from tests.integration.conftest import Server
from tests.integration.service.conftest import Eventually
from tests.unit.service.security.certifying import Authority

pytestmark = pytest.mark.alone


class Encrypted:
    """A server that callers of an authority reach.

    Attributes:
        server: The server.
        authority: Who signs the server's certificate and those of callers.
        folder: The folder of the server's certificate.
        caller: The certificate and the key of a caller.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority()
        self.server: Server
        self.caller = self.authority.write(folder, "caller")
        (folder / "ca.pem").write_bytes(self.authority.pem)
        certificate, key = self.authority.write(folder)
        self.options = ["--tls_certificate", str(certificate), "--tls_key", str(key)]
        self.options += ["--tls_client_ca", str(folder / "ca.pem"), "--host", "127.0.0.1"]

    def channel(self, *, certified: bool = True) -> grpc.Channel:
        certificate, key = (each.read_bytes() for each in self.caller)
        pair = {"private_key": key, "certificate_chain": certificate} if certified else {}
        credentials = grpc.ssl_channel_credentials(self.authority.pem, **pair)
        # Channels with equal arguments would share a connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(self.server.address, credentials, options)

    def get(self, path: str, *, certified: bool) -> int:
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        if certified:
            context.load_cert_chain(*self.caller)
        try:
            opener = build_opener(HTTPSHandler(context=context))
            with opener.open(f"https://{self.server.http_address}{path}", timeout=20) as reply:
                return int(reply.status)
        except HTTPError as error:
            error.close()
            return error.code

    def serial(self) -> str:
        """Returns the certificates that the server shows on both ports."""
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        context.load_cert_chain(*self.caller)
        context.set_alpn_protocols(["h2"])
        shown = []
        for address in (self.server.address, self.server.http_address):
            host, _, port = address.rpartition(":")
            with (
                socket.create_connection((host, int(port)), 20) as plain,
                context.wrap_socket(plain, server_hostname=host) as encrypted,
            ):
                found = encrypted.getpeercert()
                assert found is not None
                shown.append(str(found["serialNumber"]))
        return " ".join(shown)

    def shows_others_than(self, before: str) -> bool:
        """Returns whether both ports show other certificates."""
        pairs = zip(self.serial().split(), before.split(), strict=True)
        return all(one != other for one, other in pairs)


@pytest.fixture(scope="module")
def encrypted(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Encrypted]:
    found = Encrypted(tmp_path_factory.mktemp("certificates"))
    with running(*found.options, workers=pytestconfig.getoption("workers") or None) as server:
        found.server = server
        yield found


def predict() -> pb.PredictRequest:
    return pb.PredictRequest(model=model_pb2.ModelRef(name="good"), inputs=[row(0)])


def ask(channel: grpc.Channel) -> str:
    answer = pb_grpc.ExplanationServiceStub(channel).Predict(predict(), timeout=20)
    return str(answer.model.name)


def test_callers_with_a_certificate_are_served_and_others_are_not(encrypted: Encrypted) -> None:
    with encrypted.channel() as channel:
        assert ask(channel) == "good"
    for channel in (
        encrypted.channel(certified=False),
        grpc.insecure_channel(encrypted.server.address),
    ):
        with channel, pytest.raises(grpc.RpcError) as refused:
            ask(channel)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_http_is_encrypted_and_only_probes_need_no_certificate(encrypted: Encrypted) -> None:
    assert encrypted.get("/healthz", certified=False) == 200
    assert encrypted.get("/readyz", certified=False) == 200
    assert encrypted.get("/metrics", certified=False) == 401
    assert encrypted.get("/api/v1/models", certified=False) == 401
    assert encrypted.get("/metrics", certified=True) == 200
    assert encrypted.get("/api/v1/models", certified=True) == 200
    other = Authority("other").write(encrypted.folder, "stranger")
    context = ssl.create_default_context(cadata=encrypted.authority.pem.decode())
    context.load_cert_chain(*other)
    opener = build_opener(HTTPSHandler(context=context))
    with pytest.raises((URLError, OSError)):
        opener.open(f"https://{encrypted.server.http_address}/readyz", timeout=20)


def test_the_client_and_the_command_line_show_certificates(encrypted: Encrypted) -> None:
    certificate, key = encrypted.caller
    pem, address = encrypted.authority.pem, encrypted.server.address
    with Client(
        address,
        root_certificates=pem,
        client_key=key.read_bytes(),
        client_certificates=certificate.read_bytes(),
    ) as client:
        assert {each.name for each in client.models()} == {"good", "bad"}
    with (
        Client(address, root_certificates=pem, max_attempts=1) as client,
        pytest.raises(Unavailable),
    ):
        client.models()
    command = [sys.executable, "-m", "adcaptum.service.cli", "models", "--address", address]
    command += ["--ca", str(encrypted.folder / "ca.pem")]
    shown = [*command, "--cert", str(certificate), "--key", str(key)]
    done = subprocess.run(shown, capture_output=True, text=True, check=True)
    assert "good" in done.stdout
    alone = [*command, "--cert", str(certificate)]
    half = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert "belong together" in half.stderr


def test_a_new_certificate_is_taken_under_load_without_a_failed_call(
    encrypted: Encrypted, eventually: Eventually
) -> None:
    failed: list[Exception] = []
    done = threading.Event()

    def load(*, fresh: bool) -> None:
        with encrypted.channel() as kept:
            while not done.is_set():
                try:
                    if fresh:
                        with encrypted.channel() as channel:
                            ask(channel)
                    else:
                        ask(kept)
                except grpc.RpcError as error:
                    failed.append(error)
                    return

    threads = [threading.Thread(target=load, kwargs={"fresh": fresh}) for fresh in (True, False)]
    for thread in threads:
        thread.start()
    try:
        before = encrypted.serial()
        for _ in range(2):
            encrypted.authority.write(encrypted.folder, days=60)
            eventually(partial(encrypted.shows_others_than, before))
            before = encrypted.serial()
        # One that does not fit its key: the old one stays.
        certificate = encrypted.folder / "localhost.pem"
        certificate.write_bytes(encrypted.authority.pair()[0])
        encrypted.server.wait_for("the old one stays", source="certificate")
        assert encrypted.serial() == before
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failed == []


def test_sockets_of_workers_are_for_their_user_only(encrypted: Encrypted) -> None:
    sockets = [
        line.split()[-1]
        for line in Path("/proc/net/unix").read_text().splitlines()
        if "adcaptum-" in line
    ]
    own = {Path(each).parent for each in sockets if Path(each).parent.exists()}
    assert own or "workers" not in str(encrypted.server.lines)
    for folder in own:
        assert folder.stat().st_mode & 0o777 == 0o700

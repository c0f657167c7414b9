"""Certificates of the server: for gRPC and HTTP, taken anew when their files change."""

import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from adcaptum.service import logs
from adcaptum.service.security.metrics import SecurityMetrics
from adcaptum.service.security.sources import Source

MOST_BYTES: Final = 1 << 18
"""The largest file."""


class BadCertificate(Exception):
    """A certificate or its key cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key, that belong together.

    Attributes:
        certificate: The chain, in PEM.
        client_ca: The certificates of those who sign callers' certificates, in PEM; None: callers
            need none.
        end: When the certificate expires, in seconds since 1970.
        key: The private key, in PEM; never shown.
    """

    certificate: bytes
    client_ca: bytes | None
    end: float
    key: bytes

    def __repr__(self) -> str:
        return f"Pair(end={self.end!r})"

    @property
    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """The pair as gRPC takes it."""
        return grpc.ssl_server_certificate_configuration(
            [(self.key, self.certificate)], self.client_ca
        )

    def load(self, context: ssl.SSLContext) -> None:
        """Has a context use the pair for new connections."""
        with _file(self.certificate) as certificate, _file(self.key) as key:
            context.load_cert_chain(certificate, key)
        if self.client_ca is not None:
            context.load_verify_locations(cadata=self.client_ca.decode())


class Certificates:
    """The certificate of a server, and whatever uses it.

    Attributes:
        context: For the HTTP port. Whether callers need a certificate there, too, is for whoever
            answers them: probes have none.
    """

    def __init__(
        self, certificate: Path, key: Path, client_ca: Path | None, metrics: SecurityMetrics
    ) -> None:
        """Reads the files.

        Raises:
            BadCertificate: They cannot be used.
            OSError: One cannot be read.
        """
        self._metrics = metrics
        paths = (certificate, key) if client_ca is None else (certificate, key, client_ca)
        self._source = Source(
            "certificate", paths, lambda: read(certificate, key, client_ca), metrics, self._change
        )
        self._requires = client_ca is not None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._source.value.load(self.context)
        if self._requires:
            self.context.verify_mode = ssl.CERT_OPTIONAL
        self._tell()

    @property
    def credentials(self) -> grpc.ServerCredentials:
        """The certificate as a gRPC port takes it; each port needs its own."""
        return grpc.dynamic_ssl_server_credentials(
            self._source.value.configuration,
            self.fetcher(),
            require_client_authentication=self._requires,
        )

    def fetcher(self) -> Callable[[], grpc.ServerCertificateConfiguration]:
        """Returns what a gRPC port asks before each handshake: for another certificate, or None."""
        given = self._source.value

        def fetch() -> grpc.ServerCertificateConfiguration:
            nonlocal given
            pair = self._source.value
            if pair is given:
                # For "as before"; the stubs do not know it.
                return cast("grpc.ServerCertificateConfiguration", None)
            given = pair
            return pair.configuration

        return fetch

    async def keep(self) -> None:
        """Takes the files anew whenever they have changed."""
        await self._source.keep()

    async def look(self) -> None:
        """Takes the files anew if they have changed."""
        await self._source.look()

    def _change(self, pair: Pair) -> None:
        pair.load(self.context)
        self._tell()

    def _tell(self) -> None:
        end = self._source.value.end
        self._metrics.certificate_expiry.set(end)
        until = datetime.fromtimestamp(end, UTC).isoformat()
        logs.logger().info("certificate in use", until=until)


def read(certificate: Path, key: Path, client_ca: Path | None) -> Pair:
    """Reads a certificate and its key.

    Raises:
        BadCertificate: They cannot be used.
        OSError: One cannot be read.
    """
    chain, secret = _content(certificate), _content(key)
    signers = None if client_ca is None else _content(client_ca)
    try:
        first, *_ = x509.load_pem_x509_certificates(chain)
        public = load_pem_private_key(secret, None).public_key()
        if signers is not None:
            x509.load_pem_x509_certificates(signers)
        same = _bytes(public) == _bytes(first.public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # Without the text of the error, which may quote the file.
        raise BadCertificate(
            f"not PEM files that can be read ({type(error).__name__}); keys have no password"
        ) from None
    if not same:
        raise BadCertificate("the certificate and the key do not belong together")
    now, end = datetime.now(UTC), first.not_valid_after_utc
    if not first.not_valid_before_utc <= now < end:
        raise BadCertificate(
            f"the certificate is valid from {first.not_valid_before_utc} to {end} only"
        )
    return Pair(chain, signers, end.timestamp(), secret)


def _bytes(public: PublicKeyTypes) -> bytes:
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_BYTES)


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """Gives a path to some bytes, in a file that nobody else can open: `ssl` takes paths only."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"

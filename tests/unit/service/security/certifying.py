"""A certificate authority, as tests need it."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """An authority that signs certificates."""

    def __init__(self, name: str = "authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self.certificate = self._signed(self._name, self._key, 365, is_authority=True)

    @property
    def pem(self) -> bytes:
        """Returns the authority's own certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def pair(
        self, name: str = "localhost", days: float = 30, since: float = -60
    ) -> tuple[bytes, bytes]:
        """Returns a certificate for this machine, or a caller's, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(_name(name), key, days, since)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), secret

    def write(
        self, folder: Path, name: str = "localhost", days: float = 30, since: float = -60
    ) -> tuple[Path, Path]:
        """Writes a certificate and its key."""
        paths = folder / f"{name}.pem", folder / f"{name}.key"
        for path, content in zip(paths, self.pair(name, days, since), strict=True):
            path.write_bytes(content)
        return paths

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        days: float,
        since: float = -60,
        *,
        is_authority: bool = False,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        names: list[x509.GeneralName] = [
            x509.DNSName(str(subject.rdns[0].rfc4514_string()[3:])),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=since))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

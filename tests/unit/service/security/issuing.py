"""An issuer of tokens, as tests need it."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ISSUER = "https://issuer.test/"
AUDIENCE = "adcaptum"


class Issuer:
    """An issuer with a key."""

    def __init__(self, key_id: str = "first", *, curve: bool = False) -> None:
        self.key_id = key_id
        self.algorithm = "ES256" if curve else "RS256"
        self._key: Any = (
            ec.generate_private_key(ec.SECP256R1())
            if curve
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )

    def public(self) -> dict[str, Any]:
        """Returns the public key, as a key set has it."""
        kind: Any = ECAlgorithm if self.algorithm == "ES256" else RSAAlgorithm
        described: dict[str, Any] = json.loads(kind.to_jwk(self._key.public_key()))
        return {**described, "kid": self.key_id, "use": "sig"}

    def token(self, *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """Returns a token that is good but for the claims given; those of None are left out."""
        now = int(time.time())
        usual = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "alice",
            "exp": now + 600,
            "roles": ["predict:cells*", "explain:cells*"],
        }
        chosen = {key: each for key, each in {**usual, **claims}.items() if each is not None}
        return jwt.encode(
            chosen, self._key, self.algorithm, headers={"kid": self.key_id, **(headers or {})}
        )


def key_set(*issuers: Issuer) -> str:
    """Returns the key set of issuers."""
    return json.dumps({"keys": [each.public() for each in issuers]})


def write_credentials(folder: Path, issuer: Issuer, keys: str = "", more: str = "") -> Path:
    """Writes a file of credentials that takes the issuer's tokens, and its key set."""
    (folder / "jwks.json").write_text(key_set(issuer))
    path = folder / "credentials.toml"
    path.write_text(
        f"[keys]\n{keys}\n[jwt]\nissuer = '{ISSUER}'\naudience = '{AUDIENCE}'\n"
        f"jwks = 'jwks.json'\n{more}"
    )
    return path

"""Credentials: the callers that a server knows, as its file or its environment describes them."""

import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from adcaptum.service.security.api_keys import STORED
from adcaptum.service.security.identity import Grants, Identity, Quota, visible

MOST_BYTES: Final = 1 << 18
"""The largest file of credentials: a thousand callers."""

ASYMMETRIC: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""The algorithms of tokens that may be allowed: who can check a signature cannot make one."""


class BadCredentials(Exception):
    """The description of the callers cannot be read; the text says why."""


def _known_roles(texts: tuple[str, ...]) -> tuple[str, ...]:
    Grants.of(texts)
    return texts


def _listed(texts: object) -> object:
    return (texts,) if isinstance(texts, str) else texts


def _stored(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts or not all(map(STORED.fullmatch, texts)):
        raise ValueError("must be ID:DIGEST, as `adcaptum keys new` prints it")
    return texts


def _algorithms(names: tuple[str, ...]) -> tuple[str, ...]:
    if bad := sorted(set(names) - ASYMMETRIC):
        raise ValueError(f"{', '.join(bad)}; must be of {', '.join(sorted(ASYMMETRIC))}")
    return names


Roles = Annotated[tuple[str, ...], AfterValidator(_known_roles)]
Words = tuple[str, ...]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Holder(_Table):
    roles: Roles
    proxy: bool = False
    row_seconds: float | None = Field(default=None, gt=0)
    max_rows: int | None = Field(default=None, ge=1)

    def identity(self, name: str) -> Identity:
        quota = Quota(self.row_seconds, self.max_rows)
        return Identity(visible(name), Grants.of(self.roles), quota, self.proxy)


class _Key(_Holder):
    key: Annotated[Words, BeforeValidator(_listed), AfterValidator(_stored)]
    expires: datetime | date | None = None

    def end(self) -> float | None:
        if self.expires is None:
            return None
        whole = self.expires
        if not isinstance(whole, datetime):
            whole = datetime.combine(whole, time(), UTC)
        return (whole if whole.tzinfo else whole.replace(tzinfo=UTC)).timestamp()


class TokenRules(_Table):
    """The tokens that are taken.

    Attributes:
        issuer: The claim `iss`.
        audience: The claim `aud`; one of them.
        jwks: The file or the address of the issuer's public keys.
        algorithms: The algorithms of signatures.
        leeway_seconds: By how much the clocks of issuer and server may differ.
        roles_claim: The claim with the roles.
        roles: The roles that each value of that claim stands for; empty: the values are roles.
        name_claim: The claim with the caller's name.
        row_seconds: The quota of each caller, as for keys.
        max_rows: Likewise.
    """

    issuer: str = Field(min_length=1)
    audience: Annotated[Words, BeforeValidator(_listed), Field(min_length=1)]
    jwks: str = Field(min_length=1)
    algorithms: Annotated[Words, Field(min_length=1), AfterValidator(_algorithms)] = (
        "RS256",
        "ES256",
    )
    leeway_seconds: float = Field(default=30, ge=0, le=300)
    roles_claim: str = "roles"
    roles: Mapping[str, Roles] = Field(default_factory=dict)
    name_claim: str = "sub"
    row_seconds: float | None = Field(default=None, gt=0)
    max_rows: int | None = Field(default=None, ge=1)

    @property
    def quota(self) -> Quota:
        """The quota of each caller with a token."""
        return Quota(self.row_seconds, self.max_rows)


class _File(_Table):
    keys: dict[str, _Key] = Field(default_factory=dict)
    certificates: dict[str, _Holder] = Field(default_factory=dict)
    jwt: TokenRules | None = None


class HeldKey:
    """A key that the server knows.

    Attributes:
        digest: Its digest.
        identity: Its holder.
        end: When it expires, in seconds since 1970; None: never.
    """

    __slots__ = ("digest", "end", "identity")

    def __init__(self, digest: bytes, identity: Identity, end: float | None) -> None:
        self.digest = digest
        self.identity = identity
        self.end = end


class Credentials:
    """All callers that a server knows.

    Attributes:
        keys: Keys by their ids.
        certificates: Holders of certificates, by a name in the certificate.
        tokens: The tokens that are taken; None: none.
    """

    def __init__(
        self,
        keys: Mapping[str, HeldKey] = MappingProxyType({}),
        certificates: Mapping[str, Identity] = MappingProxyType({}),
        tokens: TokenRules | None = None,
    ) -> None:
        self.keys = keys
        self.certificates = certificates
        self.tokens = tokens

    def __or__(self, others: "Credentials") -> "Credentials":
        """Returns these and others; those of the same id are the others'."""
        return Credentials(
            {**self.keys, **others.keys},
            {**self.certificates, **others.certificates},
            others.tokens or self.tokens,
        )


def read(text: str) -> Credentials:
    """Reads a file of credentials.

    Raises:
        BadCredentials: It is no TOML, or a value in it is not allowed.
    """
    try:
        file = _File.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise BadCredentials(str(error)) from None
    except ValidationError as error:
        raise BadCredentials("; ".join(map(_words, error.errors()))) from None
    keys: dict[str, HeldKey] = {}
    for name, each in file.keys.items():
        identity, end = each.identity(f"key:{name}"), each.end()
        for stored in each.key:
            key_id, _, digest = stored.partition(":")
            if key_id in keys:
                raise BadCredentials(f"keys.{name}.key: the id {key_id} is there twice")
            keys[key_id] = HeldKey(bytes.fromhex(digest), identity, end)
    certificates = {
        name: holder.identity(f"cert:{name}") for name, holder in file.certificates.items()
    }
    return Credentials(keys, certificates, file.jwt)


def read_keys(text: str) -> Credentials:
    """Reads lines of keys, as the environment has them: the content of the table `keys`.

    Raises:
        BadCredentials: They are no TOML, or a value in them is not allowed.
    """
    return read(f"[keys]\n{text}")


def _words(problem: Any) -> str:
    """Returns what is wrong, without the value: it might be a secret."""
    place = ".".join(str(part) for part in problem["loc"] if not str(part).startswith("function-"))
    if problem["type"] == "extra_forbidden":
        return f"{place}: there is no such entry"
    return f"{place}: {problem['msg'].removeprefix('Value error, ')}"

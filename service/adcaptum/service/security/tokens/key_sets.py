"""Key sets: the public keys of an issuer of tokens, from a file or an address (RFC 7517)."""

import asyncio
import http.client
import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple

import jwt

from adcaptum.service import logs
from adcaptum.service.security.metrics import SecurityMetrics
from adcaptum.service.security.sources import Source

MOST_BYTES: Final = 1 << 18
"""The largest key set."""

MOST_KEYS: Final = 100

FETCH_SECONDS: Final = 5.0
"""The longest wait for a piece of an answer."""

REFRESH_SECONDS: Final = 300.0
"""The age at which a key set is fetched again."""

AGAIN_SECONDS: Final = 10.0
"""The least time between two fetches: tokens with unknown key ids ask for one."""

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


class PublicKey(NamedTuple):
    """A key of an issuer.

    Attributes:
        key: What checks signatures.
        algorithms: The algorithms that it is for.
    """

    key: Any
    algorithms: frozenset[str]


Keys = Mapping[str, PublicKey]


class BadKeySet(Exception):
    """The key set cannot be fetched or used; the text says why."""


def parsed(content: bytes) -> Keys:
    """Reads a key set: its keys for signatures, by their ids.

    Raises:
        BadKeySet: It is none, or has no such key.
    """
    try:
        described = json.loads(content)["keys"][:MOST_KEYS]
        found = {str(each.get("kid", "")): _key(each) for each in described if _signs(each)}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as bad:
        raise BadKeySet(f"not a set of public keys: {type(bad).__name__}") from None
    except jwt.PyJWTError as bad:
        raise BadKeySet(f"a key of it cannot be used: {type(bad).__name__}") from None
    if not found:
        raise BadKeySet("it has no public key for signatures")
    return found


def _signs(described: Mapping[str, Any]) -> bool:
    """Returns whether a key is for signatures that others check: never one of HMAC."""
    return described.get("use", "sig") == "sig" and described["kty"] in {"RSA", "EC", "OKP"}


def _key(described: Mapping[str, Any]) -> PublicKey:
    kind = described["kty"]
    fit = RSA if kind == "RSA" else {"EdDSA" if kind == "OKP" else CURVES[described["crv"]]}
    named = described.get("alg")
    if named is not None and named not in fit:
        raise ValueError(named)
    algorithms = frozenset(fit if named is None else {named})
    # Without what would make a private key of it.
    public = {name: value for name, value in described.items() if name != "d"}
    return PublicKey(jwt.PyJWK(public, algorithm=min(algorithms)).key, algorithms)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects are errors: they could lead anywhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def fetch(url: str) -> bytes:
    """Fetches a key set; takes a thread.

    Raises:
        BadKeySet: It cannot be had, or is too large.
    """
    opener = urllib.request.build_opener(_NoRedirects())
    try:
        with opener.open(url, timeout=FETCH_SECONDS) as answer:
            content: bytes = answer.read(MOST_BYTES + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise BadKeySet(f"{url}: {error}") from None
    if len(content) > MOST_BYTES:
        raise BadKeySet(f"{url}: more than {MOST_BYTES} bytes")
    return content


def is_address(place: str) -> bool:
    """Returns whether a place is an address, not a file."""
    return "://" in place


def check_address(url: str) -> None:
    """Checks that an address can be trusted.

    Raises:
        BadKeySet: Whoever is on the way could change what is fetched from there.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return
    raise BadKeySet(f"{url}: must begin with https://, or be on the loopback")


class FileKeySet:
    """A key set in a file, read again when it changes."""

    def __init__(self, path: Path, metrics: SecurityMetrics, changed: Callable[[], None]) -> None:
        """Reads it.

        Raises:
            BadKeySet: It cannot be read.
        """

        def read() -> Keys:
            with path.open("rb") as file:
                return parsed(file.read(MOST_BYTES))

        try:
            self._source = Source("jwks", (path,), read, metrics, lambda _: changed())
        except OSError as error:
            raise BadKeySet(str(error)) from None

    @property
    def keys(self) -> Keys:
        """The keys by their ids."""
        return self._source.value

    async def refresh(self) -> None:
        """Looks whether there are other keys by now."""
        await self._source.look()

    async def keep(self) -> None:
        """Keeps it up to date."""
        await self._source.keep()


class AddressKeySet:
    """A key set at an address, fetched by a thread.

    That is done at the start, when it is old, and for key ids that it lacks.

    Attributes:
        keys: The keys by their ids; those of before while the address does not answer.
    """

    def __init__(self, url: str, metrics: SecurityMetrics, changed: Callable[[], None]) -> None:
        """Prepares it; `keep` fetches it.

        Raises:
            BadKeySet: The address cannot be trusted.
        """
        check_address(url)
        self.keys: Keys = {}
        self._url = url
        self._metrics = metrics
        self._changed = changed
        self._content = b""
        self._fetched = -REFRESH_SECONDS
        self._fetching: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Fetches it, unless that has just been done; all who wait share one fetch."""
        if self._fetching is None:
            if monotonic() < self._fetched + AGAIN_SECONDS:
                return
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        await asyncio.shield(self._fetching)

    async def keep(self) -> None:
        """Keeps it up to date."""
        while True:
            if not self.keys or monotonic() >= self._fetched + REFRESH_SECONDS:
                await self.refresh()
            await asyncio.sleep(1.0)

    async def _fetch(self) -> None:
        try:
            content = await asyncio.to_thread(fetch, self._url)
            found = parsed(content)
            if content != self._content:
                self._changed()
            self.keys, self._content = found, content
            result = "ok"
        except BadKeySet as error:
            logs.logger().error("the old one stays", source="jwks", error=str(error))
            result = "error"
        finally:
            self._fetched = monotonic()
            self._fetching = None
        self._metrics.loads.labels("jwks", result).inc()
        self._metrics.stale.labels("jwks").set(int(result != "ok"))

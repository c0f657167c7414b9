"""Tokens of an issuer."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import jwt
import pytest
from prometheus_client import CollectorRegistry

from adcaptum.service.errors import PermissionDenied, TooBusy, Unauthenticated
from adcaptum.service.processes.exits import CannotStart
from adcaptum.service.security.access import Access
from adcaptum.service.security.guard import Guard
from adcaptum.service.settings import Settings
from tests.unit.service.security.issuing import AUDIENCE, ISSUER, Issuer, key_set, write_credentials
from tests.unit.service.security.visiting import OURS, counted, visit


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


class Door:
    """A guard that takes tokens, with its sources."""

    def __init__(self, folder: Path, issuer: Issuer, more: str = "") -> None:
        path = write_credentials(folder, issuer, more=more)
        self.registry = CollectorRegistry()
        self.access = Access(Settings(repository=folder, credentials=path), self.registry)
        assert self.access.guard is not None
        self.guard: Guard = self.access.guard

    def refusal(self, token: str) -> str:
        """Returns why a token is refused, by the metrics."""
        before = self._reasons()
        with pytest.raises(Unauthenticated) as refused:
            visit(self.guard, f"Bearer {token}")
        assert refused.value.message == "The credentials are not valid."
        (reason,) = self._reasons() - before
        return reason[0]

    def _reasons(self) -> set[tuple[str, float]]:
        return {
            (sample.labels["reason"], sample.value)
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "adcaptum_security_failures_total"
        }


@pytest.fixture
def door(tmp_path: Path, issuer: Issuer) -> Door:
    return Door(tmp_path, issuer)


def unsigned(head: dict[str, Any], claims: dict[str, Any], key: bytes = b"") -> str:
    """Writes a token by hand, signed by HMAC if there is a key."""

    def encoded(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).decode().rstrip("=")

    body = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(claims).encode())}"
    mark = hmac.new(key, body.encode(), hashlib.sha256).digest() if key else b""
    return f"{body}.{encoded(mark)}"


def test_a_token_says_who_calls_and_what_is_allowed(door: Door, issuer: Issuer) -> None:
    token = issuer.token()
    for _ in range(2):  # the second time it is known
        assert visit(door.guard, f"Bearer {token}").caller == "jwt:alice"
    with pytest.raises(PermissionDenied):
        visit(door.guard, f"Bearer {token}", model="digits")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": int(time.time()) - 31}, "expired"),
        ({"nbf": int(time.time()) + 86_400}, "not_yet_valid"),
        ({"iat": int(time.time()) + 86_400}, "not_yet_valid"),
        ({"aud": "other"}, "audience"),
        ({"aud": ["other", "another"]}, "audience"),
        ({"iss": "https://other.test/"}, "issuer"),
        ({"exp": None}, "token"),
        ({"aud": None}, "token"),
        ({"iss": None}, "token"),
        ({"sub": None}, "claims"),
        ({"roles": 7}, "claims"),
        ({"roles": {"predict": 1}}, "claims"),
    ],
)
def test_wrong_claims_are_refused(
    door: Door, issuer: Issuer, claims: dict[str, Any], reason: str
) -> None:
    assert door.refusal(issuer.token(**claims)) == reason


def test_clocks_may_differ_by_the_leeway(door: Door, issuer: Issuer) -> None:
    visit(door.guard, f"Bearer {issuer.token(exp=int(time.time()) - 20)}")
    visit(door.guard, f"Bearer {issuer.token(nbf=int(time.time()) + 20)}")


def test_a_known_token_ends_with_its_time(
    door: Door, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = issuer.token()
    visit(door.guard, f"Bearer {token}")
    later = time.time() + 631
    monkeypatch.setattr("adcaptum.service.security.tokens.token_checks.time", lambda: later)
    assert door.guard.tokens is not None
    assert door.guard.tokens.known(token) is None


def test_other_signatures_are_refused(door: Door, issuer: Issuer) -> None:
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    public = json.dumps(issuer.public()).encode()
    assert door.refusal(Issuer().token()) == "token"
    assert door.refusal(Issuer("unknown").token()) == "key"
    assert door.refusal(unsigned({"alg": "none", "kid": "first"}, claims)) == "algorithm"
    # The trap of tokens: a public key taken for the secret of HMAC.
    mixed = unsigned({"alg": "HS256", "kid": "first"}, claims, public)
    assert door.refusal(mixed) == "algorithm"
    assert door.refusal(unsigned({"alg": "RS256", "kid": ["first"]}, claims)) == "malformed"
    assert door.refusal(unsigned({"alg": "ES256", "kid": "first"}, claims)) == "algorithm"
    whole = issuer.token()
    assert door.refusal(whole[:-6] + "AAAAAA") == "token"
    assert door.refusal("a.b.c") == "malformed"
    assert door.refusal("x" * 9000) == "malformed"


def test_keys_on_curves(tmp_path: Path) -> None:
    issuer = Issuer(curve=True)
    door = Door(tmp_path, issuer)
    assert visit(door.guard, f"Bearer {issuer.token()}").caller == "jwt:alice"


def test_claims_may_stand_for_roles(tmp_path: Path, issuer: Issuer) -> None:
    more = "roles_claim = 'scope'\nroles = { analysts = ['explain:cells'] }\nname_claim = 'mail'"
    door = Door(tmp_path, issuer, more)
    token = issuer.token(scope="analysts predict", mail="a@b.test", roles=None)
    assert visit(door.guard, f"Bearer {token}", OURS + "Explain").caller == "jwt:a@b.test"
    with pytest.raises(PermissionDenied):
        visit(door.guard, f"Bearer {token}")


def test_names_that_metadata_cannot_have_are_digests(door: Door, issuer: Issuer) -> None:
    caller = visit(door.guard, f"Bearer {issuer.token(sub='Zoë ' + 300 * 'x')}").caller
    assert caller.startswith("jwt:")
    assert len(caller) < 60
    assert caller.isascii()


def test_roles_of_other_services_in_a_token_are_left_out(door: Door, issuer: Issuer) -> None:
    token = issuer.token(roles=["billing.write", "predict:cells", "explain:", 5, None])
    visit(door.guard, f"Bearer {token}")
    with pytest.raises(PermissionDenied):
        visit(door.guard, f"Bearer {token}", OURS + "Explain")


def test_a_flood_of_bad_tokens_is_not_checked_for_ever(door: Door, issuer: Issuer) -> None:
    bad = [Issuer().token(sub=str(index)) for index in range(3)]
    known, fresh = issuer.token(), issuer.token(sub="bob")
    visit(door.guard, f"Bearer {known}")

    def flood() -> None:
        for index in range(300):
            with suppress(Unauthenticated):
                visit(door.guard, f"Bearer {bad[index % 3]}")

    with pytest.raises(TooBusy, match="too many wrong tokens") as refused:
        flood()
    assert refused.value.limit == "authentication"
    assert counted(door.registry, "failures_total", reason="token") < 200
    assert counted(door.registry, "failures_total", reason="flood") == 1
    # Whoever was known before is served, and so is everybody elsewhere.
    visit(door.guard, f"Bearer {known}")
    visit(door.guard, f"Bearer {fresh}", host="ipv4:10.0.0.2")


def test_new_keys_of_the_issuer_are_found_without_a_restart(tmp_path: Path, issuer: Issuer) -> None:
    door, second = Door(tmp_path, issuer), Issuer("second")
    assert door.refusal(second.token()) == "key"
    old = issuer.token()
    visit(door.guard, f"Bearer {old}")
    (tmp_path / "jwks.json").write_text(key_set(second))
    visit(door.guard, f"Bearer {second.token()}")
    # The withdrawn key's tokens are forgotten with it.
    assert door.refusal(old) == "key"


def test_an_unusable_key_set_leaves_the_old_one(tmp_path: Path, issuer: Issuer) -> None:
    door = Door(tmp_path, issuer)
    (tmp_path / "jwks.json").write_text("{}")
    assert door.refusal(Issuer("second").token()) == "key"
    assert counted(door.registry, "source_stale", source="jwks") == 1
    visit(door.guard, f"Bearer {issuer.token()}")
    (tmp_path / "jwks.json").unlink()
    assert door.refusal(Issuer("second").token(sub="b")) == "key"
    visit(door.guard, f"Bearer {issuer.token(sub='c')}")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("nonsense", "not a set of public keys"),
        ('{"keys": 5}', "not a set of public keys"),
        ('{"keys": [5]}', "not a set of public keys"),
        ('{"keys": []}', "no public key"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "no public key"),
        ('{"keys": [{"kty": "RSA", "alg": "HS256"}]}', "not a set of public keys"),
        ('{"keys": [{"kty": "RSA"}]}', "cannot be used"),
        ("[" * 100_000, "not a set of public keys"),
    ],
)
def test_what_is_no_key_set_ends_the_start(
    tmp_path: Path, issuer: Issuer, content: str, told: str
) -> None:
    path = write_credentials(tmp_path, issuer)
    (tmp_path / "jwks.json").write_text(content)
    with pytest.raises(CannotStart, match=told):
        Access(Settings(repository=tmp_path, credentials=path), None)


def test_an_address_must_be_safe(tmp_path: Path) -> None:
    path = tmp_path / "credentials.toml"
    path.write_text(
        f"[jwt]\nissuer = '{ISSUER}'\naudience = '{AUDIENCE}'\njwks = 'http://issuer.test/keys'"
    )
    with pytest.raises(CannotStart, match="must begin with https"):
        Access(Settings(repository=tmp_path, credentials=path), None)


def test_credentials_are_read_again_when_they_change(tmp_path: Path, issuer: Issuer) -> None:
    door = Door(tmp_path, issuer)
    path = tmp_path / "credentials.toml"
    source = door.access._source
    assert source is not None
    path.write_text(path.read_text().replace(AUDIENCE, "elsewhere"))
    asyncio.run(_looked(door))
    assert door.refusal(issuer.token()) == "audience"
    visit(door.guard, f"Bearer {issuer.token(aud='elsewhere')}")
    path.write_text("[keys")
    asyncio.run(_looked(door))
    assert counted(door.registry, "source_stale", source="credentials") == 1
    visit(door.guard, f"Bearer {issuer.token(aud='elsewhere')}")


async def _looked(door: Door) -> None:
    assert door.access._source is not None
    await door.access._source.look()
    door.access.stop()

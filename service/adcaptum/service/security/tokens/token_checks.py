"""Tokens: JSON web tokens of an issuer, checked by its public keys (RFC 7519, RFC 8725)."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import Any, Final

import jwt

from adcaptum.service.security.credentials import TokenRules
from adcaptum.service.security.identity import Grants, Identity, visible
from adcaptum.service.security.metrics import SecurityMetrics
from adcaptum.service.security.tokens.bad_token import BadToken
from adcaptum.service.security.tokens.key_sets import AddressKeySet, FileKeySet, is_address

MOST_KEPT: Final = 4096
"""The most tokens whose check is remembered."""

MOST_ROLES: Final = 100
"""The most roles of a token."""

FOREVER: Final = 1 << 40

FAULTS: Final[Mapping[type[Exception], str]] = {
    jwt.ExpiredSignatureError: "expired",
    jwt.ImmatureSignatureError: "not_yet_valid",
    jwt.InvalidAudienceError: "audience",
    jwt.InvalidIssuerError: "issuer",
}


class Tokens:
    """Checks tokens, and remembers those that are good until they expire."""

    def __init__(self, rules: TokenRules, folder: Path, metrics: SecurityMetrics) -> None:
        """Opens the key set.

        Args:
            rules: The tokens that are taken.
            folder: The folder from which the path of a key set's file leads.
            metrics: What is counted.

        Raises:
            BadKeySet: It cannot be used.
        """
        self._rules = rules
        self.keys: AddressKeySet | FileKeySet = (
            AddressKeySet(rules.jwks, metrics, self._forget)
            if is_address(rules.jwks)
            else FileKeySet(folder / rules.jwks, metrics, self._forget)
        )
        # By digest, with the end of each; the least recently used first.
        self._kept: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()

    def known(self, token: str) -> Identity | None:
        """Returns the caller of a token that was checked before, and is still good."""
        digest = _digest(token)
        found = self._kept.get(digest)
        if found is None:
            return None
        if time() >= found[1]:
            del self._kept[digest]
            return None
        self._kept.move_to_end(digest)
        return found[0]

    async def check(self, token: str) -> Identity:
        """Returns the caller of a token.

        Raises:
            BadToken: It is not taken.
        """
        rules = self._rules
        try:
            head = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise BadToken("malformed") from None
        algorithm, key_id = head.get("alg"), head.get("kid", "")
        if algorithm not in rules.algorithms or not isinstance(key_id, str):
            raise BadToken("algorithm")
        if key_id not in self.keys.keys:
            await self.keys.refresh()
        key = self.keys.keys.get(key_id)
        if key is None:
            raise BadToken("key")
        if algorithm not in key.algorithms:
            raise BadToken("algorithm")
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=list(rules.audience),
                issuer=rules.issuer,
                leeway=rules.leeway_seconds,
                options={"require": ["exp", "aud", "iss"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise BadToken(FAULTS.get(type(error), "token")) from None
        identity = self._identity(claims)
        end = min(int(claims["exp"]), FOREVER) + rules.leeway_seconds
        self._kept[_digest(token)] = (identity, end)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return identity

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        rules = self._rules
        name, told = claims.get(rules.name_claim), claims.get(rules.roles_claim, [])
        words = told.split() if isinstance(told, str) else told
        if not isinstance(name, str) or not name or not isinstance(words, list):
            raise BadToken("claims")
        if rules.roles:
            roles = [role for word in words for role in rules.roles.get(str(word), ())]
        else:
            roles = [str(word) for word in words]
        return Identity(visible(f"jwt:{name}"), _grants(roles[:MOST_ROLES]), rules.quota)

    def _forget(self) -> None:
        """Forgets what was checked: a key may have been withdrawn."""
        self._kept.clear()


def _grants(words: list[str]) -> Grants:
    """Returns the grants among the roles of a token, which may have those of other services."""
    good = []
    for word in words:
        try:
            Grants.of((word,))
        except ValueError:
            continue
        good.append(word)
    return Grants.of(good)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()

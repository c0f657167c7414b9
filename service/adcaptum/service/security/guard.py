"""The guard: finds out who calls before a request is read, and what the caller may do."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import time
from typing import Any, Final, Protocol

from adcaptum.service.errors import PermissionDenied, TooBusy
from adcaptum.service.security import api_keys
from adcaptum.service.security.credentials import Credentials
from adcaptum.service.security.failures import Failures
from adcaptum.service.security.identity import Identity
from adcaptum.service.security.metrics import SecurityMetrics
from adcaptum.service.security.model_names import model_name
from adcaptum.service.security.quotas import Quotas
from adcaptum.service.security.roles import OURS, Need, Role, need_of
from adcaptum.service.security.tokens.bad_token import BadToken

AUTHORIZATION: Final = "authorization"
SCHEME: Final = "bearer "
CALLER: Final = "x-caller-id"

MOST_TOKEN: Final = 8192
"""The longest token."""

CHECK_RETRY_SECONDS: Final = 1.0

PRICED: Final = frozenset({Role.PREDICT, Role.EXPLAIN})
"""The roles whose calls take time of the device."""

Metadata = Iterable[tuple[str, str | bytes]]


class TokenChecks(Protocol):
    """The checks of tokens."""

    def known(self, token: str) -> Identity | None:
        """Returns the caller of a token that was checked before, and is still good."""

    async def check(self, token: str) -> Identity:
        """Returns the caller of a token.

        Raises:
            BadToken: It is not taken.
        """


class Visitor:
    """A caller whose credentials are good, on one call.

    Attributes:
        caller: The name under which its requests are counted and take turns.
        most_rows: The most rows that it may have under way; None: any.
    """

    __slots__ = ("_guard", "_identity", "_method", "_need", "caller", "most_rows")

    def __init__(
        self, guard: "Guard", identity: Identity, method: str, need: Need, caller: str
    ) -> None:
        self._guard = guard
        self._identity = identity
        self._method = method
        self._need = need
        self.caller = caller
        self.most_rows = identity.quota.rows

    def authorise(self, raw: bytes) -> None:
        """Checks that the caller may make this request, and has something left of its quota.

        Args:
            raw: The serialised request.

        Raises:
            PermissionDenied: It may not.
            TooBusy: It has nothing left.
            InvalidRequest: The request is no message.
        """
        role, path, whole = self._need
        grants = self._identity.grants
        if not path:
            if whole and not grants.is_for_all(role):
                raise self._guard.denied(role)
        elif not grants.is_for_all(role):
            name = model_name(raw, path)
            # Without a name a call is about no model, or will be refused for that; one that changes
            # something may be about all.
            if not (grants.allows(role, name) if name else role is not Role.ADMIN):
                raise self._guard.denied(role, name)
        if role in PRICED:
            self._guard.admit(self.caller, self._identity)

    def show(self, answer: Any) -> None:
        """Takes out of an answer the models of which the caller may not know."""
        grants = self._identity.grants
        if self._method != OURS + "ListModels" or grants.is_for_all(Role.READ):
            return
        shown = [each for each in answer.models if grants.allows(Role.READ, each.name)]
        del answer.models[:]
        answer.models.extend(shown)

    def leave(self, seconds: float) -> None:
        """Ends the call.

        Args:
            seconds: The seconds of the device that its answer took.
        """
        self._guard.quotas.charge(self.caller, self._identity.quota, seconds)


class Guard:
    """The rule of who may call, and do what. For the event loop only.

    Attributes:
        credentials: The callers; to be set anew when they change.
        tokens: The checks of tokens; None: no token is taken.
        quotas: The accounts of callers.
    """

    def __init__(
        self,
        credentials: Credentials,
        tokens: TokenChecks | None,
        metrics: SecurityMetrics,
        share: float = 1.0,
    ) -> None:
        """Prepares it.

        Args:
            credentials: The callers.
            tokens: The checks of tokens.
            metrics: What is counted.
            share: The part of each quota that this process gives.
        """
        self.credentials = credentials
        self.tokens = tokens
        self.quotas = Quotas(share)
        self._metrics = metrics
        self._failures = Failures(metrics)

    async def identify(
        self,
        method: str,
        metadata: Metadata,
        host: str,
        certificate: Callable[[], Mapping[str, Sequence[bytes]]],
    ) -> Visitor | None:
        """Returns who makes a call; None if everybody may make it.

        Args:
            method: The service and the method.
            metadata: What came with the call.
            host: The address that it comes from.
            certificate: Returns the facts of the caller's certificate.

        Raises:
            Unauthenticated: The credentials are missing or wrong.
            PermissionDenied: The caller may not make such a call, whatever its model.
            TooBusy: Too many wrong credentials came from there.
        """
        need = need_of(method)
        if need is None:
            return None
        shown = told = ""
        for key, value in metadata:
            if key == AUTHORIZATION and isinstance(value, str):
                shown = value
            elif key == CALLER and isinstance(value, str):
                told = value
        identity = await self._identity(shown, host, certificate)
        grants = identity.grants
        # Another protocol has one call for both.
        if not (grants.has(need.role) or (need.role is Role.PREDICT and grants.has(Role.EXPLAIN))):
            raise self.denied(need.role)
        return Visitor(self, identity, method, need, identity.caller(told))

    def denied(self, role: Role, model: str = "") -> PermissionDenied:
        """Counts a call that a caller may not make, and returns its error."""
        self._metrics.denied.labels(role).inc()
        return PermissionDenied(role=role, model=model)

    def admit(self, caller: str, identity: Identity) -> None:
        """Checks that a caller has something left of its quota.

        Raises:
            TooBusy: It has not.
        """
        try:
            self.quotas.admit(caller, identity.quota)
        except TooBusy:
            self._metrics.over_quota.inc()
            raise

    async def _identity(
        self, shown: str, host: str, certificate: Callable[[], Mapping[str, Sequence[bytes]]]
    ) -> Identity:
        """Returns the holder of credentials."""
        if not shown:
            return self._holder(host, certificate)
        text = shown[len(SCHEME) :].strip()
        if shown[: len(SCHEME)].lower() != SCHEME or not text:
            raise self._failures.refused("malformed", host)
        if api_keys.is_key(text):
            held = self.credentials.keys.get(api_keys.id_of(text))
            if not api_keys.matches(text, None if held is None else held.digest):
                raise self._failures.refused("key", host)
            assert held is not None, "a key that matches is held"
            if held.end is not None and time() >= held.end:
                raise self._failures.refused("expired", host)
            return held.identity
        return await self._bearer(text, host)

    async def _bearer(self, token: str, host: str) -> Identity:
        tokens = self.tokens
        if tokens is None or len(token) > MOST_TOKEN:
            raise self._failures.refused("malformed", host)
        known = tokens.known(token)
        if known is not None:
            return known
        if not self._failures.may_check(host):
            self._metrics.failures.labels("flood").inc()
            raise TooBusy(
                "too many wrong tokens came from this address",
                retry_s=CHECK_RETRY_SECONDS,
                limit="authentication",
            )
        try:
            return await tokens.check(token)
        except BadToken as bad:
            self._failures.checked_in_vain(host)
            raise self._failures.refused(bad.reason, host) from None

    def _holder(
        self, host: str, certificate: Callable[[], Mapping[str, Sequence[bytes]]]
    ) -> Identity:
        """Returns the holder of the certificate of a call that shows nothing else."""
        known = self.credentials.certificates
        if known:
            facts = certificate()
            names = (
                *facts.get("x509_subject_alternative_name", ()),
                *facts.get("x509_common_name", ()),
            )
            for name in names:
                found = known.get(name.decode(errors="replace"))
                if found is not None:
                    return found
        raise self._failures.refused("missing", host)

"""Access: the guard of a server with its sources, as the settings name them."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from adcaptum.service.processes.exits import CannotStart
from adcaptum.service.security.audit import AuditLog
from adcaptum.service.security.credentials import (
    MOST_BYTES,
    BadCredentials,
    Credentials,
    TokenRules,
    read,
    read_keys,
)
from adcaptum.service.security.exposure import check_exposure
from adcaptum.service.security.guard import Guard, TokenChecks
from adcaptum.service.security.metrics import SecurityMetrics
from adcaptum.service.security.sources import Source
from adcaptum.service.settings import Settings

if TYPE_CHECKING:
    from adcaptum.service.security.certificates import Certificates


class Access:
    """A guard, and the tasks that keep what it knows up to date.

    Attributes:
        guard: The guard; None: everybody may do everything.
        certificates: The server's certificate; None: connections are not encrypted.
        audit: Where administrative calls are noted.
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry | None) -> None:
        """Reads the credentials.

        Args:
            settings: The settings.
            registry: Where its metrics are shown; None: nowhere.

        Raises:
            CannotStart: They cannot be used, or there are none where there must be.
        """
        check_exposure(settings)
        self._settings = settings
        metrics = self._metrics = SecurityMetrics(registry or CollectorRegistry())
        self._tasks: list[asyncio.Task[None]] = []
        self._keeping: asyncio.Task[None] | None = None
        self._source: Source[Credentials] | None = None
        self._rules: TokenRules | None = None
        self._keep: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._of_environment = Credentials()
        self.certificates = _certificates(settings, metrics)
        self.audit = AuditLog(settings.audit_log)
        self.guard: Guard | None = None
        if not settings.has_credentials:
            return
        try:
            if settings.api_keys is not None:
                self._of_environment = read_keys(settings.api_keys.get_secret_value())
        except BadCredentials as error:
            raise CannotStart(f"api_keys: {error}") from None
        credentials = self._of_environment
        path = settings.credentials
        if path is not None:
            try:
                self._source = Source(
                    "credentials", (path,), lambda: _read(path), metrics, self._change
                )
            except (OSError, BadCredentials, UnicodeDecodeError) as error:
                raise CannotStart(f"credentials {path}: {error}") from None
            credentials = self._source.value | credentials
        self.guard = Guard(
            credentials, self._checks(credentials.tokens), metrics, 1 / settings.fronts
        )

    @property
    def metrics_guard(self) -> Guard | None:
        """The guard of the page of metrics; None: it is for everybody."""
        return None if self._settings.open_metrics else self.guard

    def start(self) -> None:
        """Keeps all that up to date from now on; for a running event loop."""
        if self.certificates is not None:
            self._tasks.append(asyncio.create_task(self.certificates.keep()))
        if self._source is not None:
            self._tasks.append(asyncio.create_task(self._source.keep()))
        self._keep_tokens()

    def stop(self) -> None:
        """Ends that."""
        for task in (*self._tasks, *((self._keeping,) if self._keeping else ())):
            task.cancel()

    def _change(self, found: Credentials) -> None:
        """Takes over new credentials."""
        assert self.guard is not None, "there are credentials"
        credentials = found | self._of_environment
        if credentials.tokens != self._rules:
            self.guard.tokens = self._checks(credentials.tokens)
            self._keep_tokens()
        self.guard.credentials = credentials

    def _checks(self, rules: TokenRules | None) -> TokenChecks | None:
        """Returns the checks of tokens by some rules.

        Raises:
            CannotStart: They cannot be made.
        """
        self._rules, self._keep = rules, None
        if rules is None:
            return None
        try:
            from adcaptum.service.security.tokens.token_checks import Tokens  # noqa: PLC0415 - an extra has jwt
        except ModuleNotFoundError as error:
            raise CannotStart(
                f"credentials: [jwt] needs {error.name}, which is not installed: "
                "pip install 'adcaptum[security]'"
            ) from None
        from adcaptum.service.security.tokens.key_sets import BadKeySet  # noqa: PLC0415 - likewise

        folder = Path() if self._settings.credentials is None else self._settings.credentials.parent
        try:
            tokens = Tokens(rules, folder, self._metrics)
        except BadKeySet as error:
            raise CannotStart(f"credentials: jwt.jwks: {error}") from None
        self._keep = tokens.keys.keep
        return tokens

    def _keep_tokens(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None
        if self._keep is not None:
            self._keeping = asyncio.create_task(self._keep())


def _certificates(settings: Settings, metrics: SecurityMetrics) -> "Certificates | None":
    """Returns the certificate that settings name; None: they name none.

    Raises:
        CannotStart: It cannot be used.
    """
    certificate, key, client_ca = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    if certificate is None or key is None:
        if (certificate, key, client_ca) != (None, None, None):
            missing = "tls_certificate" if certificate is None else "tls_key"
            raise CannotStart(
                f"{missing} is not set: tls_certificate and tls_key belong together, and "
                "tls_client_ca needs both"
            )
        return None
    try:
        from adcaptum.service.security import certificates  # noqa: PLC0415 - cryptography is extra
    except ModuleNotFoundError as error:
        raise CannotStart(
            f"tls_certificate: {error.name} is not installed: pip install 'adcaptum[security]'"
        ) from None
    try:
        return certificates.Certificates(certificate, key, client_ca, metrics)
    except (OSError, certificates.BadCertificate) as error:
        raise CannotStart(f"tls_certificate {certificate}, tls_key {key}: {error}") from None


def _read(path: Path) -> Credentials:
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise BadCredentials(f"more than {MOST_BYTES} bytes")
    return read(content.decode())

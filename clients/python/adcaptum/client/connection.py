"""Channel settings: encryption, retries, compression, keepalive."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import grpc

DEFAULT_ADDRESS = "127.0.0.1:8500"
DEFAULT_TIMEOUT_S = 60.0
DEFAULT_MAX_ATTEMPTS = 4

Compression: TypeAlias = Literal["gzip", "deflate"]

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
# gRPC servers close connections that are pinged more than once in five minutes while idle.
_KEEPALIVE_MS = 5 * 60 * 1000
_KEEPALIVE_TIMEOUT_MS = 20 * 1000
_RETRY_TOKENS = 100
_TOKENS_BACK = 0.2
_TOKEN = re.compile(r"[\x21-\x7e]+")
_COMPRESSIONS = {
    None: grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}


@dataclass(frozen=True, slots=True)
class Connection:
    """Channel settings of a client.

    Attributes:
        tls: Whether to encrypt; certificates imply it.
        root_certificates: PEM certificates to trust instead of the system's.
        client_key: PEM private key that proves who the client is.
        client_certificates: PEM certificate chain that belongs to client_key.
        max_attempts: Total number of attempts of a call while the server is unavailable, from 1 (no
            retry) to 5. The delay before the second attempt is 0.1 s and doubles with each further
            one, up to 2 s, with jitter.
        compression: Compression of messages: gzip, deflate, or None.
        token: API key or JSON web token that says who the client is.
        balanced: Whether there may be several servers: calls go to the healthy ones in turns.
    """

    tls: bool = False
    root_certificates: bytes | None = None
    client_key: bytes | None = field(default=None, repr=False)
    client_certificates: bytes | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    compression: Compression | None = None
    token: str | None = field(default=None, repr=False)
    balanced: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= 5:
            raise ValueError(f"max_attempts is {self.max_attempts}, must be from 1 to 5")
        if (self.client_key is None) != (self.client_certificates is None):
            raise ValueError("client_key and client_certificates belong together")
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            # Without the token: errors are printed and logged.
            raise ValueError("token must be visible ASCII characters, without spaces")
        if self.compression not in _COMPRESSIONS:
            raise ValueError(f"compression is {self.compression!r}, must be 'gzip' or 'deflate'")

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """Credentials of an encrypted channel; None for a plain one."""
        if not (self.tls or self.root_certificates or self.client_key):
            return None
        return grpc.ssl_channel_credentials(
            root_certificates=self.root_certificates,
            private_key=self.client_key,
            certificate_chain=self.client_certificates,
        )

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of every call."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)

    @property
    def grpc_compression(self) -> grpc.Compression:
        """The compression as a gRPC enum."""
        return _COMPRESSIONS[self.compression]

    @property
    def options(self) -> list[tuple[str, Any]]:
        """The channel's options, as gRPC takes them."""
        return [
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            ("grpc.enable_retries", int(self.max_attempts > 1)),
            # gRPC does not retry a call that exceeds this buffer; its default is too small for an
            # image.
            ("grpc.per_rpc_retry_buffer_size", _MAX_MESSAGE_BYTES),
            ("grpc.service_config", json.dumps(self._service_config())),
        ]

    def _service_config(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.balanced:
            found["loadBalancingConfig"] = [{"round_robin": {}}]
            # The server as a whole; one that has no health service counts as healthy.
            found["healthCheckConfig"] = {"serviceName": ""}
        if self.max_attempts == 1:
            return found
        return found | {
            # A failed attempt costs a token, a good one gives a part of one back; with half of
            # them gone there are no retries, which would add to the load of servers in need.
            "retryThrottling": {"maxTokens": _RETRY_TOKENS, "tokenRatio": _TOKENS_BACK},
            "methodConfig": [
                {
                    "name": [{"service": "adcaptum.v1.ExplanationService"}],
                    "retryPolicy": {
                        "maxAttempts": self.max_attempts,
                        "initialBackoff": "0.1s",
                        "maxBackoff": "2s",
                        "backoffMultiplier": 2,
                        # Every call is pure; only after UNAVAILABLE can a retry help.
                        "retryableStatusCodes": ["UNAVAILABLE"],
                    },
                }
            ],
        }

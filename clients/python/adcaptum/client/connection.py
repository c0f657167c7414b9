"""How a client reaches its server."""

import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import grpc

DEFAULT_ADDRESS = "127.0.0.1:8500"
DEFAULT_TIMEOUT_S = 60.0
DEFAULT_MAX_ATTEMPTS = 4

Compression: TypeAlias = Literal["gzip", "deflate"]

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
# Servers of gRPC hang up on clients that ping a quiet connection oftener than every five minutes.
_KEEPALIVE_MS = 5 * 60 * 1000
_KEEPALIVE_TIMEOUT_MS = 20 * 1000
_COMPRESSIONS = {
    None: grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}


@dataclass(frozen=True, slots=True)
class Connection:
    """How a client reaches its server.

    Attributes:
        tls: Whether to encrypt; certificates imply it.
        root_certificates: PEM certificates to trust instead of the system's.
        client_key: PEM private key that proves who the client is.
        client_certificates: PEM certificate chain that belongs to client_key.
        max_attempts: How often a call is tried in all while the server is unavailable, 1 to 5; it
            waits 0.1 s before the second attempt and twice as long before each further one, with
            jitter. 1 never repeats.
        compression: How messages are compressed, if at all.
    """

    tls: bool = False
    root_certificates: bytes | None = None
    client_key: bytes | None = None
    client_certificates: bytes | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    compression: Compression | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= 5:
            raise ValueError(f"max_attempts is {self.max_attempts}, must be from 1 to 5")
        if (self.client_key is None) != (self.client_certificates is None):
            raise ValueError("client_key and client_certificates belong together")
        if self.compression not in _COMPRESSIONS:
            raise ValueError(f"compression is {self.compression!r}, must be 'gzip' or 'deflate'")

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """The credentials of an encrypted channel; None for a plain one."""
        if not (self.tls or self.root_certificates or self.client_key):
            return None
        return grpc.ssl_channel_credentials(
            root_certificates=self.root_certificates,
            private_key=self.client_key,
            certificate_chain=self.client_certificates,
        )

    @property
    def grpc_compression(self) -> grpc.Compression:
        """The compression in gRPC's words."""
        return _COMPRESSIONS[self.compression]

    @property
    def options(self) -> list[tuple[str, Any]]:
        """The channel's options, in gRPC's words."""
        return [
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            ("grpc.enable_retries", int(self.max_attempts > 1)),
            # gRPC does not repeat a call that does not fit here; its default holds no image.
            ("grpc.per_rpc_retry_buffer_size", _MAX_MESSAGE_BYTES),
            ("grpc.service_config", json.dumps(self._service_config())),
        ]

    def _service_config(self) -> dict[str, Any]:
        if self.max_attempts == 1:
            return {}
        return {
            "methodConfig": [
                {
                    "name": [{"service": "adcaptum.v1.ExplanationService"}],
                    "retryPolicy": {
                        "maxAttempts": self.max_attempts,
                        "initialBackoff": "0.1s",
                        "maxBackoff": "2s",
                        "backoffMultiplier": 2,
                        # Every call of the service is pure, but only this code promises that
                        # trying again may help.
                        "retryableStatusCodes": ["UNAVAILABLE"],
                    },
                }
            ]
        }

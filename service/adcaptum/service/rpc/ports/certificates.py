"""Certificates as ports take them."""

import ssl
from typing import Protocol

import grpc


class Certificates(Protocol):
    """The certificate of a server.

    Attributes:
        credentials: For a gRPC port; each needs its own.
        context: For the HTTP port.
    """

    @property
    def credentials(self) -> grpc.ServerCredentials: ...

    @property
    def context(self) -> ssl.SSLContext: ...

"""The description of a server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server.

    Attributes:
        version: Its version.
        extensions: Names of additions to the contract that it understands.
    """

    version: str
    extensions: tuple[str, ...]

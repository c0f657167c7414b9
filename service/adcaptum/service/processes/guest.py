"""Guests: servers in the process of another program, such as a script or a notebook."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guest:
    """A server that is a guest in the process of another program.

    Attributes:
        ready: Called in the server's event loop when it is ready, with its addresses by protocol,
            and by model the reason for which it does not serve, empty if it does.
    """

    ready: Callable[[Mapping[str, str], Mapping[str, str]], None]

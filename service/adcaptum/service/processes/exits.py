"""Ends of processes: errors of a start, and exit statuses with a meaning for a supervisor."""

from typing import Final

CANNOT_START: Final = 78
"""It cannot start, and would not at the next try either."""

DEVICE_LOST: Final = 79
"""Its device is of no use to the process any more."""


class CannotStart(Exception):
    """A port, an address, a device, or a setting of security cannot be used; the text says why."""

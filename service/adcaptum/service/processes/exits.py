"""The exit statuses of worker processes with a meaning for their supervisor."""

from typing import Final

CANNOT_START: Final = 78
"""It cannot start, and would not at the next try either."""

DEVICE_LOST: Final = 79
"""Its device is of no use to the process any more."""

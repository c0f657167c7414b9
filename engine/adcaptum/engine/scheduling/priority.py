"""Classes of requests."""

from enum import IntEnum


class Priority(IntEnum):
    """Classes of requests: as long as one has rows waiting, the next batch is for the lowest.

    BATCH is for work in the background: it gets what PREDICT and INTERACTIVE leave idle, and may
    get nothing as long as these fill the device.
    """

    PREDICT = 0
    INTERACTIVE = 1
    BATCH = 2

"""Tokens that are not taken."""


class BadToken(Exception):
    """The token is not taken.

    Attributes:
        reason: What is wrong, for metrics and log; callers are not told.
    """

    def __init__(self, reason: str) -> None:
        Exception.__init__(self, reason)
        self.reason = reason

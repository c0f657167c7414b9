"""Quotas: what callers may have of the device, in seconds of it in each second.

The price of an answer is known when it is there. So a caller pays afterwards: whoever has nothing
left waits until the debt is paid, and a request that costs more than there is may still run once.
"""

from collections import OrderedDict
from time import monotonic
from typing import Final

from adcaptum.service.errors import TooBusy
from adcaptum.service.security.identity import Quota

BURST_SECONDS: Final = 10.0
"""The time for which a caller may save what it does not use."""

MOST_CALLERS: Final = 10_000
"""The most callers whose accounts are kept; of others the least recent is forgotten."""


class Quotas:
    """The accounts of the callers of one process. For the event loop only."""

    def __init__(self, share: float = 1.0) -> None:
        """Prepares them.

        Args:
            share: The part of each quota that this process gives: of several fronts each has one.
        """
        self._share = share
        # By caller: the seconds that are left, and when that was so; the least recent first.
        self._accounts: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, caller: str, quota: Quota) -> None:
        """Checks that a caller has something left.

        Raises:
            TooBusy: It has not.
        """
        if quota.row_seconds is None:
            return
        rate = quota.row_seconds * self._share
        left = self._left(caller, rate, monotonic())
        if left <= 0:
            raise TooBusy(
                f"this caller has used its quota of {quota.row_seconds:g} row-seconds per second",
                retry_s=max(0.01, -left / rate),
                limit="caller_row_seconds",
            )

    def charge(self, caller: str, quota: Quota, seconds: float) -> None:
        """Takes the price of an answer from a caller's account.

        Args:
            caller: The caller.
            quota: Its quota.
            seconds: The seconds of the device.
        """
        if quota.row_seconds is None or not seconds:
            return
        now = monotonic()
        left = self._left(caller, quota.row_seconds * self._share, now) - seconds
        self._accounts[caller] = (left, now)
        self._accounts.move_to_end(caller)
        if len(self._accounts) > MOST_CALLERS:
            self._accounts.popitem(last=False)

    def _left(self, caller: str, rate: float, now: float) -> float:
        most = rate * BURST_SECONDS
        left, then = self._accounts.get(caller, (most, now))
        return min(most, left + rate * (now - then))

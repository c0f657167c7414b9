"""Who has how much under way: accounts of callers, backlogs of classes."""

from collections.abc import Hashable

from adcaptum.engine.scheduling.backlog import Account, Backlog
from adcaptum.engine.scheduling.requests import Priority, Request


class Ledger:
    """Counts requests from when they are announced, or have rows, to their end.

    Attributes:
        total: What all callers together have under way.
        backlogs: What waits, by class.
    """

    __slots__ = ("_accounts", "backlogs", "total")

    def __init__(self) -> None:
        self.total = Account()
        self.backlogs = tuple(Backlog() for _ in Priority)
        self._accounts: dict[Hashable, Account] = {}

    def __len__(self) -> int:
        """The number of callers who have something under way."""
        return len(self._accounts)

    def account(self, caller: Hashable) -> Account:
        """What a caller has under way."""
        account = self._accounts.get(caller)
        return Account() if account is None else account

    def seconds(self, priority: Priority) -> float:
        """How long all takes that waits of a class and of those before it."""
        return sum([backlog.seconds for backlog in self.backlogs[: priority + 1]])

    def open(self, request: Request) -> None:
        """Counts a request as under way."""
        accounts = [self.total]
        if request.caller is not None:
            account = self._accounts.get(request.caller)
            if account is None:
                account = self._accounts[request.caller] = Account()
            accounts.append(account)
        request.accounts = tuple(accounts)
        for account in accounts:
            account.requests += 1
            account.rows += request.expected_rows
            account.nbytes += request.nbytes
        backlog = self.backlogs[request.priority]
        backlog.requests += 1
        backlog.expect(request.expected_rows, request.expected_seconds)

    def close(self, request: Request) -> None:
        """Counts a request as under way no more, if it was."""
        if not request.accounts:
            return
        backlog = self.backlogs[request.priority]
        backlog.requests -= 1
        backlog.expect(-request.expected_rows, -request.expected_seconds)
        for account in request.accounts:
            account.requests -= 1
            account.rows -= request.expected_rows + request.pending_rows
            account.nbytes -= request.nbytes
        if request.caller is not None and not request.accounts[-1].requests:
            del self._accounts[request.caller]
        request.accounts = ()
        request.expected_rows, request.expected_seconds = 0, 0.0

    def count(self, request: Request, rows: int) -> None:
        """Counts rows of a request in its accounts."""
        for account in request.accounts:
            account.rows += rows

    def come(self, request: Request, rows: int) -> None:
        """Counts rows that a request adds; some of them may have been expected."""
        expected = min(rows, request.expected_rows)
        if expected:
            seconds = request.expected_seconds * expected / request.expected_rows
            request.expected_rows -= expected
            request.expected_seconds -= seconds
            self.backlogs[request.priority].expect(-expected, -seconds)
        self.count(request, rows - expected)

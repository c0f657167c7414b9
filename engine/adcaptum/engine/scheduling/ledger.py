"""The work in flight, by caller and by class."""

from collections.abc import Hashable

from adcaptum.engine.scheduling.backlog import Backlog
from adcaptum.engine.scheduling.priority import Priority
from adcaptum.engine.scheduling.request import Request


class Account:
    """The work that a caller, or all of them together, has in flight.

    Attributes:
        requests: Number of requests.
        rows: Rows that were expected or added, and have not been evaluated.
        nbytes: The memory that the requests hold, in bytes.
    """

    __slots__ = ("nbytes", "requests", "rows")

    def __init__(self) -> None:
        self.requests = 0
        self.rows = 0
        self.nbytes = 0


class Ledger:
    """Counts requests from when they are announced, or have rows, to their end.

    Attributes:
        total: The work that all callers together have in flight.
        backlogs: The waiting rows, by class.
    """

    __slots__ = ("_callers", "_open", "backlogs", "total")

    def __init__(self) -> None:
        self.total = Account()
        self.backlogs = tuple(Backlog() for _ in Priority)
        self._callers: dict[Hashable, Account] = {}
        self._open: dict[Request, tuple[Account, ...]] = {}

    def __len__(self) -> int:
        """Returns the number of callers with work in flight."""
        return len(self._callers)

    def __contains__(self, request: Request) -> bool:
        """Returns whether a request is counted."""
        return request in self._open

    def account(self, caller: Hashable) -> Account:
        """Returns the work that a caller has in flight."""
        account = self._callers.get(caller)
        return Account() if account is None else account

    def seconds(self, priority: Priority) -> float:
        """Returns the time of all waiting rows of a class and of those before it."""
        return sum([backlog.seconds for backlog in self.backlogs[: priority + 1]])

    def open(self, request: Request) -> None:
        """Counts a request as in flight."""
        accounts = [self.total]
        if request.caller is not None:
            account = self._callers.get(request.caller)
            if account is None:
                account = self._callers[request.caller] = Account()
            accounts.append(account)
        self._open[request] = tuple(accounts)
        for account in accounts:
            account.requests += request.members
            account.rows += request.expected_rows
            account.nbytes += request.nbytes
        backlog = self.backlogs[request.priority]
        backlog.requests += request.members
        backlog.expect(request.expected_rows, request.expected_seconds)

    def close(self, request: Request) -> None:
        """Removes a request from the count of those in flight, if it was in it."""
        accounts = self._open.pop(request, ())
        if not accounts:
            return
        backlog = self.backlogs[request.priority]
        backlog.requests -= request.members
        backlog.expect(-request.expected_rows, -request.expected_seconds)
        for account in accounts:
            account.requests -= request.members
            account.rows -= request.expected_rows + request.pending_rows
            account.nbytes -= request.nbytes
        if request.caller is not None and not accounts[-1].requests:
            del self._callers[request.caller]
        request.expected_rows, request.expected_seconds = 0, 0.0

    def count(self, request: Request, rows: int) -> None:
        """Counts rows of a request in its accounts."""
        for account in self._open.get(request, ()):
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

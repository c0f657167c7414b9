"""Members: requests that are answered jointly with others, and the calls that wait for them.

Identical requests are one member, with a waiter for each call.
"""

import asyncio
from collections.abc import Hashable
from typing import Generic, NamedTuple, Protocol, TypeVar

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.handlers.call import Call
from adcaptum.service.handlers.waiter import Terms, Waiter
from adcaptum.service.runtime.work import Work


class Asked(Protocol):
    """The part of a request that gathering it depends on."""

    @property
    def key(self) -> bytes | None:
        """Equal for requests that may share an answer; None: it shares nothing."""
        ...

    @property
    def call(self) -> Call:
        """Its call."""
        ...

    @property
    def priority(self) -> Priority:
        """Its class."""
        ...


R = TypeVar("R", bound=Asked)


class MemberAnswers(Protocol):
    """The answers of all members of a joint work."""

    def write(self, first: int, count: int) -> bytes:
        """Returns the answer of a member, serialised, without what each call has of its own.

        Args:
            first: The place of its first example.
            count: The number of its examples.
        """
        ...


class Share(NamedTuple):
    """A member's share of a joint work.

    Attributes:
        answers: Writes the answers of all members.
        first: The place of the member's first example.
        work: The work of all members.
    """

    answers: MemberAnswers
    first: int
    work: Work


class Member(Generic[R]):
    """A request among those of a joint work.

    Attributes:
        request: The request.
        alike: What it has in common with requests that it may be joined with.
        examples: The number of its examples.
        waiters: The calls that wait for its answer.
        finished: Its share, once the work has ended; None: it has to run apart.
        stored: Its answer in bytes, once it has been written and if it may be shared.
    """

    __slots__ = ("alike", "examples", "finished", "request", "stored", "waiters")

    def __init__(self, request: R, alike: Hashable, examples: int) -> None:
        self.request = request
        self.alike = alike
        self.examples = examples
        self.waiters: dict[Waiter, None] = {}
        self.finished: asyncio.Future[Share | None] = asyncio.get_running_loop().create_future()
        self.stored: bytes | None = None

    @property
    def priority(self) -> Priority:
        """Its class."""
        return self.request.priority

    @property
    def joinable(self) -> bool:
        """True if a call that comes now is answered with the others: nothing is settled twice."""
        if not self.finished.done():
            return True
        return self.finished.exception() is None and self.finished.result() is not None

    def join(self, due: float | None, *, joined: bool) -> Waiter:
        """Adds a call.

        Args:
            due: When its answer is due, on the monotonic clock; None: when it is ready.
            joined: Whether an identical request was there before.
        """
        terms = Terms(self.priority, due, partial=False, stream=False)
        waiter = Waiter(self.finished, terms, joined=joined)
        self.waiters[waiter] = None
        return waiter

    def settle(self, share: Share | None) -> None:
        """Gives all that wait the member's share; None: each has to run apart."""
        if not self.finished.done():
            self.finished.set_result(share)
            self._wake()

    def fail(self, error: Exception) -> None:
        """Gives all that wait an error."""
        if not self.finished.done():
            self.finished.set_exception(error)
            # Nobody may be waiting any longer, and asyncio would log an error that none has seen.
            self.finished.exception()
            self._wake()

    def _wake(self) -> None:
        for waiter in self.waiters:
            waiter.news.set()

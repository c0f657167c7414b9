"""Members: requests that are explained jointly with others, and those that wait for their answers.

Identical requests are one member, with a seat for each.
"""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

from adcaptum.engine.scheduling.priority import Priority
from adcaptum.service.errors import DeadlineExceeded
from adcaptum.service.handlers.joint.joint_answers import JointAnswers
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.questions.question import Question
from adcaptum.service.runtime.work import Work
from adcaptum.v1 import explanation_service_pb2 as pb


class Share(NamedTuple):
    """A member's share of a joint explanation.

    Attributes:
        answers: Writes the answers of all members.
        first: The place of the member's first example.
        work: The work of all members.
    """

    answers: JointAnswers
    first: int
    work: Work


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A request that may be explained jointly.

    Attributes:
        message: The request.
        model: Its model.
        question: Its question.
        key: Equal for requests that may share an answer; None: it shares nothing.
        alike: What it has in common with requests that it may be joined with.
        priority: Its class.
        caller: Its caller.
        arrival: When it arrived, on the monotonic clock.
        id: Its id.
    """

    message: pb.ExplainRequest
    model: ServedModel
    question: Question
    key: bytes | None
    alike: Hashable
    priority: Priority
    caller: str
    arrival: float
    id: str = ""


class Member:
    """A request among those of a joint explanation.

    Attributes:
        asked: The request.
        examples: The number of its examples.
        seats: Those that wait for its answer.
        settled: Whether those that wait have been given an answer, an error, or the way apart.
        share: Its share, once the explanation has ended.
        stored: Its answer in bytes, once it has been written and if it may be shared.
    """

    __slots__ = ("asked", "examples", "seats", "settled", "share", "stored")

    def __init__(self, asked: Asked, examples: int) -> None:
        self.asked = asked
        self.examples = examples
        self.seats: dict[Seat, None] = {}
        self.settled = False
        self.share: Share | None = None
        self.stored: bytes | None = None

    @property
    def joinable(self) -> bool:
        """True if a call that comes now is answered with the others: nothing is settled twice."""
        return not self.settled or self.share is not None

    def settle(self, share: Share | None) -> None:
        """Gives all that wait the member's share; None: each has to run apart."""
        self.settled, self.share = True, share
        for seat in self.seats:
            if not seat.settled.done():
                seat.settled.set_result(share)

    def fail(self, error: Exception) -> None:
        """Gives all that wait an error."""
        self.settled = True
        for seat in self.seats:
            if not seat.settled.done():
                seat.settled.set_exception(error)


class Seat:
    """A call that waits for a member's answer, until its own deadline.

    Attributes:
        member: The member.
        due: When its answer is due, on the monotonic clock; None: when it is ready.
        joined: Whether an identical request was there before.
        overdue: Whether its deadline has come.
        settled: The member's share; None: the request has to run apart.
    """

    __slots__ = ("_timer", "due", "joined", "member", "overdue", "settled")

    def __init__(self, member: Member, due: float | None, *, joined: bool) -> None:
        loop = asyncio.get_running_loop()
        self.member = member
        self.due = due
        self.joined = joined
        self.overdue = False
        self.settled: asyncio.Future[Share | None] = loop.create_future()
        if member.share is not None:
            self.settled.set_result(member.share)
        self._timer: asyncio.TimerHandle | None = None
        if due is not None:
            self._timer = loop.call_later(max(0.0, due - monotonic()), self._expire)
        member.seats[self] = None

    def close(self) -> None:
        """Stops the timer of the deadline, and leaves the member."""
        if self._timer is not None:
            self._timer.cancel()
        self.member.seats.pop(self, None)

    def _expire(self) -> None:
        if not self.settled.done():
            self.overdue = True
            late = DeadlineExceeded("the deadline came before the answer")
            self.settled.set_exception(late)

"""The gatherer: joins requests that come at about the same time and are alike into one work each.

All requests that have been gathered begin in one turn, alike ones as one work. A request that
cannot be joined, or whose joint work fails, runs apart and has the answer, or the error, that it
would have had alone.

All methods are for the event loop; a lane says where the works run.
"""

import asyncio
from collections import deque
from collections.abc import Hashable, Sequence
from functools import partial
from time import monotonic
from typing import Final, Generic, Protocol

from adcaptum.service import logs
from adcaptum.service.handlers.joint.busy_rule import BusyRule
from adcaptum.service.handlers.joint.gathering_rule import GatheringRule
from adcaptum.service.handlers.joint.joint_computation import JointComputation
from adcaptum.service.handlers.joint.joint_lanes import JointLane
from adcaptum.service.handlers.joint.member import Member, R
from adcaptum.service.handlers.shared_computations import SharedComputations
from adcaptum.service.handlers.waiter import Waiter

LEAST_SECONDS: Final = 0.001
"""The shortest timer of the event loop; a shorter one would be none."""

LATE_SECONDS: Final = 0.002
"""The lateness of a timer from which on the process has stood still, on a busy machine."""

BEGIN_SECONDS: Final = 0.003
"""The time after which the works of a turn that are left begin in a later pass of the event loop:
a turn may have hundreds of them, which all differ."""

PASSES: Final = 6
"""The passes of the event loop in which gRPC hands over a request that has come."""

Group = tuple[Hashable, int]
"""The common part of the members of one work: the question and the class."""


class Joiner(Protocol[R]):
    """A maker of joint works."""

    def join(self, members: Sequence[Member[R]], lane: JointLane) -> JointComputation[R] | None:
        """Starts the work of alike requests; None if it is too much for one.

        Args:
            members: The requests.
            lane: The place where it runs.

        Raises:
            Exception: One of them is wrong, or the server cannot serve all of them.
        """
        ...


class Gatherer(Generic[R]):
    """The gatherer of requests that may be answered jointly, in one lane."""

    def __init__(
        self,
        lane: JointLane,
        rule: GatheringRule | BusyRule,
        joiner: Joiner[R],
    ) -> None:
        """Prepares it.

        Args:
            lane: Runs the works.
            rule: Says when a turn begins.
            joiner: Makes one work of alike requests.
        """
        self._lane = lane
        self._rule = rule
        self._joiner = joiner
        self._gathered: dict[Group, list[Member[R]]] = {}
        self._keyed: SharedComputations[Member[R]] = SharedComputations()
        self._running: dict[Member[R], JointComputation[R]] = {}
        self._timer: asyncio.Handle | None = None
        self._expected = 0.0
        self._stood_still = False

    def enter(
        self, request: R, alike: Hashable, examples: int, due: float | None
    ) -> tuple[Member[R], Waiter]:
        """Lets a request wait for the next turn, or for an identical one; may begin the turn.

        Args:
            request: The request.
            alike: What it has in common with requests that it may be joined with.
            examples: The number of its examples.
            due: When its answer is due, on the monotonic clock; None: when it is ready.
        """
        same = self._keyed.find(request.key, request.priority)
        if same is not None:
            return same, same.join(due, joined=True)
        member = Member(request, alike, examples)
        waiter = member.join(due, joined=False)
        self._gathered.setdefault((alike, request.priority), []).append(member)
        self._keyed.add(request.key, member)
        now = monotonic()
        self._rule.arrive(now, (request.call.caller, request.priority))
        due_turn = self._rule.due(now)
        if due_turn <= now:
            self._turn()
        elif self._timer is None:
            self._wait(due_turn - now)
        return member, waiter

    def leave(self, member: Member[R], waiter: Waiter, reason: str) -> None:
        """Ends a call's wait; does nothing for others that wait for the same member.

        Args:
            member: The member.
            waiter: The call that waits.
            reason: For the metrics, if nobody waits for the work any longer.
        """
        waiter.close()
        member.waiters.pop(waiter, None)
        if member.waiters:
            return
        self._keyed.remove(member.request.key, member)
        joint = self._running.pop(member, None)
        if joint is None:
            self._forget_gathered(member)
            return
        self._rule.answer(monotonic())
        joint.left += 1
        if joint.left < len(joint.members):
            return
        self._rule.turned(monotonic() - joint.begun)
        if not joint.work.finished.done():
            self._lane.cancel(joint.work, "deadline" if waiter.overdue else reason)

    def _wait(self, seconds: float) -> None:
        """Looks after some time whether a turn is due.

        The event loop must sleep meanwhile: gRPC's thread, which hands over requests, needs
        Python's lock.
        """
        loop, seconds = asyncio.get_running_loop(), max(LEAST_SECONDS, seconds)
        self._expected = monotonic() + seconds
        self._timer = loop.call_later(seconds, self._look)

    def _look(self, passes: int = PASSES) -> None:
        """Begins the turn if it is due, once requests that are there already have been read.

        Args:
            passes: The passes of the event loop that they are given.
        """
        if not self._gathered:
            self._timer = None
            return
        now = monotonic()
        due = self._rule.due(now)
        late = now - self._expected > LATE_SECONDS
        if due > now:
            self._wait(due - now)
        elif late and not self._stood_still:
            # Requests that came meanwhile have not been handed over.
            self._stood_still = True
            self._wait(LEAST_SECONDS)
        elif passes:
            self._timer = asyncio.get_running_loop().call_soon(self._look, passes - 1)
        else:
            self._turn()

    def _turn(self) -> None:
        """Begins the works of all requests that have been gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        groups, self._gathered = self._gathered, {}
        self._rule.begin(monotonic(), sure=not self._stood_still)
        self._stood_still = False
        self._begin_some(deque(groups.values()))

    def _begin_some(self, groups: deque[list[Member[R]]]) -> None:
        """Begins the works of some requests of a turn; the others' after a pass of the event loop.

        Args:
            groups: Alike requests, each list for one work; those that begin are taken out.
        """
        joints: list[JointComputation[R]] = []
        end = monotonic() + BEGIN_SECONDS
        # Where rows wait, callers have their shares, and no work is of several of them.
        whole = self._lane.is_idle
        while groups:
            # Some may have left between two passes.
            members = [member for member in groups.popleft() if member.waiters]
            own = [members] if whole else _by_caller(members)
            if len(own) > 1:
                groups.extendleft(reversed(own))
            elif members:
                groups.extendleft(reversed(self._begin(members, joints)))
            if monotonic() > end:
                break
        self._lane.step()
        for joint in joints:
            if joint.work.finished.done():
                self._settle(joint)
            else:
                joint.work.finished.add_done_callback(partial(self._finished, joint))
        if groups:
            asyncio.get_running_loop().call_soon(self._begin_some, groups)

    def _begin(
        self, members: list[Member[R]], joints: list[JointComputation[R]]
    ) -> Sequence[list[Member[R]]]:
        """Makes the work of alike requests; returns parts of them to begin where it is too much.

        Callers are parted first: what one of them asks keeps no other waiting for long.
        """
        try:
            joint = self._joiner.join(members, self._lane)
        except Exception:  # noqa: BLE001  # whatever it is, the culprit alone will have it
            joint = None
        if joint is not None:
            joints.append(joint)
            self._rule.begun(joint.askers)
            self._running.update(dict.fromkeys(members, joint))
        elif len(members) == 1:
            self._run_apart(members[0])
        elif len(own := _by_caller(members)) > 1:
            return own
        else:
            middle = len(members) // 2
            return members[:middle], members[middle:]
        return ()

    def _finished(self, joint: JointComputation[R], _: object) -> None:
        self._settle(joint)

    def _settle(self, joint: JointComputation[R]) -> None:
        """Gives each member its share; where that fails, all run apart."""
        due = self._rule.ended(joint.askers)
        try:
            joint.settle(self._run_apart)
        except Exception:  # noqa: BLE001  # nobody else would answer the members
            logs.logger().exception("a joint answer could not be divided")
            for member in joint.members:
                self._run_apart(member)
        if due and self._gathered:
            self._turn()

    def _run_apart(self, member: Member[R]) -> None:
        """Lets a request run apart from others, as if it had not been gathered."""
        self._running.pop(member, None)
        self._keyed.remove(member.request.key, member)
        member.settle(None)

    def _forget_gathered(self, member: Member[R]) -> None:
        group = (member.alike, member.priority)
        members = self._gathered.get(group, [])
        if member in members:
            self._rule.leave()
            members.remove(member)
            if not members:
                del self._gathered[group]


def _by_caller(members: Sequence[Member[R]]) -> Sequence[list[Member[R]]]:
    """Divides members by their callers."""
    found: dict[str, list[Member[R]]] = {}
    for member in members:
        found.setdefault(member.request.call.caller, []).append(member)
    return list(found.values())

"""The gatherer: joins requests that come at about the same time and are alike into one work each.

All requests that have been gathered begin in one turn. What requests ask beside their inputs is
read once (`request_templates`); the inputs of alike requests are read as one array. A request that
cannot be joined, or whose joint work fails, runs apart and has the answer, or the error, that it
would have had alone.

All methods are for the event loop; a lane says where the works run.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Hashable, Sequence
from functools import partial
from time import monotonic
from typing import Final

from adcaptum.service import logs
from adcaptum.service.handlers import admission
from adcaptum.service.handlers.identified_request import IdentifiedRequest
from adcaptum.service.handlers.joint import likeness
from adcaptum.service.handlers.joint.busy_rule import BusyRule
from adcaptum.service.handlers.joint.gathering_rule import GatheringRule
from adcaptum.service.handlers.joint.joint_computation import JointComputation
from adcaptum.service.handlers.joint.joint_lanes import JointLane
from adcaptum.service.handlers.joint.member import Member
from adcaptum.service.handlers.joint.request_templates import RequestTemplates
from adcaptum.service.handlers.plans import ExplanationPlan
from adcaptum.service.handlers.request_metrics import RequestMetrics
from adcaptum.service.handlers.shared_computations import SharedComputations
from adcaptum.service.handlers.waiter import Waiter
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.runtime.cost import Cost
from adcaptum.service.runtime.work import Work

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


class Gatherer:
    """The gatherer of all requests that may be explained jointly."""

    def __init__(
        self,
        lane: JointLane,
        rule: GatheringRule | BusyRule,
        templates: RequestTemplates,
        metrics: RequestMetrics,
    ) -> None:
        """Prepares it.

        Args:
            lane: Runs the works.
            rule: Says when a turn begins.
            templates: What requests ask beside their inputs.
            metrics: The counters of answers.
        """
        self._metrics = metrics
        self._lane = lane
        self._templates = templates
        self._rule = rule
        self._gathered: dict[Group, list[Member]] = {}
        self._keyed: SharedComputations[Member] = SharedComputations()
        self._running: dict[Member, JointComputation] = {}
        self._timer: asyncio.Handle | None = None
        self._expected = 0.0
        self._stood_still = False

    def enter(
        self, request: IdentifiedRequest, alike: Hashable, due: float | None
    ) -> tuple[Member, Waiter]:
        """Lets a request wait for the next turn, or for an identical one; may begin the turn.

        Args:
            request: The request.
            alike: What it has in common with requests that it may be joined with.
            due: When its answer is due, on the monotonic clock; None: when it is ready.
        """
        same = self._keyed.find(request.key, request.priority)
        if same is not None:
            return same, same.join(due, joined=True)
        member = Member(request, alike, likeness.examples(request.message))
        waiter = member.join(due, joined=False)
        self._gathered.setdefault((alike, request.priority), []).append(member)
        self._keyed.add(request.key, member)
        now = monotonic()
        self._rule.arrive(now, request.call.caller)
        due_turn = self._rule.due(now)
        if due_turn <= now:
            self._turn()
        elif self._timer is None:
            self._wait(due_turn - now)
        return member, waiter

    def leave(self, member: Member, waiter: Waiter, reason: str) -> None:
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

    def _begin_some(self, groups: deque[list[Member]]) -> None:
        """Begins the works of some requests of a turn; the others' after a pass of the event loop.

        Args:
            groups: Alike requests, each list for one work; those that begin are taken out.
        """
        joints: list[JointComputation] = []
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
        self, members: list[Member], joints: list[JointComputation]
    ) -> Sequence[list[Member]]:
        """Makes the work of alike requests; returns parts of them to begin where it is too much.

        Callers are parted first: what one of them asks keeps no other waiting for long.
        """
        try:
            joint = self._joint(members)
        except Exception:  # noqa: BLE001  # whatever it is, the culprit alone will have it
            joint = None
        if joint is not None:
            joints.append(joint)
            self._rule.begun(joint.callers)
            self._running.update(dict.fromkeys(members, joint))
        elif len(members) == 1:
            self._run_apart(members[0])
        elif len(own := _by_caller(members)) > 1:
            return own
        else:
            middle = len(members) // 2
            return members[:middle], members[middle:]
        return ()

    def _joint(self, members: list[Member]) -> JointComputation | None:
        """Makes the work of alike requests; None if it is too much for one.

        Raises:
            Exception: One of them is wrong, or the server cannot serve all of them.
        """
        first = members[0].request
        model = first.model
        request = likeness.joined_inputs([member.request.message for member in members])
        question = likeness.joined_question(
            [member.request.question for member in members],
            [member.examples for member in members],
        )
        parsed, cost = self._templates.read(
            request, first, members[0].alike, question, len(members)
        )
        if not self._lane.takes(model, cost, members=len(members)):
            return None
        if _may_be_cut(parsed, cost, members):
            return None
        forecast = self._lane.forecast(model, cost, first.priority)
        waiters = [waiter for member in members for waiter in member.waiters]
        dues = [waiter.terms.due for waiter in waiters if waiter.terms.due is not None]
        if dues:
            admission.check_time(cost, forecast, min(dues), partial=False)
        callers = dict[Hashable, int](Counter([member.request.call.caller for member in members]))
        plan = ExplanationPlan(parsed)
        work = Work(
            model,
            plan,
            cost,
            finished=asyncio.get_running_loop().create_future(),
            arrival=min([member.request.call.arrival for member in members]),
            priority=first.priority,
            caller=(first.call.caller or None) if len(callers) == 1 else None,
            seconds=forecast.seconds,
            deadline=min(dues, default=None),
            expires=False,
            members=len(members),
            ids=tuple([member.request.call.id for member in members]),
        )
        self._lane.submit(work, callers)
        return JointComputation(members, parsed, plan, work, self._metrics)

    def _finished(self, joint: JointComputation, _: object) -> None:
        self._settle(joint)

    def _settle(self, joint: JointComputation) -> None:
        """Gives each member its share; where that fails, all run apart."""
        due = self._rule.ended(joint.callers)
        try:
            joint.settle(self._run_apart)
        except Exception:  # noqa: BLE001  # nobody else would answer the members
            logs.logger().exception("a joint answer could not be divided")
            for member in joint.members:
                self._run_apart(member)
        if due and self._gathered:
            self._turn()

    def _run_apart(self, member: Member) -> None:
        """Lets a request run apart from others, as if it had not been gathered."""
        self._running.pop(member, None)
        self._keyed.remove(member.request.key, member)
        member.settle(None)

    def _forget_gathered(self, member: Member) -> None:
        group = (member.alike, member.priority)
        members = self._gathered.get(group, [])
        if member in members:
            self._rule.leave()
            members.remove(member)
            if not members:
                del self._gathered[group]


def _by_caller(members: Sequence[Member]) -> Sequence[list[Member]]:
    """Divides members by their callers."""
    found: dict[str, list[Member]] = {}
    for member in members:
        found.setdefault(member.request.call.caller, []).append(member)
    return list(found.values())


def _may_be_cut(parsed: ParsedRequest, cost: Cost, members: Sequence[Member]) -> bool:
    """Returns whether a member's rows may exceed its own budget, which would cut it short."""
    largest = max([member.examples for member in members])
    planned = sum(cost.planned_rows.values()) * largest / parsed.inputs.count
    return 2 * planned > parsed.budget.max_rows / len(members)

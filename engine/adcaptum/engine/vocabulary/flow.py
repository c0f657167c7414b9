"""Flows: running methods, as generators. Only the functions here yield.

A flow is a generator. It yields *rounds*, tuples of evaluations that may run at the same time, and
is sent a tuple of readings, in the same order. It never calls the model, so the same method runs
alone in a notebook and batched with others in the service.

Rules:
1. Methods compose with `yield from ask(...)`, `gather(...)`, `report(...)` and `pause()`; a bare
   `yield` stands only here.
2. The driver of a flow closes it, also after an error, and throws into it the error of a failed
   evaluation.
3. A flow may yield `Progress`: the best answer so far. It is sent an empty tuple for it.
4. `gather` runs flows in lock-step: their evaluations share rounds, and so batches. It drops the
   progress of the gathered flows, of which their parent reports; `example_by_example` joins it.
5. An empty round is a pause: the flow has a piece of mathematics of its own to do next. The driver
   looks at deadlines and cancellations, may run something else first, and sends an empty tuple. A
   flow ends by returning, never by an empty round.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

from adcaptum.engine.rows.reduce import Ignored
from adcaptum.engine.vocabulary.attribution import Attribution, joined, unfinished
from adcaptum.engine.vocabulary.evaluation import Evaluation, Reading
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.sample_major import example_major, sample_major
from adcaptum.engine.vocabulary.site import INPUT

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """The best answer so far.

    Attributes:
        attribution: The result of the method if it had to stop now.
    """

    attribution: Attribution


Round = tuple[Evaluation, ...]
Flow = Generator[Round | Progress, tuple[Reading, ...], T]


def ask(evaluation: Evaluation) -> Flow[Reading]:
    """Yields one evaluation; returns its reading."""
    (reading,) = yield (evaluation,)
    return reading


def report(attribution: Attribution) -> Flow[None]:
    """Reports the best answer so far, marked as unfinished."""
    yield Progress(unfinished(attribution))


def pause() -> Flow[None]:
    """Lets the driver look at deadlines and cancellations before the next piece of mathematics.

    Methods use `Pauses`, which decides how often.
    """
    yield ()


def gather(flows: Iterable[Flow[T]]) -> Flow[list[T]]:
    """Runs flows in lock-step, so that their evaluations share rounds; returns their results."""
    return _together(list(flows), lambda _: None)


def _together(
    running: list[Flow[T]], summary: Callable[[dict[int, Attribution]], Attribution | None]
) -> Flow[list[T]]:
    """Runs flows in lock-step; reports the summary of each one's best answer so far."""
    results: dict[int, T] = {}
    rounds: dict[int, Round] = {}
    best: dict[int, Attribution] = {}
    news = False

    def advance(i: int, readings: tuple[Reading, ...] | None) -> None:
        nonlocal news
        flow = running[i]
        try:
            asked = next(flow) if readings is None else flow.send(readings)
            while isinstance(asked, Progress):
                best[i], news = asked.attribution, True
                asked = flow.send(())
            rounds[i] = asked
        except StopIteration as stop:
            results[i] = stop.value
            if isinstance(stop.value, Attribution):
                best[i], news = stop.value, True

    try:
        for i in range(len(running)):
            advance(i, None)
        while rounds:
            if news and (summarised := summary(best)) is not None:
                yield Progress(summarised)
            news = False
            asked, rounds = rounds, {}
            readings = yield tuple(e for asked_round in asked.values() for e in asked_round)
            at = 0
            for i, asked_round in asked.items():
                advance(i, readings[at : at + len(asked_round)])
                at += len(asked_round)
    finally:
        for flow in running:
            flow.close()
    return [results[i] for i in range(len(running))]


def computed(flow: Flow[T]) -> T:
    """Runs a flow that evaluates nothing, and at most pauses, to its end."""
    try:
        while True:
            asked = next(flow)
            assert asked == (), "it evaluates nothing"
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()


def both(one: Flow[A], other: Flow[B]) -> Flow[tuple[A, B]]:
    """Runs two flows in lock-step, as `gather` does."""
    flows: list[Flow[Any]] = [one, other]
    first, second = yield from gather(flows)
    return first, second


def example_by_example(
    flow: Callable[[Explicand], Flow[Attribution]], explicand: Explicand
) -> Flow[Attribution]:
    """Runs a flow for each example, in lock-step; each ends on its own.

    It reports the joined answers once each example has one.
    """
    count = explicand.count
    if count == 1:
        return (yield from flow(explicand))

    def summary(best: dict[int, Attribution]) -> Attribution | None:
        return joined([best[i] for i in range(count)]) if len(best) == count else None

    answers = yield from _together([flow(explicand.example(i)) for i in range(count)], summary)
    return joined(answers)


def target_at_inputs(explicand: Explicand, *, gradient: bool = True) -> Flow[Tensor]:
    """Reads the target at the inputs themselves, (examples,), as gradient or forward rows.

    Beside gradient rows at the inputs they are gradient rows too, and share a batch; forward rows
    would be a batch of their own.
    """
    asked = explicand.at_inputs(gradient=gradient and explicand.at == INPUT)
    reading = yield from ask(replace(asked, reduce=Ignored()))
    return reading.values


def in_step(flow: Flow[T]) -> Flow[T]:
    """Runs a flow whose evaluations are made sample by sample, all examples side by side.

    Only for evaluations without gradients. Batches of as many rows as there are examples, or a
    multiple of it, then hold whole samples.
    """
    try:
        asked = next(flow)
        while True:
            if isinstance(asked, Progress):
                yield asked
                asked = flow.send(())
                continue
            readings = yield tuple(sample_major(evaluation) for evaluation in asked)
            asked = flow.send(tuple(map(example_major, asked, readings)))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()

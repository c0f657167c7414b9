"""Crowded: predictions beside explanations, deadlines, and requests that ask the same."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Final

import grpc

from adcaptum.v1 import explanation_service_pb2 as pb
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.benchmarks import requests
from tests.benchmarks.load import Load, Served as Answers
from tests.benchmarks.processes import Server, finish_load, start_load
from tests.benchmarks.subjects import load_subject
from tests.benchmarks.tables import CONSOLE, duration, ratio, table

DEADLINES: Final = (0.05, 0.1, 0.5)
CLIENTS: Final = 8
# Finer than any of the deadlines allows, so that each is used up.
TOLERANCE: Final = 1e-6
ALIKE: Final = {"cells": (1, 16), "digits": (1, 4), "cnn": (1,)}
"""How many inputs requests that may be alike have, by model."""

LARGE: Final = (50, 1998)
"""The examples and steps of a request of 100,000 rows: two of each example are not steps."""


@dataclass(frozen=True, slots=True)
class Timed:
    """What came of requests with a deadline.

    Attributes:
        asked: How many there were.
        errors: The largest relative error of each answer that came in time.
        seconds: How long each of these took.
    """

    asked: int
    errors: list[float]
    seconds: list[float]


class Crowded:
    """What a server does for many at once."""

    def __init__(self, server: Server, name: str, seconds: float) -> None:
        self._server = server
        self._name = name
        self._view = load_subject(name).smooth
        self._seconds = seconds

    def run(self) -> None:
        """Measures and prints."""
        self._predictions()
        self._deadlines()
        self._duplicates()

    def _predictions(self) -> None:
        made = table(
            f"{self._name}: Predict, one client, beside explanations",
            ("beside", "predictions/s", "p50", "p99", "p99 over idle", "more than idle"),
        )
        explain = requests.explain(self._name, self._view, "integrated_gradients")
        examples, steps = LARGE
        large = requests.explain(
            self._name, self._view, "integrated_gradients", steps=steps, examples=examples
        )
        question = self._load(requests.predict(self._name, self._view), 1, requests.PREDICT)
        beside: dict[str, Load | None] = {
            "nobody": None,
            "8 clients": self._load(explain, 8),
            "32 clients": self._load(explain, 32),
            "100,000 rows at once": self._load(large, 1),
        }
        idle = 0.0
        for label, load in beside.items():
            busy = None if load is None else start_load(load)
            answers = finish_load(start_load(question))
            if busy is not None:
                finish_load(busy)
            p99 = answers.quantile(0.99)
            idle = idle or p99
            made.add_row(
                label,
                f"{answers.rate:.0f}",
                duration(answers.quantile(0.5)),
                duration(p99),
                ratio(p99 / idle),
                duration(max(0.0, p99 - idle)),
            )
        CONSOLE.print(made)

    def _deadlines(self) -> None:
        made = table(
            f"{self._name}: integrated gradients to a tolerance of {TOLERANCE:g}, "
            f"{CLIENTS} clients, by the deadline",
            ("deadline, answer", "asked", "in time", "median error", "largest error", "p99"),
        )
        for deadline in DEADLINES:
            for words in ("partial", "fail"):
                timed = asyncio.run(self._timed(deadline, partial=words == "partial"))
                errors, seconds = sorted(timed.errors), sorted(timed.seconds)
                known = bool(errors)
                made.add_row(
                    f"{duration(deadline)}, {words}",
                    str(timed.asked),
                    f"{len(errors) / max(1, timed.asked):.0%}",
                    f"{errors[len(errors) // 2]:.2g}" if known else "-",
                    f"{errors[-1]:.2g}" if known else "-",
                    duration(seconds[int(0.99 * len(seconds))]) if known else "-",
                )
        CONSOLE.print(made)

    async def _timed(self, deadline: float, *, partial: bool) -> Timed:
        encoded = requests.explain(self._name, self._view, "integrated_gradients", examples=4)
        request = pb.ExplainRequest.FromString(base64.b64decode(encoded))
        request.spec.budget.tolerance = TOLERANCE
        request.on_deadline = pb.ON_DEADLINE_PARTIAL if partial else pb.ON_DEADLINE_FAIL
        timed = Timed(0, [], [])
        asked = 0
        async with grpc.aio.insecure_channel(self._server.address) as channel:
            stub: Any = ExplanationServiceStub(channel)
            end = perf_counter() + self._seconds

            async def client() -> None:
                nonlocal asked
                while (begin := perf_counter()) < end:
                    asked += 1
                    try:
                        reply = await stub.Explain(request, timeout=deadline)
                    except grpc.aio.AioRpcError as error:
                        # What is refused at once would be asked again at once, without end.
                        await asyncio.sleep(deadline - (perf_counter() - begin))
                        if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                            raise
                        continue
                    timed.seconds.append(perf_counter() - begin)
                    (result,) = reply.results
                    timed.errors.append(max(each.error.relative for each in result.explanations))

            await asyncio.gather(*[client() for _ in range(CLIENTS)])
        return replace(timed, asked=asked)

    def _duplicates(self) -> None:
        made = table(
            f"{self._name}: integrated gradients of 500 steps, {CLIENTS} clients, by what is alike",
            ("inputs a request", "requests", "requests/s", "p50", "p99", "over distinct"),
        )
        for examples in ALIKE[self._name]:
            request = requests.explain(
                self._name,
                self._view,
                "integrated_gradients",
                steps=500,
                examples=examples,
                shared=True,
            )
            distinct: Answers | None = None
            for label, unique in (("all distinct", 1.0), ("90 % identical", 0.1)):
                load = replace(self._load(request, CLIENTS), unique=unique)
                answers = finish_load(start_load(load))
                distinct = distinct or answers
                made.add_row(
                    str(examples),
                    label,
                    f"{answers.rate:.0f}",
                    duration(answers.quantile(0.5)),
                    duration(answers.quantile(0.99)),
                    ratio(answers.rate / max(distinct.rate, 1e-9)),
                )
        CONSOLE.print(made)

    def _load(self, request: str, clients: int, path: str = requests.EXPLAIN) -> Load:
        return Load(self._server.address, path, [request], clients, 0.5, self._seconds)

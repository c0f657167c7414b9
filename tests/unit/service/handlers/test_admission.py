"""What a request will take, and what runs it."""

import asyncio
from typing import Any

import numpy as np
import torch

from adcaptum.service.handlers import costs
from adcaptum.service.metrics import Metrics
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests import parsed_request as question
from adcaptum.service.runtime.dispatcher import Dispatcher
from adcaptum.service.runtime.engine_runner import EngineRunner
from adcaptum.v1 import explain_spec_pb2
from tests.unit.service import asking
from tests.unit.service.asking import label, method
from tests.unit.service.tiny_model import served

LIGHT = {"forward": {1: 1e-4, 64: 2e-4}, "gradient": {1: 1e-4, 64: 2e-4}}


def engines(model: ServedModel, curves: dict[str, dict[int, float]] = LIGHT) -> Dispatcher:
    def crashed(error: BaseException) -> None:
        raise error

    loop = asyncio.get_running_loop()
    made = Dispatcher(
        loop, torch.device("cpu"), Metrics(), target_batch_seconds=0.025, crashed=crashed
    )
    made.add(model, curves)
    return made


def asked(model: ServedModel, name: str, rows: int = 1, **budget: Any) -> question.ParsedRequest:
    request = asking.explain(
        np.ones((rows, 3), np.float32),
        targets=[label("yes")],
        methods=[method(name)],
        budget=explain_spec_pb2.Budget(**budget),
    )
    return asking.read(request, model)


def lane(dispatcher: Dispatcher, parsed: question.ParsedRequest) -> EngineRunner:
    return dispatcher._lane(parsed.model, costs.of_explanation(parsed))


async def test_what_plans_many_rows_is_kept_out_of_the_event_loop_however_few_it_may_use() -> None:
    model, _ = served()
    made = engines(model)
    light = lane(made, asked(model, "saliency"))
    heavy = lane(made, asked(model, "rise"))
    capped = asked(model, "rise", max_rows=2)
    assert light is not heavy
    assert lane(made, capped) is heavy
    assert costs.of_explanation(capped).total_rows == 2
    await made.stop()


async def test_what_plans_coalitions_of_many_elements_is_kept_out_of_the_event_loop() -> None:
    model, _ = served()
    # Rows that cost nothing.
    made = engines(model, {kind: {1: 1e-9, 64: 2e-9} for kind in ("forward", "gradient")})
    light = lane(made, asked(model, "smooth_grad", 64))
    few = lane(made, asked(model, "rise", 1))
    many = lane(made, asked(model, "rise", 11))
    assert few is light is not many
    await made.stop()

"""Works that the tests have engines do."""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any

from torch import Tensor

from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.runtime.work import PlannedFlow, Work


class Plan:
    """Asks for the outputs of rows, in as many stages as one likes."""

    def __init__(self, *stages: Flow[Any]) -> None:
        self._stages = list(stages)

    def first(self) -> Sequence[PlannedFlow]:
        return (PlannedFlow(self._stages.pop(0)),)

    def following(self, results: list[Any]) -> Sequence[PlannedFlow]:
        return (PlannedFlow(self._stages.pop(0)),) if self._stages else ()


def outputs(rows: Tensor) -> Flow[Any]:
    return ask(Evaluation(Given((rows,))))


def work(model: ServedModel, *stages: Flow[Any], **options: Any) -> Work:
    finished = asyncio.get_running_loop().create_future()
    return Work(model, Plan(*stages), finished=finished, arrival=monotonic(), **options)

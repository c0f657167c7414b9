"""Requests are read where they delay nobody."""

import threading
from typing import Any

import numpy as np
import pytest

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.handlers.call import Call
from adcaptum.service.handlers.request_reader import INLINE_TARGETS, RequestReader
from adcaptum.service.requests.questions import question, targets
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb
from tests.unit.service import asking
from tests.unit.service.asking import every, index
from tests.unit.service.tiny_model import served

ROWS = np.ones((1, 3), np.float32)


def request(**fields: Any) -> pb.ExplainRequest:
    return asking.explain(ROWS, **fields)


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads in which questions are resolved."""
    found: list[str] = []
    resolve = question.resolve

    def watched(*args: Any) -> Any:
        found.append(threading.current_thread().name)
        return resolve(*args)

    monkeypatch.setattr(question, "resolve", watched)
    return found


async def test_a_question_of_many_targets_is_resolved_in_a_thread(places: list[str]) -> None:
    reader, model = RequestReader(1000, 1 << 20, lambda: 1.0), served()[0]
    call = Call("1", 0.0, nbytes=100)
    few, many = (request(targets=[index(1)] * count) for count in (INLINE_TARGETS, 1000))
    first = await reader.question(few, model, call)
    assert await reader.question(few, model, call) is first
    found = await reader.question(many, model, call)
    assert found.targets.count == 1000
    assert [name == threading.main_thread().name for name in places] == [True, False]
    wrong = request(targets=[index(1)] * 1000 + [index(2)])
    with pytest.raises(InvalidRequest, match="from 0 to 1"):
        await reader.question(wrong, model, call)
    reader.close()


@pytest.mark.parametrize(
    ("messages", "most"),
    [
        ([], 0),
        ([index(1)] * 3, 3),
        ([every(), index(1)], 4),
        ([explain_spec_pb2.Target(top_k=1)], 3),
    ],
)
def test_targets_are_counted_before_they_are_read(
    messages: list[explain_spec_pb2.Target], most: int
) -> None:
    assert targets.most(messages, served()[0]) == most
    assert targets.read(messages, served()[0]).count <= max(1, most)

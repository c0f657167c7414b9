"""Errors that a model's forward raises, as errors of the request."""

import os
import signal
import sys
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Explicand, ModelError, OutOfRange, Shared, Site, explain
from adcaptum.engine.errors import ForwardExited
from adcaptum.engine.execution.forwards.futures import run_later
from adcaptum.engine.execution.forwards.whole_batch import WholeBatch


class Own(BaseException):
    pass


def failing(error: Callable[[], BaseException]) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        raise error()

    return forward


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (lambda: SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt, "KeyboardInterrupt"),
        (GeneratorExit, "GeneratorExit"),
        (lambda: Own("odd"), "Own: odd"),
    ],
)
@pytest.mark.parametrize("method", ["saliency", "feature_ablation", "deep_lift"])
def test_what_would_end_the_process_is_an_error_of_the_model(
    error: Callable[[], BaseException], text: str, method: str
) -> None:
    with pytest.raises(ModelError, match=f"^the model's forward raised {text}$"):
        explain(failing(error), METHODS[method](), Explicand.of(torch.ones(1, 2)))


def test_sys_exit_of_a_layer_is_one_too() -> None:
    class Exits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            sys.exit("no licence")

    model = nn.Sequential(nn.Linear(2, 2), Exits())
    asked = Explicand.of(torch.ones(1, 2), target=0)
    with pytest.raises(ModelError, match="SystemExit: no licence"):
        explain(model, METHODS["integrated_gradients"](), asked)


def test_a_forward_that_answers_later_is_held_to_the_same() -> None:
    later = WholeBatch(failing(lambda: SystemExit(1)), 1).later
    flow = METHODS["feature_ablation"]().flow(Explicand.of(torch.ones(1, 2)))
    with pytest.raises(ModelError, match="SystemExit"):
        run_later(later, flow, batch_rows=1)


def test_exceptions_keep_their_types() -> None:
    with pytest.raises(ZeroDivisionError):
        explain(failing(ZeroDivisionError), METHODS["saliency"](), Explicand.of(torch.ones(1, 2)))


def test_an_interrupt_of_the_user_gets_through() -> None:
    def forward(x: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        return x.sum(1)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            explain(forward, METHODS["saliency"](), Explicand.of(torch.ones(1, 2)))
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_a_handler_of_a_signal_raises_gets_through() -> None:
    def handler(*_: object) -> None:
        raise Own("out of time")

    def forward(x: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGUSR1)
        return x.sum(1)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(Own):
            explain(forward, METHODS["saliency"](), Explicand.of(torch.ones(1, 2)))
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_in_other_threads_an_interrupt_is_the_models() -> None:
    found: list[BaseException] = []

    def run() -> None:
        try:
            asked = Explicand.of(torch.ones(1, 2))
            explain(failing(KeyboardInterrupt), METHODS["saliency"](), asked)
        except BaseException as error:  # noqa: BLE001 - it is looked at in the other thread
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert [type(error) for error in found] == [ForwardExited]


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 3)
        self.bags = nn.EmbeddingBag(7, 3)

    def forward(self, ids: Tensor, bags: Tensor | None = None) -> Tensor:
        found = self.table(ids).sum(1)
        return found if bags is None else found + self.bags(bags)


IDS = torch.tensor([[1, 49, 0], [2, 3, 4]])


@pytest.mark.parametrize("bad", [50, -1, 10**6])
def test_an_id_beyond_the_embedding_is_named_with_its_input(bad: int) -> None:
    ids = IDS.clone()
    ids[1, 2] = bad
    asked = Explicand.of(ids, target=0)
    with pytest.raises(OutOfRange, match=rf"^inputs\[0\] is {bad}: from 0 to 49"):
        explain(Words(), METHODS["feature_ablation"](), asked)


def test_so_is_one_of_a_baseline_and_of_a_further_argument() -> None:
    beyond = Explicand.of(IDS, target=0, baselines=torch.full_like(IDS, 51))
    with pytest.raises(OutOfRange, match=r"^inputs\[0\] is 51: .*; baselines too$"):
        explain(Words(), METHODS["feature_ablation"](), beyond)
    bags = torch.tensor([[1], [7]])
    for argument in (bags, Shared(bags)):
        asked = Explicand.of(IDS, target=0, additional_forward_args=(argument,))
        with pytest.raises(OutOfRange, match=r"^additional_forward_args\[0\] is 7: from 0 to 6"):
            explain(Words(), METHODS["feature_ablation"](), asked)


def test_so_is_one_under_a_rule_and_at_a_layer() -> None:
    ids = IDS.clone()
    ids[0, 0] = 99
    asked = Explicand.of(ids, target=0, at=Site("table"))
    for method in ("deep_lift", "lrp", "integrated_gradients"):
        with pytest.raises(OutOfRange, match=r"^inputs\[0\] is 99"):
            explain(Words(), METHODS[method](), asked)


def test_ids_that_the_model_makes_are_its_own_business() -> None:
    class Far(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.table(x.long() + 7).sum(1)

    with pytest.raises(IndexError) as caught:
        explain(Far(), METHODS["feature_ablation"](), Explicand.of(torch.zeros(1, 2), target=0))
    assert not isinstance(caught.value, OutOfRange)

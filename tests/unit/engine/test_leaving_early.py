"""A model is left once all is seen only where it cannot call the module again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import Explicand, ModelError, Neuron, Site, ask, explain, run
from adcaptum.engine.execution import call_counts as calls
from adcaptum.engine.methods.gradients.saliency import Saliency
from adcaptum.engine.vocabulary.endpoints import values_at_site
from tests.models import numbers

LAYER = Site("layer")


class Turning(nn.Module):
    """Calls its layer again if something says so."""

    def __init__(self, again: Callable[[Turning, Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.last = nn.Tanh(), nn.Identity()
        self.again = again
        self.often = False
        self.ends: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        if self.again(self, x):
            x = self.layer(x)
        self.last(x)
        self.ends.append(x)
        return x


def read(model: nn.Module, x: Tensor) -> Tensor:
    question = Explicand.of(x, at=LAYER)
    flow = ask(values_at_site(question, question.inputs))
    (values,) = run(model, flow, batch_rows=8).activations
    return values


SMALL, LARGE = torch.full((2, 3), 0.1), torch.full((2, 3), 3.0)
# What the model is shown at first, when it calls its layer once, and what makes it call it again.
LOOKS: dict[str, tuple[Callable[[Turning, Tensor], Any], Tensor, Tensor]] = {
    "bool": (lambda _, x: x.sum() > 3, SMALL, LARGE),
    "item": (lambda _, x: x.max().item() > 0.9, SMALL, LARGE),
    "tolist": (lambda _, x: max(x.flatten().tolist()) > 0.9, SMALL, LARGE),
    "numpy": (lambda _, x: x.detach().numpy().max() > 0.9, SMALL, LARGE),
    "a mask": (lambda _, x: len(x[x > 0.9]), SMALL, LARGE),
    "a list of places": (lambda _, x: len((x > 0.9).nonzero()), SMALL, LARGE),
    "comparison": (lambda _, x: not torch.allclose(x, torch.tanh(SMALL)), SMALL, LARGE),
    "rows": (lambda _, x: len(x) > 2, SMALL, SMALL[:1].expand(3, 3)),
    "dtype": (lambda _, x: x.dtype == torch.float64, SMALL, SMALL.double()),
    "an attribute": (lambda model, _: model.often, SMALL, SMALL),
}


@pytest.mark.parametrize("kind", LOOKS)
def test_a_second_call_is_noticed_whatever_it_turns_on(kind: str) -> None:
    again, first, then = LOOKS[kind]
    model = Turning(again)
    for _ in range(3):
        torch.testing.assert_close(read(model, first), first.tanh())
    model.often = True
    with pytest.raises(ModelError, match="more than once"):
        read(model, then)


def test_a_second_call_is_noticed_by_gradients_of_a_neuron() -> None:
    model = Turning(lambda _, x: x.sum() > 3)
    for x in (SMALL, SMALL):
        explain(model, Saliency(), Explicand.of(x, target=Neuron(LAYER, (0,))))
    with pytest.raises(ModelError, match="more than once"):
        explain(model, Saliency(), Explicand.of(LARGE, target=Neuron(LAYER, (0,))))


def test_a_second_call_that_an_argument_asks_for_is_noticed() -> None:
    class Asked(Turning):
        def forward(self, x: Tensor, times: int = 1) -> Tensor:
            for _ in range(times):
                x = self.layer(x)
            return x

    model = Asked(lambda *_: False)

    def asked(times: int) -> None:
        neuron = Neuron(LAYER, (0,))
        question = Explicand.of(SMALL, target=neuron, additional_forward_args=(times,))
        explain(model, Saliency(), question)

    for _ in range(2):
        asked(1)
    with pytest.raises(ModelError, match="more than once"):
        asked(2)


def test_a_function_around_a_model_may_change_its_mind() -> None:
    model = Turning(lambda model, _: model.often)
    often = [False]

    def around(x: Tensor) -> Tensor:
        model.often = often[0]
        return model(x)

    neuron = Neuron(Site(model.layer), (0,))
    for _ in range(2):
        explain(around, Saliency(), Explicand.of(SMALL, target=neuron))
    often[0] = True
    with pytest.raises(ModelError, match="more than once"):
        explain(around, Saliency(), Explicand.of(SMALL, target=neuron))


def test_a_model_that_does_not_look_at_numbers_is_left_from_the_second_time_on() -> None:
    model = Turning(lambda *_: False)
    for x in (SMALL, LARGE, SMALL):
        read(model, x)
    assert len(model.ends) == 1
    read(model, SMALL[:1].expand(5, 3))
    assert len(model.ends) == 2


def test_indexing_by_places_is_no_look_at_numbers() -> None:
    model = Turning(lambda _, x: x[:, torch.tensor([0, 1])] is None)
    for x in (SMALL, LARGE):
        read(model, x)
    assert len(model.ends) == 1


def test_a_call_that_is_named_is_the_end_at_once() -> None:
    model = Turning(lambda *_: True)
    question = Explicand.of(SMALL, at=Site("layer", call=0))
    run(model, ask(values_at_site(question, question.inputs)))
    assert len(model.ends) == 0


def test_a_model_that_failed_is_known_no_better() -> None:
    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError

    model = Turning(lambda *_: False)
    model.add_module("last", Failing())
    for _ in range(2):
        with pytest.raises(ValueError):  # noqa: PT011
            read(model, SMALL)


def test_deterministic_forwards_are_not_watched_and_have_the_same_bits() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(layer, nn.Tanh(), nn.Linear(8, 2)).eval().requires_grad_(False)
    x = numbers(2, 3, 8).float()
    question = Explicand.of(x, at=Site("1"))

    def asked() -> Tensor:
        flow = ask(values_at_site(question, question.inputs))
        return run(model, flow, deterministic=True).activations[0]

    first = asked()
    read_ = run(model, ask(values_at_site(question, question.inputs))).activations[0]
    torch.testing.assert_close(read_, first)
    assert torch.equal(asked(), first)


def test_of_very_many_settings_the_newest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MOST_SETTINGS", 3)
    model = Turning(lambda _, __: False)
    for rows in (1, 2, 3, 4):
        read(model, SMALL[:1].expand(rows, 3))
    before = len(model.ends)
    read(model, SMALL[:1].expand(4, 3))
    assert len(model.ends) == before
    read(model, SMALL[:1])
    assert len(model.ends) == before + 1

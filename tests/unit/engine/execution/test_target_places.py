"""A target that is one number for all examples means the same as one index per example."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import METHODS, Explicand, InvalidArgument, Method, OutOfRange, explain
from adcaptum.engine.execution.driver import run
from adcaptum.engine.execution.target_places import ones_at, target_places, values_at
from adcaptum.engine.vocabulary.flow import gather
from tests.models import numbers

X = numbers(3, 4).float()


class Shaped(nn.Module):
    """A linear map whose outputs have the shape given."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape
        self.linear = nn.Linear(4, int(torch.tensor(shape).prod())).requires_grad_(False)
        with torch.no_grad():
            self.linear.weight.copy_(numbers(*self.linear.weight.shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.sin()).view(-1, *self.shape)


@pytest.mark.parametrize("name", ["saliency", "integrated_gradients", "deep_lift", "occlusion"])
@pytest.mark.parametrize(
    ("shape", "index"), [((5,), 0), ((5,), 2), ((5,), -1), ((5, 1), 2), ((1,), 0), ((), 0)]
)
def test_a_number_is_that_index_of_every_example(
    name: str, shape: tuple[int, ...], index: int
) -> None:
    model = Shaped(*shape)
    method: Method = METHODS[name](
        **({"sliding_window_shapes": (1,)} if name == "occlusion" else {})
    )
    one = explain(model, method, Explicand.of(X, target=index, baselines=0.0), batch_rows=64)
    each = explain(model, method, Explicand.of(X, target=[index] * 3, baselines=0.0), batch_rows=64)
    for a, b in zip(one.values, each.values, strict=True):
        assert torch.equal(a, b)
    assert one.output is not None
    assert each.output is not None
    assert torch.equal(one.output, each.output)


@pytest.mark.parametrize("index", [5, -6, 1 << 62, -(1 << 63)])
def test_a_number_beyond_the_outputs_is_refused(index: int) -> None:
    for target in (index, [index] * 3):
        with pytest.raises(OutOfRange, match="target"):
            explain(Shaped(5), METHODS["saliency"](), Explicand.of(X, target=target))
    with pytest.raises(InvalidArgument, match="target"):
        explain(Shaped(5, 2), METHODS["saliency"](), Explicand.of(X, target=0))


def test_numbers_of_flows_that_share_a_batch_stay_their_own() -> None:
    model = Shaped(5)
    questions = [Explicand.of(X[i : i + 1], target=i) for i in range(3)]
    together = run(model, gather(METHODS["saliency"]().flow(q) for q in questions))
    for question, answer in zip(questions, together, strict=True):
        alone = explain(model, METHODS["saliency"](), question)
        torch.testing.assert_close(answer.values, alone.values)
        torch.testing.assert_close(answer.output, alone.output)


def test_places_of_few_rows_are_one_number_where_all_are_equal() -> None:
    objective = numbers(4, 6).float()
    alike, unlike = torch.tensor([[-1]] * 4), torch.tensor([[5], [5], [5], [0]])
    assert target_places(objective, [alike]) == 5
    places = target_places(objective, [unlike])
    assert isinstance(places, Tensor)
    assert torch.equal(values_at(objective, places), objective[torch.arange(4), unlike[:, 0]])
    assert torch.equal(values_at(objective, 5), objective[:, 5])
    assert torch.equal(ones_at(objective, 5, 3).nonzero(), torch.tensor([[0, 5], [1, 5], [2, 5]]))
    assert torch.equal(ones_at(objective, places, 4).argmax(1), unlike[:, 0])


def test_values_are_copies_of_the_outputs() -> None:
    objective = numbers(2, 3).float()
    before = objective.clone()
    values_at(objective, 1).zero_()
    assert torch.equal(objective, before)

"""Where inside a model may be explained, and which number of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import (
    METHODS,
    EveryOutput,
    Explicand,
    InvalidArgument,
    ModelError,
    Neuron,
    NotPerRow,
    Site,
    explain,
    run,
)
from adcaptum.engine.execution.taps import layer_shapes
from adcaptum.engine.vocabulary.endpoints import values_at_site
from adcaptum.engine.vocabulary.flow import ask
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import cnn, mlp, numbers

SALIENCY = resolve(METHODS["saliency"], {"abs": False})
GRADIENTS = METHODS["input_x_gradient"]()
ABLATION = METHODS["feature_ablation"]()


class TwoEmbeddings(nn.Module):
    """Sums the embeddings of tokens and of their places; counts how far it is run."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 4)
        self.places = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 2)
        self.finished: list[Tensor] = []

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1]).expand_as(ids)
        hidden = torch.tanh(self.words(ids) * 2 + self.places(places))
        self.finished.append(hidden)
        return self.head(hidden.mean(1))


def two_embeddings() -> TwoEmbeddings:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwoEmbeddings().double().eval()


IDS = torch.tensor([[1, 4, 6], [2, 2, 0]])


def test_a_module_names_its_layer_even_behind_a_function() -> None:
    model, x = mlp(), numbers(3, 8)
    assert isinstance(model, nn.Sequential)
    by_name = explain(model, GRADIENTS, Explicand.of(x, target=1, at=Site("1")))
    wrapped = explain(model.forward, GRADIENTS, Explicand.of(x, target=1, at=Site(model[1])))
    torch.testing.assert_close(by_name.values, wrapped.values, rtol=1e-12, atol=1e-12)


def test_a_name_behind_a_function_is_refused() -> None:
    model = mlp()
    with pytest.raises(ModelError, match=r"nn\.Module"):
        explain(model.forward, GRADIENTS, Explicand.of(numbers(3, 8), target=1, at=Site("1")))


def test_layers_explained_together_share_one_path() -> None:
    model = two_embeddings()
    method = resolve(METHODS["integrated_gradients"], {"n_steps": 40})
    at = Site((model.words, model.places))
    answer = explain(
        model, method, Explicand.of(IDS, target=1, baselines=torch.zeros_like(IDS[:1]), at=at)
    )
    assert [v.shape for v in answer.values] == [(2, 3, 4), (2, 3, 4)]
    # Places are the same at the baseline: they contribute nothing, and words everything.
    assert not answer.values[1].any()
    zeros = torch.zeros_like(IDS)
    difference = (model(IDS) - model(zeros))[:, 1]
    torch.testing.assert_close(answer.values[0].sum((1, 2)), difference, rtol=1e-10, atol=1e-10)


def test_of_layers_that_feed_each_other_each_has_its_gradient() -> None:
    model, x = mlp(), numbers(3, 8)
    assert isinstance(model, nn.Sequential)
    together = explain(model, SALIENCY, Explicand.of(x, target=2, at=Site((model[0], model[2]))))
    for layer, values in zip((model[0], model[2]), together.values, strict=True):
        alone = explain(model, SALIENCY, Explicand.of(x, target=2, at=Site(layer)))
        torch.testing.assert_close(values, alone.values[0], rtol=1e-12, atol=1e-12)


def test_a_block_of_neurons_counts_as_their_sum() -> None:
    model, x = mlp(), numbers(3, 8)
    block = explain(model, SALIENCY, Explicand.of(x, target=Neuron(Site("1"), (slice(2, 5),))))
    single = [
        explain(model, SALIENCY, Explicand.of(x, target=Neuron(Site("1"), (i,)))).values[0]
        for i in (2, 3, 4)
    ]
    torch.testing.assert_close(block.values[0], sum(single[1:], single[0]))


def test_a_function_may_choose_the_neuron() -> None:
    model, x = mlp(), numbers(3, 8)
    chosen = Explicand.of(x, target=Neuron(Site("1"), lambda t: t[:, 3] ** 2))
    plain = Explicand.of(x, target=Neuron(Site("1"), (3,)))
    assert isinstance(model, nn.Sequential)
    activation = model[1](model[0](x))[:, 3:4]
    torch.testing.assert_close(
        explain(model, SALIENCY, chosen).values[0],
        2 * activation * explain(model, SALIENCY, plain).values[0],
    )


@pytest.mark.parametrize("index", [(slice(0, 2), 1), (slice(16, 20),), lambda t: t])
def test_a_choice_that_does_not_fit_is_refused(index: object) -> None:
    explicand = Explicand.of(numbers(3, 8), target=Neuron(Site("1"), index))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="neuron"):
        explain(mlp(), SALIENCY, explicand)


def test_every_output_is_explained_at_the_price_of_one() -> None:
    model, x = mlp(), numbers(2, 8)
    every = explain(model, ABLATION, Explicand.of(x, target=EveryOutput()))
    assert every.rows_used == 2 * 9
    assert every.values[0].shape == (6, 8)
    for target in range(3):
        one = explain(model, ABLATION, Explicand.of(x, target=target))
        torch.testing.assert_close(every.values[0][target::3], one.values[0])
        torch.testing.assert_close(every.output[target::3], one.output)  # type: ignore[index]


def test_a_gradient_of_every_output_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="one output"):
        explain(mlp(), SALIENCY, Explicand.of(numbers(2, 8), target=EveryOutput()))


def test_a_reading_leaves_the_model_once_the_layer_is_seen() -> None:
    model = two_embeddings()
    question = Explicand.of(IDS, at=Site("words"))
    readings = [run(model, ask(values_at_site(question, (IDS,))), batch_rows=8) for _ in range(3)]
    assert (
        len(model.finished) == 1
    )  # the first time it is run to its end, to see that no call follows
    for reading in readings:
        assert torch.equal(reading.activations[0], model.words(IDS))
        assert reading.values.numel() == 0
    assert not any(m._forward_hooks for m in model.modules())


def test_a_layer_that_is_called_again_is_still_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.act(x))

    model, question = Twice(), Explicand.of(numbers(2, 3), at=Site("act"))
    for _ in range(2):
        with pytest.raises(ModelError, match="more than once"):
            run(model, ask(values_at_site(question, question.inputs)))


def test_baselines_may_be_given_at_the_layer() -> None:
    model, x = mlp(), numbers(2, 8)
    at_layer = replace(
        Explicand.of(x, target=1, at=Site("1")), starts=(torch.tensor(0.5).double(),)
    )
    answer = explain(model, ABLATION, at_layer)
    assert isinstance(model, nn.Sequential)
    hidden = model[1](model[0](x)).detach()
    without = hidden.clone()
    without[:, 4] = 0.5
    expected = model[2:](hidden)[:, 1] - model[2:](without)[:, 1]
    torch.testing.assert_close(answer.values[0][:, 4], expected)
    assert answer.rows_used == ABLATION.rows(at_layer) + 2 * (16 - 8)


def test_nothing_is_read_where_both_ends_are_given_at_the_layer() -> None:
    model, x = mlp(), numbers(2, 8)
    assert isinstance(model, nn.Sequential)
    hidden = model[1](model[0](x)).detach()
    start = torch.tensor(0.5).double()
    question = replace(Explicand.of(x, target=1, at=Site("1")), starts=(start,))
    read = explain(model, ABLATION, question)
    given = explain(model, ABLATION, replace(question, values=(hidden,)))
    torch.testing.assert_close(given.values, read.values)
    assert given.rows_used == read.rows_used - 2 == 2 * 17


def test_an_output_for_all_rows_together_is_told_from_other_errors() -> None:
    with pytest.raises(NotPerRow, match="2 rows"):
        explain(lambda t: t.sum()[None], ABLATION, Explicand.of(numbers(1, 2)), batch_rows=2)


def test_the_shapes_of_layers_are_those_of_one_example() -> None:
    model = cnn()
    found = layer_shapes(model, lambda: model(numbers(2, 1, 8, 8)))
    assert found[Site("0")] == ((4, 8, 8),)
    assert found[Site("2", "input")] == ((4, 4, 4),)
    assert found[Site("5")] == ((3,),)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_shapes_of_recurrent_layers_are_without_the_examples_too() -> None:
    model = nn.Sequential(nn.GRU(3, 5)).double()
    found = layer_shapes(model, lambda: model(numbers(7, 2, 3)))
    assert found[Site("0")] == ((7, 5), (1, 5))


def test_whole_numbers_have_no_shape_at_a_layer() -> None:
    model = two_embeddings()
    found = layer_shapes(model, lambda: model(IDS))
    assert found[Site("words")] == ((3, 4),)
    assert Site("words", "input") not in found

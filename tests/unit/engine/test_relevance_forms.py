"""Relevance is the same however a model is written: as modules, functions, in place, in steps."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from adcaptum.engine import Explicand, explain
from adcaptum.engine.methods.backward_rules.lrp import LRP
from adcaptum.engine.methods.backward_rules.relevance import CompositeLRP
from adcaptum.engine.rules.lrp.affine_rules import ZPlus
from adcaptum.engine.rules.lrp.composites import COMPOSITES, Composite, CompositeName
from tests.models import numbers
from tests.relevance_models import (
    Functional,
    OneReLU,
    Recurrent,
    SelfAttention,
    by_cells,
    functional_vgg,
    seeded,
    vgg,
)
from tests.relevance_questions import IMAGES, TIMES, VECTORS, assert_equal, relevance


@pytest.mark.parametrize("name", COMPOSITES)
def test_functions_are_explained_as_modules_are(name: CompositeName) -> None:
    model, x, method = seeded(vgg), numbers(*IMAGES), LRP(composite=name)
    twin = Functional(model, functional_vgg).eval()
    assert_equal(relevance(twin, x, method), relevance(model, x, method))


@pytest.mark.parametrize("name", ["epsilon", "attn_lrp"])
@pytest.mark.parametrize("form", ["weights", "fused", "written"])
def test_attention_is_explained_alike_in_all_its_forms(form: str, name: CompositeName) -> None:
    x, method = numbers(*TIMES), LRP(composite=name)
    module = relevance(seeded(SelfAttention), x, method)
    assert_equal(relevance(seeded(lambda: SelfAttention(form)), x, method), module)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: torch.einsum("bi,oi->bo", x, w),
        lambda x, w: x @ w.T,
        lambda x, w: (w @ x.T).T,
        lambda x, w: torch.tensordot(x, w, dims=([1], [1])),
        lambda x, w: torch.bmm(x[None], w.T[None])[0],
        lambda x, w: torch.addmm(torch.zeros(len(w), dtype=x.dtype), x, w.T),
    ],
    ids=["einsum", "matmul", "matmul from the left", "tensordot", "bmm", "addmm"],
)
def test_a_product_with_a_constant_matrix_is_a_linear_layer(
    function: Callable[[Tensor, Tensor], Tensor],
) -> None:
    layer = seeded(lambda: nn.Linear(8, 3, bias=False))
    assert isinstance(layer, nn.Linear)
    model = Functional(layer, lambda layer, x: function(x, layer.weight)).eval()  # type: ignore[arg-type]
    method = CompositeLRP(Composite(default=ZPlus()))
    x = numbers(*VECTORS)
    assert_equal(relevance(model, x, method), relevance(layer, x, method))


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("name", ["epsilon", "attn_lrp"])
def test_what_is_masked_in_attention_has_no_values(name: CompositeName, weights: bool) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.arange(x.shape[1]).expand(x.shape[:2]) > 2
            mixed, _ = self.attention(x, x, x, hidden, need_weights=weights)
            return self.head(mixed[:, 0])

    values = relevance(seeded(Masked), numbers(*TIMES), LRP(composite=name)).values[0]
    assert bool(values.isfinite().all())
    assert float(values[:, :3].abs().min()) > 0
    assert float(values[:, 3:].abs().max()) == 0


RECURRENT: dict[str, Callable[[], nn.RNNBase]] = {
    "lstm": lambda: nn.LSTM(8, 5, batch_first=True),
    "gru": lambda: nn.GRU(8, 5, batch_first=True),
    "rnn": lambda: nn.RNN(8, 5, batch_first=True),
    "two layers": lambda: nn.LSTM(8, 5, 2, batch_first=True),
    "both ways": lambda: nn.GRU(8, 5, batch_first=True, bidirectional=True),
    "without biases": lambda: nn.LSTM(8, 5, bias=False, batch_first=True),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_conserve_relevance(name: str) -> None:
    model = seeded(lambda: Recurrent(RECURRENT[name]()))
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if "bias" in key:
                weight.zero_()
    answer = relevance(model, numbers(*TIMES))
    assert answer.uncovered_ops == ()
    assert answer.completeness_error is not None
    assert float(answer.completeness_error.max()) < 1e-9


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_recurrent_layers_are_explained_as_their_cells_are(name: str) -> None:
    model, x = seeded(lambda: Recurrent(RECURRENT[name]())), numbers(*TIMES)
    cells = Functional(model, by_cells).eval()
    torch.testing.assert_close(cells(x), model(x))
    assert_equal(relevance(cells, x), relevance(model, x))


def test_autocast_is_explained() -> None:
    class Autocast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = seeded(vgg).float()

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return self.model(x)

    x = numbers(*IMAGES).float()
    rounded = relevance(Autocast().eval(), x, LRP()).values[0]
    exact = relevance(seeded(vgg).float(), x, LRP()).values[0]
    assert float(functional.cosine_similarity(rounded.flatten(), exact.flatten(), 0)) > 0.9


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("size", [3, 4])
def test_padding_by_name_is_padding(size: int) -> None:
    first = nn.Conv2d(3, 4, size, padding="same")
    named = seeded(lambda: nn.Sequential(first, nn.ReLU(), nn.Conv2d(4, 4, 3, padding="valid")))
    before, after = (size - 1) // 2, size // 2
    padded = nn.Sequential(nn.ZeroPad2d((before, after, before, after)), copy.deepcopy(named))
    next(m for m in padded.modules() if isinstance(m, nn.Conv2d)).padding = (0, 0)
    question = Explicand.of(numbers(2, 3, 6, 6), target=(1, 2, 3))
    assert_equal(explain(named, LRP(), question), explain(padded, LRP(), question))


def test_in_place_operations_are_explained_as_others_are() -> None:
    x = numbers(*VECTORS)
    inplace = relevance(seeded(lambda: OneReLU(inplace=True)), x)
    assert_equal(inplace, relevance(seeded(OneReLU), x))


@pytest.mark.parametrize("name", ["epsilon", "attn_lrp"])
def test_arguments_by_name_are_arguments(name: CompositeName) -> None:
    class Products(nn.Module):
        def __init__(self, *, named: bool) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4).double()
            self.named = named

        def forward(self, x: Tensor) -> Tensor:
            h = self.linear(x).view(-1, 2, 2)
            if self.named:
                gate = torch.softmax(input=h, dim=-1) * torch.sigmoid(input=h)
                return torch.bmm(input=gate, mat2=torch.matmul(input=h, other=h)).flatten(1)
            gate = torch.softmax(h, -1) * torch.sigmoid(h)
            return torch.bmm(gate, torch.matmul(h, h)).flatten(1)

    x, method = numbers(3, 4), LRP(composite=name)
    by_name = relevance(seeded(lambda: Products(named=True)), x, method)
    assert_equal(by_name, relevance(seeded(lambda: Products(named=False)), x, method))


def test_preprocessing_in_the_model_hands_relevance_on() -> None:
    inner, x = seeded(vgg), numbers(*IMAGES)

    def preprocessed(model: nn.Module, pixels: Tensor) -> Tensor:
        return model((pixels - 0.5) / 0.2)

    whole = Functional(inner, preprocessed).eval()
    for name in COMPOSITES:
        method = LRP(composite=name)
        expected = relevance(inner, x, method)
        assert_equal(relevance(whole, x * 0.2 + 0.5, method), expected, 1e-9)

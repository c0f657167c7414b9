"""Relevance propagation: conservation, starts and sites, and where Captum is wrong (B10-B15)."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from captum import attr as captum
from captum.attr._utils import lrp_rules as captum_rules
from torch import Tensor, nn
from torch.nn import functional

from adcaptum.engine import Explicand, Neuron, Site, explain
from adcaptum.engine.errors import InvalidArgument, ModelError, UncoveredOperations
from adcaptum.engine.execution.driver import run
from adcaptum.engine.methods.backward_rules.lrp import LRP
from adcaptum.engine.methods.backward_rules.relevance import CompositeLRP
from adcaptum.engine.rules.lrp.affine_rules import AlphaBeta, Gamma, LayerRule, Pass, ZPlus
from adcaptum.engine.rules.lrp.composites import COMPOSITES, Composite, CompositeName, composite
from adcaptum.engine.vocabulary.flow import gather
from tests.models import numbers
from tests.relevance_models import (
    Activations,
    Encoder,
    Flattening,
    Gated,
    OneReLU,
    Recurrent,
    SelfAttention,
    UNet,
    folded,
    mobilenet,
    resnet,
    seeded,
    unbiased,
    vgg,
)
from tests.relevance_questions import IMAGES, TIMES, VECTORS, assert_equal, relevance

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet": (resnet, IMAGES),
    "vgg": (vgg, IMAGES),
    "mobilenet": (mobilenet, IMAGES),
    "unet": (UNet, IMAGES),
    "gated": (Gated, IMAGES),
    "one relu twenty times": (OneReLU, VECTORS),
    "one relu in place": (lambda: OneReLU(inplace=True), VECTORS),
    "activations": (Activations, VECTORS),
    "encoder": (Encoder, TIMES),
    "encoder, norm first": (lambda: Encoder("relu", norm_first=True), TIMES),
    "attention": (SelfAttention, TIMES),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_epsilon_conserves_relevance(name: str) -> None:
    make, shape = NETWORKS[name]
    answer = relevance(unbiased(seeded(make)), numbers(*shape))
    assert answer.uncovered_ops == ()
    assert answer.completeness_error is not None
    assert float(answer.completeness_error.max()) < 1e-9
    assert float(answer.values[0].abs().max()) > 0


# Of the others' average pools some see zeros only, and have nobody to hand a bias's share to.
@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"resnet", "vgg"}))
def test_biases_that_spread_relevance_conserve_it(name: str) -> None:
    make, shape = NETWORKS[name]
    answer = relevance(seeded(make), numbers(*shape), LRP(composite="epsilon", bias="spread"))
    assert answer.completeness_error is not None
    assert float(answer.completeness_error.max()) < 1e-9


@pytest.mark.parametrize("name", COMPOSITES)
def test_every_composite_conserves_relevance_where_biases_are_ignored(
    name: CompositeName,
) -> None:
    answer = relevance(seeded(vgg), numbers(*IMAGES), LRP(composite=name, bias="ignore"))
    assert answer.completeness_error is not None
    assert float(answer.completeness_error.max()) < 1e-9


@pytest.mark.parametrize("name", COMPOSITES)
def test_a_batch_norm_counts_as_folded_into_the_layer_before_it(name: CompositeName) -> None:
    model = seeded(mobilenet)
    assert isinstance(model, nn.Sequential)
    x = numbers(*IMAGES)
    merged, apart = (relevance(m, x, LRP(composite=name)) for m in (model, folded(model)))
    assert_equal(merged, apart, 1e-9)


def test_a_batch_norm_is_folded_into_linear_and_transposed_layers_too() -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.ConvTranspose2d(4, 6, 3, 2, 1, groups=2),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(150, 5),
            nn.BatchNorm1d(5),
            nn.ReLU(),
            nn.Linear(5, 3),
        )

    model, x = seeded(make), numbers(2, 4, 3, 3)
    assert isinstance(model, nn.Sequential)
    rules = CompositeLRP(Composite(default=ZPlus()))
    assert_equal(relevance(model, x, rules), relevance(folded(model), x, rules), 1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shape", [IMAGES, VECTORS], ids=["cnn", "mlp"])
def test_epsilon_is_captums_on_sequential_networks(shape: tuple[int, ...]) -> None:
    def mlp() -> nn.Module:
        return nn.Sequential(
            nn.Linear(8, 9), nn.ReLU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 4)
        )

    model, x = seeded(Flattening if shape == IMAGES else mlp), numbers(*shape)
    theirs = captum.LRP(copy.deepcopy(model)).attribute(x, target=[0, 1, 2])
    ours = relevance(model, x, LRP(composite="epsilon", epsilon=1e-9)).values[0]
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", COMPOSITES)
def test_half_precision_stays_finite_where_a_neuron_is_zero(
    name: CompositeName, dtype: torch.dtype
) -> None:
    # B10: Captum's 1e-9 is 0 in half precision, and 0 / 0 is NaN.
    model = seeded(vgg)
    with torch.no_grad():
        first = next(model.children())
        assert isinstance(first, nn.Conv2d)
        first.weight[0] = 0
        nn.init.zeros_(first.bias if first.bias is not None else first.weight[0])
    exact = relevance(model, numbers(*IMAGES), LRP(composite=name, epsilon=1e-3)).values[0]
    method = LRP(composite=name, epsilon=1e-9)
    half = relevance(model.to(dtype), numbers(*IMAGES).to(dtype), method)
    assert half.values[0].dtype == torch.float32
    assert bool(half.values[0].isfinite().all())
    direction = functional.cosine_similarity(half.values[0].flatten(), exact.float().flatten(), 0)
    assert float(direction) > 0.9


def test_a_residual_addition_splits_relevance() -> None:
    # B11: Captum duplicates it, without a warning.
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.head = nn.Linear(8, 8, bias=False), nn.Linear(8, 3, bias=False)
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x + self.relu(self.inner(x)))

    model, x = seeded(Block), numbers(*VECTORS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, delta = captum.LRP(copy.deepcopy(model)).attribute(
            x, target=0, return_convergence_delta=True
        )
    answer = relevance(model, x)
    assert answer.completeness_error is not None
    assert float(delta.detach().abs().max()) > 1e-2
    assert float(answer.completeness_error.max()) < 1e-9


def test_a_bare_layer_is_explained() -> None:
    # B12: Captum looks at children only, and applies no rule.
    model = seeded(lambda: nn.Linear(3, 2, bias=False))
    answer = explain(model, LRP(), Explicand.of(numbers(2, 3), target=1))
    assert answer.completeness_error is not None
    assert float(answer.completeness_error.max()) < 1e-12


def test_z_plus_takes_positive_contributions_of_inputs_of_either_sign() -> None:
    # B13: Captum clamps the weights only.
    layer = seeded(lambda: nn.Linear(4, 1, bias=False))
    assert isinstance(layer, nn.Linear)
    x = numbers(2, 4)
    answer = explain(layer, CompositeLRP(Composite(default=ZPlus()), "one"), Explicand.of(x))
    parts = (x * layer.weight.detach()).clamp(min=0)
    torch.testing.assert_close(answer.values[0], parts / parts.sum(1, keepdim=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = nn.Sequential(copy.deepcopy(layer))
        theirs[0].rule = captum_rules.Alpha1_Beta0_Rule()
        output = layer(x).detach()
        wrong = captum.LRP(theirs).attribute(x).detach() / output
    assert float((wrong - answer.values[0]).abs().max()) > 0.1


def test_rules_given_to_modules_hold_for_every_call() -> None:
    # B14: Captum deletes them after the first.
    model, x = seeded(vgg), numbers(*IMAGES)
    first = next(model.children())
    method = CompositeLRP(composite("epsilon").overridden({first: Gamma(1.0)}))
    once, twice = relevance(model, x, method), relevance(model, x, method)
    assert_equal(once, twice)
    assert float((once.values[0] - relevance(model, x).values[0]).abs().max()) > 1e-6
    assert not any("rule" in vars(module) for module in model.modules())


@pytest.mark.parametrize("name", COMPOSITES)
def test_weights_are_never_written_to(name: CompositeName) -> None:
    # B15: Captum replaces their storage.
    model = seeded(mobilenet)
    before = {key: (t.data_ptr(), t._version) for key, t in model.state_dict().items()}
    relevance(model, numbers(*IMAGES), LRP(composite=name))
    assert {key: (t.data_ptr(), t._version) for key, t in model.state_dict().items()} == before


def test_the_rows_of_several_requests_share_a_batch() -> None:
    model, x = seeded(resnet), numbers(4, *IMAGES[1:])
    questions = [Explicand.of(x[:3], target=[0, 1, 2]), Explicand.of(x[3:], target=3)]
    batches: list[int] = []
    flows = [LRP().flow(question) for question in questions]
    answers = run(model, gather(flows), batch_rows=64, on_rows=batches.append)
    assert batches == [4]
    for answer, question in zip(answers, questions, strict=True):
        assert_equal(answer, explain(model, LRP(), question), 1e-9)


def test_an_operation_without_a_rule_is_reported() -> None:
    model = seeded(lambda: Recurrent(nn.GRU(8, 5, batch_first=True), packed=True))
    question = Explicand.of(numbers(*TIMES), target=1)
    assert "gru" in explain(model, LRP(), question).uncovered_ops
    with pytest.raises(UncoveredOperations, match="gru"):
        explain(model, LRP(strict=True), question)


def test_an_operation_without_a_rule_still_shares_out_relevance() -> None:
    class Products(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.prod(1)

    x = numbers(2, 3)
    answer = explain(Products(), LRP(), Explicand.of(x))
    assert answer.uncovered_ops == ("prod",)
    torch.testing.assert_close(answer.values[0], x.prod(1, keepdim=True).expand_as(x))


def test_a_layer_has_the_relevance_that_the_model_behind_it_gives_to_its_inputs() -> None:
    model, x = seeded(vgg), numbers(*IMAGES)
    assert isinstance(model, nn.Sequential)
    inside = explain(model, LRP(), Explicand.of(x, target=1, at=Site("3")))
    behind = explain(model[4:], LRP(), Explicand.of(model[:4](x).detach(), target=1))
    assert_equal(inside, behind)


def test_what_comes_first_is_not_first_behind_a_layer() -> None:
    model, x = seeded(vgg), numbers(*IMAGES)
    question = Explicand.of(x, target=1, at=Site("2"))
    flat, plus = (explain(model, LRP(composite=c), question) for c in COMPOSITES[1:3])
    assert_equal(flat, plus)


def test_relevance_may_start_at_a_neuron() -> None:
    model, x = seeded(vgg), numbers(*IMAGES)
    assert isinstance(model, nn.Sequential)
    neuron = Explicand.of(x, target=Neuron(Site("7"), (4,)))
    assert_equal(
        explain(model, LRP(), neuron), explain(model[:8], LRP(), Explicand.of(x, target=4))
    )


def test_relevance_may_start_at_many_neurons() -> None:
    model, x = seeded(vgg), numbers(*IMAGES)
    together = explain(model, LRP(), Explicand.of(x, target=Neuron(Site("7"), (slice(1, 3),))))
    alone = [explain(model, LRP(), Explicand.of(x, target=Neuron(Site("7"), (i,)))) for i in (1, 2)]
    total = alone[0].values[0] + alone[1].values[0]
    torch.testing.assert_close(together.values[0], total, rtol=1e-9, atol=1e-12)


def test_relevance_may_start_with_one() -> None:
    model, x = seeded(vgg), numbers(*IMAGES)
    of_value, of_one = (relevance(model, x, LRP(start=s)) for s in ("output", "one"))
    assert of_value.output is not None
    scaled = of_one.values[0] * of_value.output.view(-1, 1, 1, 1)
    torch.testing.assert_close(of_value.values[0], scaled)


def test_alpha_and_beta_must_neither_make_nor_lose_relevance() -> None:
    with pytest.raises(InvalidArgument, match="alpha"):
        AlphaBeta(2.0, 0.5)


def test_pass_refuses_layers_that_change_the_shape() -> None:
    rule: LayerRule = Pass()
    with pytest.raises(ModelError, match="Pass"):
        relevance(seeded(vgg), numbers(*IMAGES), CompositeLRP(Composite(default=rule)))

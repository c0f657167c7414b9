"""Variants of a model: the choice, and the evaluations that use it."""

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine import INPUT, METHODS, Explicand, Site, explain
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import Evaluation, Neuron, Output, Patch
from adcaptum.engine.vocabulary.parameters import resolve
from adcaptum.service.models import checks
from adcaptum.service.models.declaration import (
    Declaration,
    InputDeclaration,
    OutputDeclaration,
    Precision,
    Runtime,
)
from adcaptum.service.models.layouts import choice, trials
from adcaptum.service.models.layouts.transforms import AS_LOADED, BOTH, CHANNELS_LAST, FOLDED
from adcaptum.service.models.layouts.variants import ModelVariant
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.served_model import ServedModel
from tests.models import cnn, mlp

ROWS = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def loaded(module: nn.Module, rows: Tensor, runtime: Runtime | None = None) -> LoadedModel:
    declaration = Declaration(
        name="net",
        description="",
        factory="net:build",
        inputs=(InputDeclaration("x", "tensor", "FP32", (-1, *rows.shape[1:])),),
        outputs=(OutputDeclaration("y", "FP32", (-1, 3), "logits"),),
        runtime=runtime or Runtime(),
    )
    return LoadedModel(
        declaration=declaration,
        version="1",
        digest="0",
        module=module.float().eval().requires_grad_(requires_grad=False),
        device=torch.device("cpu"),
        baselines=MappingProxyType({}),
        backgrounds=MappingProxyType({}),
        examples=(rows,),
        text=None,
    )


def chosen(model: LoadedModel) -> ModelVariant:
    return choice.choose(model, checks.check(model), 0.001)


@pytest.fixture
def rate(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says how fast variants are, instead of measuring them."""

    def say(**rates: float) -> None:
        by_name = {AS_LOADED: 1.0, FOLDED: 1.0, CHANNELS_LAST: 1.0, BOTH: 1.0}
        by_name |= {name.replace("_", " "): value for name, value in rates.items()}
        monkeypatch.setattr(
            trials,
            "rates",
            lambda model, checks, modules, seconds: {name: by_name[name] for name in modules},
        )

    return say


def test_the_fastest_is_chosen(rate: Callable[..., None]) -> None:
    rate(folded=1.2, channels_last=1.3)
    variant = chosen(loaded(cnn(), ROWS))
    assert variant.name == CHANNELS_LAST
    assert set(variant.trials.rows_per_second) == {AS_LOADED, FOLDED, CHANNELS_LAST, BOTH}


def test_what_is_hardly_faster_is_not_chosen(rate: Callable[..., None]) -> None:
    rate(folded=1.09)
    model = loaded(cnn(), ROWS)
    variant = chosen(model)
    assert variant.name == AS_LOADED
    assert variant.module is model.module
    assert variant.trials.rows_per_second[FOLDED] == 1.09


def test_a_chosen_copy_says_what_the_model_says(rate: Callable[..., None]) -> None:
    rate(folded=2.0)
    model = loaded(cnn(), ROWS)
    variant = chosen(model)
    assert isinstance(variant.module.get_submodule("2.norm"), nn.Identity)
    assert 0 < variant.distance.gradients < 1e-5
    assert 0 < variant.trials.rounding.gradients < 1e-5
    torch.testing.assert_close(variant.module(ROWS), model.module(ROWS), rtol=1e-5, atol=1e-6)


class Doubled(nn.Module):
    """Says something else as soon as its batch norm is not one."""

    def __init__(self) -> None:
        super().__init__()
        self.net = cnn()

    def forward(self, x: Tensor) -> Tensor:
        usual = isinstance(self.net.get_submodule("2.norm"), nn.BatchNorm2d)
        return self.net(x) * (1.0 if usual else 1.001)


def test_a_copy_that_is_another_function_is_not_tried() -> None:
    variant = chosen(loaded(Doubled(), ROWS))
    assert FOLDED not in variant.trials.rows_per_second
    assert BOTH not in variant.trials.rows_per_second


class Views(nn.Module):
    """Flattens as only tensors can be flattened that lie in memory in the usual order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).view(len(x), -1)[:, :3]


class Asks(nn.Module):
    """Calls no batch norm, and takes its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv(x)
        made = nn.functional.batch_norm(made, self.norm.running_mean, self.norm.running_var)
        return made.mean((2, 3))


@pytest.mark.parametrize(("module", "works"), [(Views(), FOLDED), (Asks(), CHANNELS_LAST)])
def test_variants_with_which_a_model_does_not_work_are_not_tried(
    module: nn.Module, works: str
) -> None:
    variant = chosen(loaded(module, ROWS))
    assert set(variant.trials.rows_per_second) == {AS_LOADED, works}
    assert variant.trials.failures


def test_where_nothing_can_be_gained_nothing_is_tried() -> None:
    variant = chosen(loaded(mlp(), torch.rand(4, 8)))
    assert variant.name == AS_LOADED
    assert not variant.trials.rows_per_second


def test_variants_are_measured() -> None:
    rates = chosen(loaded(cnn(), ROWS)).trials.rows_per_second
    assert set(rates) == {AS_LOADED, FOLDED, CHANNELS_LAST, BOTH}
    assert all(rate > 0 for rate in rates.values())


@pytest.fixture
def served(rate: Callable[..., None]) -> ServedModel:
    rate(**{"folded,_channels_last": 2.0})
    model = loaded(cnn(), ROWS)
    found = checks.check(model)
    return ServedModel.of(model, found, choice.choose(model, found, 0.001))


GIVEN = Given((ROWS,))
LAYER = Site("2.conv")
TARGET = Output(torch.zeros(4, 1, dtype=torch.int64))


@pytest.mark.parametrize(
    "evaluation", [Evaluation(GIVEN), Evaluation(GIVEN, TARGET), Evaluation(GIVEN, TARGET, INPUT)]
)
def test_inputs_and_outputs_are_evaluated_by_the_fastest(
    served: ServedModel, evaluation: Evaluation
) -> None:
    assert served.module(evaluation) is served.variant.module
    assert served.variant.name == BOTH


@pytest.mark.parametrize(
    "evaluation",
    [
        pytest.param(Evaluation(GIVEN, TARGET, LAYER), id="gradients at a layer"),
        pytest.param(Evaluation(GIVEN, TARGET, read=LAYER), id="a layer's values"),
        pytest.param(Evaluation(GIVEN, TARGET, patch=Patch(LAYER, GIVEN)), id="a patch"),
        pytest.param(Evaluation(GIVEN, Neuron(LAYER, (0, 0, 0))), id="a neuron"),
        pytest.param(
            Evaluation(GIVEN, TARGET, INPUT, through=Neuron(LAYER, (0, 0, 0))), id="by way of one"
        ),
        pytest.param(Evaluation(GIVEN, TARGET, INPUT).apart(8), id="the same to the last bit"),
    ],
)
def test_the_model_itself_evaluates_everything_else(
    served: ServedModel, evaluation: Evaluation
) -> None:
    assert served.module(evaluation) is served.loaded.module


@pytest.mark.parametrize("name", ["deep_lift", "lrp", "guided_backprop", "deconvolution"])
def test_rules_on_operations_see_the_operations_of_the_model_itself(
    served: ServedModel, name: str
) -> None:
    flow = resolve(METHODS[name], {}).flow(Explicand.of(ROWS, target=0, baselines=0.0))
    round_ = next(flow)
    flow.close()
    assert isinstance(round_, tuple)
    assert any(evaluation.rule for evaluation in round_)
    for evaluation in round_:
        if evaluation.rule is not None:
            assert served.module(evaluation) is served.loaded.module


@pytest.mark.parametrize("name", ["saliency", "integrated_gradients", "occlusion"])
def test_attributions_by_the_fastest_are_those_by_the_model(served: ServedModel, name: str) -> None:
    method = resolve(METHODS[name], {})
    explicand = Explicand.of(ROWS, target=1, baselines=0.0)
    expected = explain(served.loaded.module, method, explicand)
    found = explain(served.variant.module, method, explicand)
    torch.testing.assert_close(found.values[0], expected.values[0], rtol=1e-4, atol=1e-6)
    assert found.values[0].is_contiguous()


def test_a_model_whose_rows_depend_on_each_other_is_left_as_it_is() -> None:
    model = loaded(cnn(), ROWS)
    dependent = replace(checks.check(model), independent=False)
    assert not choice.choose(model, dependent, 0.001).trials.rows_per_second


def test_what_may_not_be_tried_is_not() -> None:
    runtime = Runtime(memory_format="as loaded", fold_batch_norm=False)
    assert not chosen(loaded(cnn(), ROWS, runtime)).trials.rows_per_second


def test_a_memory_format_that_is_asked_for_is_chosen_though_it_is_slower(
    rate: Callable[..., None],
) -> None:
    rate(channels_last=0.5, **{"folded,_channels_last": 0.6})
    variant = chosen(loaded(cnn(), ROWS, Runtime(memory_format="channels last")))
    assert variant.name == BOTH
    assert set(variant.trials.rows_per_second) == {AS_LOADED, CHANNELS_LAST, BOTH}


@pytest.mark.parametrize(("precision", "off"), [("bfloat16", 2e-2), ("float16", 2e-3)])
def test_a_precision_that_is_asked_for_is_chosen_and_says_how_far_it_is_off(
    precision: Precision, off: float
) -> None:
    runtime = Runtime(precision, memory_format="as loaded", fold_batch_norm=False)
    variant = chosen(loaded(cnn(), ROWS, runtime))
    assert variant.name == precision
    assert off / 100 < variant.distance.outputs < off
    assert off / 100 < variant.distance.gradients < 10 * off


def test_in_another_precision_rows_and_gradients_keep_their_dtype() -> None:
    model = loaded(cnn(), ROWS, Runtime("bfloat16"))
    variant = chosen(model)
    rows = ROWS.clone().requires_grad_()
    made = variant.module(rows)
    (gradient,) = torch.autograd.grad(made.sum(), rows)
    assert made.dtype == gradient.dtype == torch.float32
    expected = model.module(ROWS).to(torch.bfloat16)
    torch.testing.assert_close(made.to(torch.bfloat16), expected, rtol=0.1, atol=0.05)
    assert {each.dtype for each in variant.module.parameters()} == {torch.bfloat16}
    assert {each.dtype for each in model.module.parameters()} == {torch.float32}


def test_the_precision_of_the_model_itself_changes_nothing() -> None:
    variant = chosen(loaded(mlp(), torch.rand(4, 8), Runtime("float32")))
    assert variant.name == AS_LOADED
    assert not variant.trials.rows_per_second


class Large(nn.Module):
    """Gives numbers that float16 does not have, and then their difference."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 1e5 - x * 1e5).sum((1, 2))[:, :3] + x[:, 0, 0, :3]


def test_a_precision_in_which_the_model_gives_no_numbers_is_refused() -> None:
    variant = chosen(loaded(Large(), ROWS, Runtime("float16")))
    assert variant.name == AS_LOADED
    assert variant.trials.failures == {"float16": "gives what is not a number"}


def test_where_rows_depend_on_each_other_it_is_said_why_nothing_is_done() -> None:
    model = loaded(cnn(), ROWS, Runtime("bfloat16"))
    dependent = replace(checks.check(model), independent=False)
    variant = choice.choose(model, dependent, 0.001)
    assert variant.name == AS_LOADED
    assert "depend on each other" in variant.trials.failures["what model.toml asks for"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("precision", ["as loaded", "bfloat16", "float16"])
def test_variants_are_measured_on_cuda_too(precision: Precision) -> None:
    model = loaded(cnn(), ROWS, Runtime(precision))
    device = torch.device("cuda")
    module, rows = model.module.to(device), ROWS.to(device)
    variant = chosen(replace(model, module=module, device=device, examples=(rows,)))
    assert AS_LOADED in variant.trials.rows_per_second
    assert precision in (AS_LOADED, variant.name.split(", ")[-1])
    torch.testing.assert_close(variant.module(rows), module(rows), rtol=0.1, atol=0.05)

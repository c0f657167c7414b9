"""Gradient methods against Captum and against their definitions, at inputs, layers and neurons."""

from __future__ import annotations

import warnings
from typing import Any, get_args

import numpy as np
import pytest
import torch
from captum import attr as captum
from torch import Tensor, nn

from adcaptum.engine import (
    INPUT,
    Attribution,
    Explicand,
    InvalidArgument,
    ModelError,
    Neuron,
    NotDifferentiable,
    Site,
    explain,
)
from adcaptum.engine.methods.gradients.input_x_gradient import InputXGradient
from adcaptum.engine.methods.gradients.saliency import Saliency
from adcaptum.engine.methods.gradients.smooth_grad import SmoothGrad
from adcaptum.engine.methods.paths.expected_gradients import ExpectedGradients
from adcaptum.engine.methods.paths.gradient_shap import GradientShap
from adcaptum.engine.methods.paths.integrated_gradients import IntegratedGradients
from adcaptum.engine.methods.paths.quadrature import Rule, nodes_and_weights
from adcaptum.engine.vocabulary.arguments import Shared
from adcaptum.engine.vocabulary.method import Method
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import cnn, mlp, numbers, text_classifier, two_inputs

TARGETS = [0, 2, 1, 0, 2]


def close(actual: Tensor, expected: Any, tolerance: float = 1e-7) -> None:
    if isinstance(expected, tuple):
        (expected,) = expected
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def oracle(call: Any, *args: Any, **kwargs: Any) -> Any:
    """Captum's answer, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*args, **kwargs)


@pytest.mark.parametrize("magnitude", [True, False])
def test_saliency_is_captums(magnitude: bool) -> None:
    model, x = cnn(), numbers(5, 1, 8, 8)
    ours = explain(model, Saliency(abs=magnitude), Explicand.of(x, target=TARGETS))
    expected = oracle(
        captum.Saliency(model).attribute, x, target=torch.tensor(TARGETS), abs=magnitude
    )
    close(ours.values[0], expected, 1e-12)
    with torch.no_grad():
        close(ours.output, model(x)[range(5), TARGETS], 1e-12)  # type: ignore[arg-type]


def test_input_x_gradient_is_captums_at_input_and_layer() -> None:
    model, x = cnn(), numbers(5, 1, 8, 8)
    target = torch.tensor(TARGETS)
    ours = explain(model, InputXGradient(), Explicand.of(x, target=target))
    close(ours.values[0], oracle(captum.InputXGradient(model).attribute, x, target=target), 1e-12)
    layer = model.get_submodule("2.norm")
    ours = explain(model, InputXGradient(), Explicand.of(x, target=target, at=Site("2.norm")))
    expected = oracle(captum.LayerGradientXActivation(model, layer).attribute, x, target=target)
    close(ours.values[0], expected, 1e-12)


@pytest.mark.parametrize(
    "rule", ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle"]
)
def test_integrated_gradients_are_captums(rule: Any) -> None:
    model, x, x0 = mlp(), numbers(5, 8), numbers(5, 8, seed=1)
    ours = explain(
        model, IntegratedGradients(20, rule), Explicand.of(x, target=TARGETS, baselines=x0)
    )
    expected = captum.IntegratedGradients(model).attribute(
        x, x0, target=torch.tensor(TARGETS), n_steps=20, method=rule
    )
    close(ours.values[0], expected)  # Captum casts its step sizes to float32 (B19)


def test_the_trapezoid_is_exact_for_linear_functions_where_captums_is_not() -> None:
    x = torch.ones(1, 1, dtype=torch.float64)
    ours = explain(
        lambda t: t, IntegratedGradients(2, "riemann_trapezoid"), Explicand.of(x, target=0)
    )
    theirs = captum.IntegratedGradients(lambda t: t).attribute(
        x, target=0, n_steps=2, method="riemann_trapezoid"
    )
    assert ours.values[0].item() == 1
    assert theirs.item() == 0.5  # B1


@pytest.mark.parametrize("rule", ["gausslegendre", "riemann_middle", "riemann_trapezoid"])
def test_integrated_gradients_are_complete(rule: Any) -> None:
    model, x, x0 = mlp(), numbers(5, 8), numbers(1, 8, seed=1)
    ours = explain(
        model, IntegratedGradients(400, rule), Explicand.of(x, target=TARGETS, baselines=x0)
    )
    assert ours.completeness_error is not None
    assert ours.output is not None
    assert ours.baseline_output is not None
    assert ours.completeness_error is not None
    gap = ours.values[0].sum(1) - (ours.output - ours.baseline_output)
    torch.testing.assert_close(gap.abs(), ours.completeness_error)
    assert ours.completeness_error.max() < (1e-12 if rule == "gausslegendre" else 1e-4)


def test_integrated_gradients_of_a_cube_are_exact_in_float64() -> None:
    x = torch.tensor([[0.7, -1.3]], dtype=torch.float64)
    ours = explain(lambda t: (t**3).sum(1), IntegratedGradients(50), Explicand.of(x))
    torch.testing.assert_close(ours.values[0], x**3, rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("io", ["input", "output"])
def test_integrated_gradients_at_a_layer_are_captums(io: Any) -> None:
    model, x, x0 = cnn(), numbers(5, 1, 8, 8), numbers(5, 1, 8, 8, seed=1)
    ours = explain(
        model,
        IntegratedGradients(20),
        Explicand.of(x, target=TARGETS, baselines=x0, at=Site("2.conv", io)),
    )
    expected = captum.LayerIntegratedGradients(model, model.get_submodule("2.conv")).attribute(
        x,
        x0,
        target=torch.tensor(TARGETS),
        n_steps=20,
        attribute_to_layer_input=io == "input",
    )
    close(ours.values[0], expected)
    assert ours.completeness_error is not None


def test_a_neuron_is_explained_as_it_was_before_later_operations_in_place() -> None:
    model, x, x0 = cnn(), numbers(5, 1, 8, 8), numbers(5, 1, 8, 8, seed=1)
    neuron = Neuron(Site("2.norm"), (1, 2, 2))
    ours = explain(model, IntegratedGradients(20), Explicand.of(x, target=neuron, baselines=x0))
    layer = model.get_submodule("2.norm")
    expected = captum.NeuronIntegratedGradients(model, layer).attribute(
        x, (1, 2, 2), baselines=x0, n_steps=20
    )
    close(ours.values[0], expected)


def test_several_inputs_with_arguments_of_each_example_and_of_all() -> None:
    model = two_inputs()
    x, y, weight = numbers(5, 4), numbers(5, 3, seed=1), numbers(5, seed=2)
    scale = torch.tensor(0.5)
    ours = explain(
        model,
        IntegratedGradients(30),
        Explicand.of((x, y), target=2, additional_forward_args=(weight, Shared(scale))),
    )
    expected = captum.IntegratedGradients(lambda *args: model(*args, scale)).attribute(
        (x, y), target=2, n_steps=30, additional_forward_args=(weight,)
    )
    for mine, theirs in zip(ours.values, expected, strict=True):
        close(mine, theirs)


def test_token_ids_are_explained_at_their_embedding() -> None:
    model = text_classifier()
    ids = torch.tensor([[1, 4, 7, 2], [3, 3, 9, 0], [5, 6, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])
    question = Explicand.of(
        ids,
        target=1,
        baselines=torch.zeros_like(ids),
        at=Site("embedding"),
        additional_forward_args=(mask,),
    )
    ours = explain(model, IntegratedGradients(30), question)
    assert ours.values[0].shape == (3, 4, 6)
    assert ours.completeness_error is not None
    assert ours.completeness_error.max() < 1e-9

    def forward(tokens: Tensor, of: Tensor) -> Tensor:
        return model(tokens, of)["logits"]

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: Tensor, of: Tensor) -> Tensor:
            return forward(tokens, of)

    explainer = captum.LayerIntegratedGradients(Logits(), model.get_submodule("embedding"))
    expected = explainer.attribute(
        ids, torch.zeros_like(ids), target=1, additional_forward_args=(mask,), n_steps=30
    )
    close(ours.values[0], expected)


def test_a_layer_with_a_tuple_of_outputs_has_an_attribution_for_each() -> None:
    model = text_classifier()
    ids, mask = torch.tensor([[1, 4, 7]]), torch.ones(1, 3)
    question = Explicand.of(ids, target=0, at=Site("embedding"), additional_forward_args=(mask,))
    embedded = explain(model, InputXGradient(), question)
    assert embedded.values[0].shape == (1, 3, 6)

    class Pair(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"a": x.sin(), "b": x.cos()}

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, x: Tensor) -> Tensor:
            both = self.pair(x)
            return (both["a"] * both["b"]).sum(1)

    x = numbers(2, 3)
    ours = explain(Model(), InputXGradient(), Explicand.of(x, at=Site("pair")))
    close(ours.values[0], x.sin() * x.cos(), 1e-12)
    close(ours.values[1], x.sin() * x.cos(), 1e-12)


def test_a_module_called_twice_has_to_be_told_which_call_is_meant() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            return (self.act(self.act(x)) ** 2).sum(1)

    x = numbers(2, 3)
    with pytest.raises(ModelError, match="more than once"):
        explain(Twice(), InputXGradient(), Explicand.of(x, at=Site("act")))
    last = explain(Twice(), InputXGradient(), Explicand.of(x, at=Site("act", call=1)))
    close(last.values[0], 2 * x.tanh().tanh() ** 2, 1e-12)
    first = explain(Twice(), InputXGradient(), Explicand.of(x, at=Site("act", call=0)))
    inner, outer = x.tanh(), x.tanh().tanh()
    close(first.values[0], inner * 2 * outer * (1 - outer**2), 1e-12)


def test_an_input_that_the_target_does_not_use_gets_zeros() -> None:
    x, y = numbers(2, 3), numbers(2, 4, seed=1)
    ours = explain(lambda a, _b: a, Saliency(), Explicand.of((x, y), target=0))
    assert torch.equal(ours.values[1], torch.zeros_like(y))


def test_gradient_shap_approaches_the_expectation_and_states_its_error() -> None:
    model, x, x0 = mlp(), numbers(3, 8), numbers(4, 8, seed=1)
    question = Explicand.of(x, target=1, baselines=x0, seed=3)
    ours = explain(model, GradientShap(4000), question)
    lines = [
        explain(model, IntegratedGradients(60), Explicand.of(x, target=1, baselines=x0[i : i + 1]))
        for i in range(4)
    ]
    expected = torch.stack([line.values[0] for line in lines]).mean(0)
    deviation = (ours.values[0] - expected).abs() / ours.standard_errors[0]
    assert ours.standard_error is not None
    assert deviation.max() < 4.5
    assert deviation.square().mean().sqrt() > 0.3  # the stated error is not idly large


def test_gradient_shap_at_a_layer_takes_a_distribution_of_baselines() -> None:
    model, x, x0 = mlp(), numbers(3, 8), numbers(2, 8, seed=1)
    ours = explain(model, GradientShap(2000), Explicand.of(x, target=1, baselines=x0, at=Site("1")))
    lines = [
        explain(
            model,
            IntegratedGradients(60),
            Explicand.of(x, target=1, baselines=x0[i : i + 1], at=Site("1")),
        )
        for i in range(2)
    ]
    expected = torch.stack([line.values[0] for line in lines]).mean(0)
    assert ((ours.values[0] - expected).abs() <= 4.5 * ours.standard_errors[0] + 1e-12).all()


def test_smooth_grad_of_a_quadratic_is_what_the_moments_of_the_noise_say() -> None:
    # The gradient of sum(x^2) is 2x, so under noise of stdev s its mean is 2x, its variance 4s^2.
    x = torch.tensor([[0.5, -1.5]], dtype=torch.float64)
    question = Explicand.of(x)
    expected: dict[str, Tensor] = {
        "smoothgrad": 2 * x,
        "smoothgrad_sq": 4 * x**2 + 4 * 0.09,
        "vargrad": torch.full_like(x, 4 * 0.09),
    }
    for kind, value in expected.items():
        method = resolve(
            SmoothGrad,
            {
                "of": Saliency(abs=False),
                "n_samples": 20_000,
                "stdev": 0.3,
                "relative": False,
                "kind": kind,
            },
        )
        ours = explain(lambda t: (t**2).sum(1), method, question)
        torch.testing.assert_close(ours.values[0], value, rtol=0.03, atol=0.03)


def test_vargrad_does_not_cancel_in_float32_where_captums_does() -> None:
    x = torch.ones(1, 3)
    model = lambda t: (1e4 * t + 1e-3 * t**2).sum(1)
    method = SmoothGrad(Saliency(abs=False), 50, 1.0, relative=False, kind="vargrad")
    exact = explain(model, method, Explicand.of(x.double()))
    ours = explain(model, method, Explicand.of(x))
    assert exact.values[0].min() > 1e-6
    # What is left is the rounding of the gradient itself, 1e4 in float32, squared.
    assert (ours.values[0] >= 0).all()
    assert ours.values[0].max() < 1e-5  # B16: Captum gives values up to 16


def test_smooth_grad_wraps_any_method_and_noise_goes_to_the_embedding_of_token_ids() -> None:
    model, ids, mask = text_classifier(), torch.tensor([[1, 4, 7]]), torch.ones(1, 3)
    question = Explicand.of(
        ids,
        target=0,
        baselines=torch.zeros_like(ids),
        at=Site("embedding"),
        additional_forward_args=(mask,),
    )
    plain = explain(model, IntegratedGradients(20), question)
    for still in (SmoothGrad(IntegratedGradients(20), 3, 0.0), SmoothGrad(Saliency(), 3, 0.0)):
        answer = explain(model, still, question)
        inner = explain(model, still.of, question)
        close(answer.values[0], inner.values[0], 1e-12)
    noisy = explain(model, SmoothGrad(IntegratedGradients(20), 10, 0.2), question)
    assert not torch.equal(noisy.values[0], plain.values[0])
    assert noisy.values[0].shape == plain.values[0].shape


def test_half_precision_is_accumulated_in_float32() -> None:
    model = nn.Linear(4, 2).to(torch.bfloat16).eval()
    x = numbers(2, 4).to(torch.bfloat16)
    for method in (IntegratedGradients(20), GradientShap(8), SmoothGrad(n_samples=4)):
        ours = explain(model, method, Explicand.of(x, target=0))
        assert ours.values[0].isfinite().all()
        assert ours.values[0].dtype == torch.float32


@pytest.mark.parametrize("tolerance", [None, 0.1])
@pytest.mark.parametrize("method", [IntegratedGradients(8), GradientShap(8), ExpectedGradients(20)])
def test_attributions_beyond_half_precision_are_finite(
    method: Method, tolerance: float | None
) -> None:
    slopes = torch.tensor([600.0, -600.0, 1.0], dtype=torch.float16)
    x = torch.tensor([[200.0, 200.0, 1.0]], dtype=torch.float16)
    question = Explicand.of(x, baselines=0.0, tolerance=tolerance)
    (values,) = explain(lambda rows: (rows * slopes).sum(1), method, question).values
    close(values, torch.tensor([[120_000.0, -120_000.0, 1.0]]), 1e-4)


def test_quadratures_integrate_what_they_should_and_weigh_one() -> None:
    for rule in get_args(Rule):
        for n in (1, 2, 5, 50):
            nodes, weights = nodes_and_weights(rule, n)
            assert len(nodes) == len(weights) == n
            assert abs(weights.sum().item() - 1) < 1e-14
    for n in (2, 7, 50, 200):
        expected, theirs = np.polynomial.legendre.leggauss(n)
        nodes, weights = nodes_and_weights("gausslegendre", n)
        torch.testing.assert_close(nodes, torch.from_numpy(expected + 1) / 2, rtol=0, atol=1e-15)
        torch.testing.assert_close(weights, torch.from_numpy(theirs) / 2, rtol=1e-10, atol=1e-15)
    nodes, weights = nodes_and_weights("gausslegendre", 3)
    assert abs((weights * nodes**5).sum().item() - 1 / 6) < 1e-15


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"inputs": []}, "inputs"),
        ({"inputs": torch.zeros(0, 3)}, r"inputs\[0\]"),
        ({"inputs": [torch.zeros(2, 3), torch.zeros(3, 3)]}, r"inputs\[1\]"),
        ({"inputs": torch.zeros(2, 3), "target": [0, 1, 2]}, "target"),
        ({"inputs": torch.zeros(2, 3), "target": 0.5}, "target"),
        ({"inputs": torch.zeros(2, 3), "baselines": torch.zeros(1, 4)}, r"baselines\[0\]"),
        ({"inputs": torch.zeros(2, 3), "baselines": [0, 1]}, "baselines"),
        ({"inputs": torch.zeros(2, 3), "feature_mask": torch.zeros(1, 3)}, r"feature_mask\[0\]"),
        (
            {"inputs": torch.zeros(2, 3), "feature_mask": torch.zeros(1, 4, dtype=torch.int64)},
            r"feature_mask\[0\]",
        ),
        (
            {"inputs": torch.zeros(2, 3), "additional_forward_args": (torch.zeros(3),)},
            r"additional_forward_args\[0\]",
        ),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], field: str) -> None:
    inputs = arguments.pop("inputs")
    with pytest.raises(InvalidArgument, match=field):
        Explicand.of(inputs, **arguments)


def test_a_wrong_target_layer_or_neuron_is_named() -> None:
    model, x = mlp(), numbers(2, 8)
    for target in (3, -4, (0, 0)):
        with pytest.raises(InvalidArgument, match="target"):
            explain(model, Saliency(), Explicand.of(x, target=target))
    with pytest.raises(InvalidArgument, match="target is not given"):
        explain(model, Saliency(), Explicand.of(x))
    with pytest.raises(InvalidArgument, match="layer is 'nowhere'"):
        explain(model, Saliency(), Explicand.of(x, target=0, at=Site("nowhere")))
    with pytest.raises(InvalidArgument, match="target"):
        explain(model, Saliency(), Explicand.of(x, target=Neuron(Site("1"), (99,))))
    with pytest.raises(InvalidArgument, match="name the embedding layer"):
        explain(model, Saliency(), Explicand.of(x.long(), target=0))
    with pytest.raises(InvalidArgument, match=r"baselines\[0\]"):
        explain(model, IntegratedGradients(), Explicand.of(x, target=0, baselines=numbers(3, 8)))


def test_a_model_without_gradients_is_refused_and_so_is_one_in_training() -> None:
    x = numbers(2, 8)
    with pytest.raises(NotDifferentiable):
        explain(lambda t: t.detach(), Saliency(), Explicand.of(x, target=0))
    with pytest.raises(ModelError, match=r"model\.eval\(\)"):
        explain(cnn().train(), Saliency(), Explicand.of(numbers(2, 1, 8, 8), target=0))
    with pytest.raises(ModelError, match="first dimension"):
        explain(lambda t: t.sum(), Saliency(), Explicand.of(x, target=0))


@pytest.mark.parametrize(
    "module",
    [
        nn.LSTM(4, 4, 2, dropout=0.5, batch_first=True),
        nn.InstanceNorm1d(3, track_running_stats=True),
        nn.FeatureAlphaDropout(0.5),
    ],
    ids=lambda module: type(module).__name__,
)
def test_a_module_whose_answers_chance_or_a_batch_changes_is_refused(module: nn.Module) -> None:
    def question() -> Attribution:
        return explain(module, Saliency(), Explicand.of(numbers(2, 3, 4).float(), target=(0, 1)))

    with pytest.raises(ModelError, match=r"model\.eval\(\)"):
        question()
    module.eval()
    assert question().values[0].isfinite().all()


def test_explaining_works_under_no_grad_and_inference_mode() -> None:
    model, x = mlp(), numbers(2, 8)
    expected = explain(model, Saliency(), Explicand.of(x, target=0))
    with torch.no_grad():
        close(explain(model, Saliency(), Explicand.of(x, target=0)).values[0], expected.values[0])
    with torch.inference_mode():
        question = Explicand.of(x.clone(), target=0)
        close(explain(model, Saliency(), question).values[0], expected.values[0])


def test_the_input_site_is_the_input() -> None:
    assert str(INPUT) == "the input"
    assert str(Site("a.b", call=1)) == "the output of layer 'a.b', call 1"

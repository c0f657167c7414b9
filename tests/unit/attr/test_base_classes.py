"""The base classes of the facade, and how it understands arguments and gives answers."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from captum import attr as captum
from captum.testing.helpers import basic_models as basic
from torch import Tensor, nn

from adcaptum import attr
from adcaptum.attr.errors import InvalidInput, UnfitModel
from adcaptum.attr.facade.answer import explain
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forwards import callable_of
from adcaptum.attr.facade.sites import neuron_of
from adcaptum.engine.errors import EngineError, InvalidArgument, ModelError, OutOfRange
from adcaptum.engine.methods.paths.integrated_gradients import IntegratedGradients
from adcaptum.engine.vocabulary.arguments import PerExample, Shared
from adcaptum.engine.vocabulary.evaluation import EveryOutput, Output, Site
from tests.captum_oracle import assert_same, silently
from tests.models import mlp, numbers

X = numbers(3, 8)
LAYERED = basic.BasicModel_MultiLayer()
THREE = numbers(3, 3).float()


class LRP(attr.Attribution):
    """Named in capitals only."""


def test_a_class_is_named_in_words() -> None:
    assert LRP.get_name() == "L R P"
    assert attr.IntegratedGradients.get_name() == "Integrated Gradients"


def test_the_bases_have_captums_members() -> None:
    for name in ("Attribution", "GradientAttribution", "PerturbationAttribution"):
        here, there = getattr(attr, name)(LAYERED), getattr(captum, name)(LAYERED)
        assert here.multiplies_by_inputs == there.multiplies_by_inputs
        assert here.has_convergence_delta() == there.has_convergence_delta()
    for name in ("LayerAttribution", "NeuronAttribution"):
        here = getattr(attr, name)(LAYERED, LAYERED.relu, [0])
        assert (here.forward_func, here.layer, here.device_ids) == (LAYERED, LAYERED.relu, [0])


def test_a_future_is_not_promised_by_a_method_that_has_none() -> None:
    with pytest.raises(NotImplementedError, match="attribute_future is not implemented for LRP"):
        LRP(LAYERED).attribute_future()


@pytest.mark.parametrize(
    "target", [None, 1, [0, 1, 1], torch.tensor([1, 0, 0]), torch.tensor(1), (1,)], ids=str
)
@pytest.mark.parametrize("start", [None, 0.5, torch.ones(1, 3), THREE + 1], ids=lambda s: "start")
def test_the_convergence_delta_is_captums(target: Any, start: Any) -> None:
    attributions = numbers(3, 3, seed=2).float()
    mine = attr.GradientAttribution(LAYERED).compute_convergence_delta(
        attributions, start, THREE, target
    )
    theirs = silently(
        captum.GradientAttribution(LAYERED).compute_convergence_delta,
        attributions, start, THREE, target,
    )  # fmt: skip
    assert_same(mine, theirs)


def test_the_convergence_delta_sums_over_inputs_and_outputs_of_any_shape() -> None:
    model = basic.BasicModel_MultiLayer_MultiInput()
    inputs = (THREE, THREE + 1, THREE - 1)
    attributions = tuple(numbers(3, 3, seed=i).float() for i in range(3))
    call: Any = (attributions, (0, 0.1, torch.zeros(1, 3)), inputs, 1, (2,))
    mine = attr.GradientAttribution(model).compute_convergence_delta(*call)
    assert_same(mine, captum.GradientAttribution(model).compute_convergence_delta(*call))
    several: Any = (THREE, 0, THREE, (slice(0, 2), 1), (None, True))
    mine = attr.GradientAttribution(LAYERED).compute_convergence_delta(*several)
    assert_same(mine, captum.GradientAttribution(LAYERED).compute_convergence_delta(*several))


def test_the_convergence_delta_is_of_as_many_examples_as_attributions() -> None:
    with pytest.raises(AssertionError, match="attributions"):
        attr.GradientAttribution(LAYERED).compute_convergence_delta(THREE[:2], 0, THREE, 1)


def test_gradients_are_there_for_subclasses() -> None:
    method = attr.GradientAttribution(LAYERED)
    x = THREE.clone()
    (mine,) = method.gradient_func(LAYERED, (x,), 1, None)
    x.requires_grad_()
    (theirs,) = captum.GradientAttribution(LAYERED).gradient_func(LAYERED, (x,), 1, None)
    assert_same(mine, theirs)


def test_a_subclass_may_replace_the_gradients_and_a_method_of_the_library_says_it_does_not() -> (
    None
):
    class Own(attr.GradientAttribution):
        def attribute(self, inputs: Tensor) -> Tensor:
            (gradient,) = self.gradient_func(self.forward_func, inputs)
            return gradient

    own = Own(LAYERED)
    own.gradient_func = lambda _, inputs: (2 * inputs,)
    assert torch.equal(own.attribute(THREE), 2 * THREE)
    with pytest.raises(AttributeError, match="Saliency does not use gradient_func"):
        attr.Saliency(LAYERED).gradient_func = lambda _, inputs: (inputs,)


def test_a_method_of_one_layer_refuses_several() -> None:
    method = attr.LayerConductance(LAYERED, [LAYERED.relu, LAYERED.linear1])
    with pytest.raises(AssertionError, match="one module for Layer Conductance"):
        method.attribute(THREE, target=1)


def test_of_a_layer_that_is_called_again_a_site_says_which_call_is_meant() -> None:
    """Captum takes the last call, and does not say so."""
    model = basic.BasicModelWithReusedModules()
    with pytest.raises(AssertionError, match="called more than once"):
        attr.LayerActivation(model, model.relu).attribute(THREE)
    first, second = (
        attr.LayerActivation(model, Site(model.relu, call=call)).attribute(THREE) for call in (0, 1)
    )
    hidden = model.relu(model.lin1(THREE)).detach()
    assert_same(first, hidden)
    assert_same(second, model.relu(model.lin2(hidden)).detach())
    taken = attr.LayerConductance(model, Site(model.relu, call=1)).attribute(
        THREE, target=0, attribute_to_layer_input=True
    )
    assert isinstance(taken, Tensor)
    assert taken.shape == second.shape  # type: ignore[union-attr]


def test_a_function_without_parameters_is_called_without_arguments() -> None:
    rows = torch.ones(3)
    called = callable_of(lambda: rows)
    assert called(THREE, 1) is rows
    parallel = nn.DataParallel(LAYERED)
    assert callable_of(parallel) is callable_of(LAYERED) is LAYERED
    assert callable_of(torch.sin) is torch.sin


def test_further_arguments_are_per_example_where_their_first_dimension_is() -> None:
    """Item 22: Captum repeats every tensor, also one that is not of the examples."""
    question = CaptumCall.of(
        LAYERED,
        THREE,
        additional_forward_args=(torch.ones(3, 2), torch.ones(5), torch.tensor(1.0), "word", None),
    )
    kinds = [type(a) for a in question.explicand.arguments.values]
    assert kinds == [PerExample, Shared, Shared, Shared, Shared]


def test_a_shared_tensor_reaches_every_batch_whole() -> None:
    weights = numbers(8, seed=3)
    method = attr.IntegratedGradients(lambda x, w: (x * w).sum(1))
    found: Any = method.attribute(X, additional_forward_args=weights, internal_batch_size=4)
    torch.testing.assert_close(found, X * weights)


def test_a_target_that_leaves_several_numbers_is_every_output_for_those_that_take_it() -> None:
    question = CaptumCall.of(LAYERED, THREE, every_output=True)
    assert isinstance(question.explicand.target, EveryOutput)
    one = CaptumCall.of(LAYERED, THREE, target=1, every_output=True)
    assert isinstance(one.explicand.target, Output)
    part = CaptumCall.of(LAYERED, THREE, target=(slice(0, 1),), every_output=True)
    assert isinstance(part.explicand.target, EveryOutput)
    assert callable(part.model)
    selected: Any = part.model(THREE)
    assert_same(selected.detach(), LAYERED(THREE).detach()[:, :1])


def test_a_selection_that_does_not_fit_is_captums_error() -> None:
    model = mlp()
    with pytest.raises(AssertionError, match="target"):
        attr.Saliency(model).attribute(X, (0, slice(0, 1)))
    with pytest.raises(IndexError, match="target"):
        attr.Saliency(lambda x: model(x).unsqueeze(2)).attribute(X, (5, slice(0, 1)))


def test_a_selector_has_captums_forms() -> None:
    layer = nn.Linear(1, 1)
    assert neuron_of(layer, 3).index == (3,)
    assert neuron_of(layer, (slice(1, 2), 0)).index == (slice(1, 2), 0)
    with pytest.raises(AssertionError, match="neuron_selector"):
        neuron_of(layer, ("a",))  # type: ignore[arg-type]


def test_errors_are_of_captums_types_and_the_engines() -> None:
    assert issubclass(InvalidInput, AssertionError)
    assert issubclass(InvalidInput, InvalidArgument)
    assert issubclass(OutOfRange, IndexError)
    assert issubclass(OutOfRange, EngineError)
    assert issubclass(UnfitModel, AssertionError)
    assert issubclass(UnfitModel, ModelError)
    for error in (InvalidInput("a", 1, "b"), OutOfRange("a", 1, "b")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == str(error) == "a is 1: b"


def test_a_progress_bar_counts_rows(capsys: pytest.CaptureFixture[str]) -> None:
    question = CaptumCall.of(mlp(), X, target=1)
    explain(question, IntegratedGradients(n_steps=20), progress="Integrated Gradients")
    shown = capsys.readouterr().err
    assert "Integrated Gradients: 100%" in shown
    assert "60/60" in shown


def test_without_being_asked_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    attr.IntegratedGradients(mlp()).attribute(X, target=1)
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_a_tensor_that_is_an_input_and_an_argument_has_the_gradient_of_the_input() -> None:
    """Captum's gradient is that of both: it is the same tensor."""

    def product(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum(1)

    mine = attr.Saliency(product).attribute(X, additional_forward_args=X)
    torch.testing.assert_close(mine, X.abs())
    theirs = silently(captum.Saliency(product).attribute, X.clone(), additional_forward_args=X)
    torch.testing.assert_close(theirs, X.abs())
    shared = X.clone()
    theirs = silently(captum.Saliency(product).attribute, shared, additional_forward_args=shared)
    torch.testing.assert_close(theirs, 2 * X.abs())

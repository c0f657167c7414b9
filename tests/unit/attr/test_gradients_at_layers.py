"""Gradient methods at layers, over Captum's forms of arguments, against Captum."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from captum.testing.helpers import basic_models as basic
from torch import Tensor, nn

from adcaptum import attr
from tests.captum_oracle import assert_captums, assert_same, captums, ours, silently


@dataclass(frozen=True)
class Case:
    """A layer of a model and what to ask of it."""

    model: nn.Module
    layer: nn.Module
    inputs: Any
    baselines: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)
    of_input: bool = False

    @property
    def construct(self) -> tuple[nn.Module, nn.Module]:
        return self.model, self.layer


def seeded(make: Any, *args: Any, **kwargs: Any) -> nn.Module:
    """A small model with the same random weights in each run."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module: nn.Module = make(*args, **kwargs).eval()
        return module


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


THREE = rows(3, 3)
IMAGES = rows(3, 1, 10, 10, seed=1) * 5
LAYERED = basic.BasicModel_MultiLayer()
IN_PLACE = basic.BasicModel_MultiLayer(inplace=True)
SEVERAL = basic.BasicModel_MultiLayer(multi_input_module=True)
MULTI_INPUT = basic.BasicModel_MultiLayer_MultiInput()
CONVOLUTIONS = seeded(basic.BasicModel_ConvNet)

CASES = {
    "int target": Case(LAYERED, LAYERED.linear0, THREE, None, {"target": 0}),
    "list target": Case(LAYERED, LAYERED.linear1, THREE, 0.3, {"target": [1, 0, 1]}),
    "tuple target": Case(
        LAYERED,
        LAYERED.relu,
        THREE,
        torch.ones(1, 3),
        {"target": (1, 0, 1), "additional_forward_args": (None, True)},
    ),
    "what a layer takes": Case(
        LAYERED, LAYERED.linear2, THREE, rows(3, 3, seed=1), {"target": 1}, of_input=True
    ),
    "in-place activation": Case(IN_PLACE, IN_PLACE.linear1, THREE, None, {"target": 1}),
    "what an in-place activation takes": Case(
        IN_PLACE, IN_PLACE.relu, THREE, None, {"target": 1}, of_input=True
    ),
    "several tensors": Case(SEVERAL, SEVERAL.multi_relu, THREE, 0.1, {"target": 1}),
    "several tensors taken": Case(
        SEVERAL, SEVERAL.multi_relu, THREE, None, {"target": [0, 1, 1]}, of_input=True
    ),
    "several inputs": Case(
        MULTI_INPUT,
        MULTI_INPUT.model.linear1,
        (THREE, rows(3, 3, seed=1)),
        (0, torch.ones(1, 3)),
        {"target": 0, "additional_forward_args": (rows(3, 3, seed=2), 5)},
    ),
    "an image layer": Case(
        CONVOLUTIONS, CONVOLUTIONS.get_submodule("conv2"), IMAGES, 0.2, {"target": [1, 4, 9]}
    ),
    "a function around the model": Case(
        lambda x: LAYERED(x)[:, 0],  # type: ignore[arg-type]
        LAYERED.relu,
        THREE,
    ),
    "a data-parallel model": Case(
        nn.DataParallel(LAYERED), LAYERED.linear1, THREE, None, {"target": 1}
    ),
}
BATCHES = (None, 3, 7, 100)


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def test_layer_activation_is_captums(case: Case) -> None:
    arguments = {k: v for k, v in case.arguments.items() if k != "target"}
    assert_captums(
        "LayerActivation",
        case.construct,
        case.inputs,
        attribute_to_layer_input=case.of_input,
        **arguments,
    )


@pytest.mark.parametrize("multiply", [True, False])
def test_layer_gradient_x_activation_is_captums(case: Case, multiply: bool) -> None:
    assert_captums(
        "LayerGradientXActivation",
        (*case.construct, None, multiply, True),
        case.inputs,
        attribute_to_layer_input=case.of_input,
        **case.arguments,
    )


@pytest.mark.parametrize("summed", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_layer_grad_cam_is_captums(case: Case, relu: bool, summed: bool) -> None:
    assert_captums(
        "LayerGradCam",
        case.construct,
        case.inputs,
        attribute_to_layer_input=case.of_input,
        relu_attributions=relu,
        attr_dim_summation=summed,
        **case.arguments,
    )


@pytest.mark.parametrize("batch", [None, 6, 7, 100])  # Captum cuts no smaller than two steps
def test_layer_conductance_is_captums(case: Case, batch: int | None) -> None:
    assert_captums(
        "LayerConductance",
        case.construct,
        case.inputs,
        case.baselines,
        n_steps=9,
        internal_batch_size=batch,
        return_convergence_delta=True,
        attribute_to_layer_input=case.of_input,
        tolerance=2e-5,
        **case.arguments,
    )


@pytest.mark.parametrize("rule", ["riemann_left", "riemann_middle", "riemann_trapezoid"])
def test_the_rules_of_layer_conductance_are_captums(rule: str) -> None:
    construct = (LAYERED, LAYERED.linear1)
    assert_captums("LayerConductance", construct, THREE, 0.2, 1, n_steps=5, method=rule)


@pytest.mark.parametrize("batch", BATCHES)
def test_internal_influence_is_captums(case: Case, batch: int | None) -> None:
    assert_captums(
        "InternalInfluence",
        case.construct,
        case.inputs,
        case.baselines,
        n_steps=9,
        internal_batch_size=batch,
        attribute_to_layer_input=case.of_input,
        tolerance=2e-5,
        **case.arguments,
    )


# Of models that work in place Captum fails: it has them overwrite a leaf.
@pytest.mark.parametrize("name", [name for name, c in CASES.items() if c.model is not IN_PLACE])
@pytest.mark.parametrize("multiply", [True, False])
@pytest.mark.parametrize("batch", BATCHES)
def test_layer_integrated_gradients_are_captums(
    name: str, batch: int | None, multiply: bool
) -> None:
    case = CASES[name]
    assert_captums(
        "LayerIntegratedGradients",
        (*case.construct, None, multiply),
        case.inputs,
        case.baselines,
        n_steps=9,
        internal_batch_size=batch,
        return_convergence_delta=True,
        attribute_to_layer_input=case.of_input,
        tolerance=2e-5,
        **case.arguments,
    )


class Beside(nn.Module):
    """Two inputs, each with a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.left = seeded(nn.Linear, 3, 4)
        self.right = seeded(nn.Linear, 5, 4)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.tanh(self.left(left) * self.right(right)).sum(1)


def test_what_goes_around_a_layer_is_in_its_delta() -> None:
    model = Beside()
    baselines = (torch.full((3, 3), 0.2), torch.full((3, 5), 0.3))
    arguments: Any = {"baselines": baselines, "return_convergence_delta": True}
    inputs = (rows(3, 3), rows(3, 5, seed=1))
    construct = (model, model.left)
    values, delta = ours("LayerIntegratedGradients", construct, inputs, **arguments)
    assert_same(
        (values, delta), captums("LayerIntegratedGradients", construct, inputs, **arguments)
    )
    assert delta.abs().min() > 0.01
    own = attr.LayerIntegratedGradients(*construct)
    assert_same(delta, own.compute_convergence_delta(values, baselines, inputs))


class Doubled(nn.Module):
    """A layer with two tensors, one made of the other."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        made = x + 1
        return made, made * 2


class Summed(nn.Module):
    """A model that needs both."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = Doubled()

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.layer(x)
        return (one + other).sum(1)


def test_a_tensor_of_a_layer_has_not_the_share_of_another_made_of_it() -> None:
    model, x = Summed(), rows(2, 3)
    values = ours("LayerGradientXActivation", (model, model.layer), x)
    assert_same(values, (x + 1, 2 * x + 2))
    theirs = captums("LayerGradientXActivation", (model, model.layer), x.requires_grad_())
    torch.testing.assert_close(theirs[0], 3 * values[0])  # the other's counts twice


@pytest.mark.parametrize("of_input", [False, True])
def test_layer_integrated_gradients_do_not_mind_what_works_in_place(of_input: bool) -> None:
    answers = [
        ours(
            "LayerIntegratedGradients",
            (model, model.relu if of_input else model.linear1),
            THREE,
            target=1,
            attribute_to_layer_input=of_input,
        )
        for model in (IN_PLACE, LAYERED)
    ]
    assert_same(*answers)


@pytest.mark.parametrize("multiply", [True, False])
def test_layer_gradient_shap_is_captums_where_nothing_is_left_to_chance(multiply: bool) -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)))
    assert_captums(
        "LayerGradientShap",
        (model, model[0], None, multiply),  # type: ignore[index]
        THREE,
        lambda: torch.ones(1, 3),
        n_samples=4,
        target=[0, 1, 1],
        return_convergence_delta=True,
    )


def test_layer_gradient_shap_has_captums_mean() -> None:
    """Both estimate the same expectation: each is near it by its own standard error."""
    model = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))
    construct, baselines = (model, model[1]), rows(5, 3, seed=4)  # type: ignore[index]
    torch.manual_seed(0)
    arguments = {"n_samples": 3000, "stdevs": 0.2, "target": 1}
    mine = ours("LayerGradientShap", construct, THREE, baselines, **arguments)
    theirs = captums("LayerGradientShap", construct, THREE, baselines, **arguments)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0.02)


def test_a_list_of_layers_gives_a_list() -> None:
    layers = [LAYERED.linear0, LAYERED.relu]
    assert_captums("LayerActivation", (LAYERED, layers), THREE)
    assert_captums("LayerGradientXActivation", (LAYERED, layers), THREE, 1)
    mixed = [SEVERAL.linear1, SEVERAL.multi_relu]
    assert_captums("LayerActivation", (SEVERAL, mixed), THREE)
    assert_captums("LayerGradientXActivation", (SEVERAL, mixed), THREE, 1)
    assert_captums("LayerIntegratedGradients", (LAYERED, [LAYERED.relu]), THREE, None, 1)


def embeddings() -> nn.Module:
    return seeded(basic.BasicEmbeddingModel, embedding_dim=5, nested_second_embedding=True)


IDS = (torch.tensor([[1, 4, 6], [2, 2, 0]]), torch.tensor([[3, 3, 1], [5, 9, 7]]))


def test_token_ids_are_explained_at_their_embedding() -> None:
    model = embeddings()
    assert_captums(
        "LayerIntegratedGradients",
        (model, model.embedding1),
        IDS[0],
        torch.zeros_like(IDS[0]),
        additional_forward_args=(IDS[1],),
        n_steps=20,
        return_convergence_delta=True,
        tolerance=1e-3,
    )


def test_several_embeddings_are_explained_together() -> None:
    model = embeddings().double()
    layers = [model.embedding1, model.embedding2.inner_embedding]  # type: ignore[union-attr]
    assert_captums(
        "LayerIntegratedGradients",
        (model, layers),
        IDS,
        tuple(torch.zeros_like(t[:1]) for t in IDS),
        n_steps=20,
        return_convergence_delta=True,
        internal_batch_size=4,
    )


@pytest.mark.parametrize("batch", [None, 1])
def test_of_layers_explained_together_each_has_its_own_tensors(batch: int | None) -> None:
    model = basic.BasicModel_MultiLayer_TrueMultiInput()
    model.m1 = basic.BasicModel_MultiLayer(multi_input_module=True)
    layers = [model.m1.multi_relu, model.m234.model.linear1]
    inputs = (THREE, rows(3, 3, seed=1), rows(3, 3, seed=2))
    arguments = {"target": 1, "n_steps": 9, "return_convergence_delta": True}
    expected, delta = captums("LayerIntegratedGradients", (model, layers), inputs, **arguments)
    for order in (layers, layers[::-1]):
        mine = ours(
            "LayerIntegratedGradients",
            (model, order),
            inputs,
            internal_batch_size=batch,
            **arguments,
        )
        there = expected if order is layers else expected[::-1]
        assert_same(mine[0], there)
        torch.testing.assert_close(mine[1], delta, rtol=1e-4, atol=1e-4)


def test_several_layers_are_warned_of_once() -> None:
    with pytest.warns(UserWarning, match="Multiple layers provided"):
        attr.LayerIntegratedGradients(LAYERED, [LAYERED.linear0, LAYERED.relu])


def test_what_is_not_used_for_the_output_has_a_gradient_of_zero() -> None:
    construct = (SEVERAL, SEVERAL.relu)
    grad_kwargs = {"allow_unused": True, "materialize_grads": True}
    expected = captums("LayerGradientXActivation", construct, THREE, 1, grad_kwargs=grad_kwargs)
    assert_same(ours("LayerGradientXActivation", construct, THREE, 1), expected)


def test_options_of_autograd_that_would_change_the_answer_are_refused() -> None:
    for name in ("LayerGradientXActivation", "LayerGradCam", "LayerConductance"):
        method = getattr(attr, name)(LAYERED, LAYERED.relu)
        with pytest.raises(TypeError, match="create_graph"):
            method.attribute(THREE, target=1, grad_kwargs={"create_graph": True})


def test_maps_are_resized_as_captum_does() -> None:
    tensor = rows(1, 2, 3, 3)
    from captum.attr import LayerAttribution

    expected = silently(LayerAttribution.interpolate, tensor, (5, 7), "bilinear")
    assert_same(attr.LayerAttribution.interpolate(tensor, (5, 7), "bilinear"), expected)


class Recurrent(nn.Module):
    """Its output depends on the states as well as on the last output."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, 4, num_layers=2, batch_first=batch_first)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        steps = x if self.rnn.batch_first else x.transpose(0, 1)
        output, (hidden, _) = self.rnn(steps)
        last = output[:, -1] if self.rnn.batch_first else output[-1]
        return self.head(torch.cat([last, hidden[0]], 1))


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_recurrent_layer_is_explained_where_captum_fails(batch_first: bool) -> None:
    model = seeded(Recurrent, batch_first=batch_first).double()
    assert isinstance(model, Recurrent)
    x = rows(3, 5, 3).double()
    with pytest.raises(AttributeError):
        captums("LayerIntegratedGradients", (model, model.rnn), x, target=1)
    method = attr.LayerIntegratedGradients(model, model.rnn)
    answer: Any = method.attribute(
        x, target=1, return_convergence_delta=True, internal_batch_size=4
    )
    values, delta = answer
    assert [tuple(v.shape) for v in values] == [(3, 5, 4), (3, 2, 4), (3, 2, 4)]
    assert delta.abs().max() < 1e-12

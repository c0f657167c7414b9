"""Layers and their baselines, neurons, background sets, pairs: what else a request may say."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from adcaptum.engine import Explicand, InvalidArgument, Neuron, Site, explain as run
from adcaptum.engine.methods import METHODS
from adcaptum.engine.rows.randomness import generator
from adcaptum.engine.vocabulary.method import needs_layer
from adcaptum.engine.vocabulary.parameters import resolve
from adcaptum.service.models import loading
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.repository import stored_models as repositories
from adcaptum.service.requests.baseline_reader import STREAM
from adcaptum.service.wire.abilities import Abilities
from adcaptum.v1 import (
    explanation_pb2,
    explanation_service_pb2 as pb,
    method_pb2,
    model_pb2,
)
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.service.asking import array, cells, digits, explain, index, method, tensor

X = cells(3)
HIDDEN = explanation_pb2.Layer(name="hidden")
GROUPS = np.arange(30)[None] // 6
START = np.random.default_rng(1).uniform(0, 1, (1, 128)).astype(np.float32)
# What asks for the same, only less of it.
QUICK: Mapping[str, Mapping[str, int]] = {
    "expected_gradients": {"n_samples": 20},
    "gradient_shap": {"n_samples": 5},
    "lime": {"n_samples": 100},
    "rise": {"n_samples": 20},
    "shapley_value_sampling": {"n_samples": 3},
    "owen_sampling": {"n_samples": 3},
}


@pytest.fixture(scope="session")
def model(repository: Path) -> LoadedModel:
    stored = repositories.open_model(repository / "cells")
    return loading.load(stored, stored.versions["1"], torch.device("cpu"))


def asked(model: LoadedModel, name: str, explicand: Explicand, **params: object) -> NDArray[Any]:
    """What the engine says."""
    made = resolve(METHODS[name], {**QUICK.get(name, {}), **params})
    return run(model.module, made, explicand).values[0].numpy()


def question(model: LoadedModel, **fields: Any) -> Explicand:
    """All rows, compared with the mean."""
    x = torch.from_numpy(X)
    mean = model.baselines["measurements"]["mean"]
    assert isinstance(mean, Tensor)
    made = Explicand((x,), Explicand.of(x, target=1).target, (mean,), seed=3)
    return replace(made, **fields)


def told(reply: pb.ExplainResponse) -> NDArray[Any]:
    return np.stack([array(each.attributions[0].values) for each in reply.explanations])


def assert_close(one: NDArray[Any], other: NDArray[Any]) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-4 * np.abs(other).max())


def spec(name: str, **params: float | bool | str) -> method_pb2.MethodSpec:
    return method(name, **{**QUICK.get(name, {}), **params})


# The method that smooth_grad wraps by default compares nothing.
AT_LAYERS = [
    name for name, each in METHODS.items() if Abilities.of(each).starts and name != "smooth_grad"
]


@pytest.mark.parametrize("name", AT_LAYERS)
def test_a_layer_is_compared_with_a_baseline_of_its_own(
    name: str, stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    start = explanation_pb2.Baseline(tensor=tensor(START))
    mask = np.arange(128)[None] // 20
    masked = METHODS[name].traits.feature_masks
    request = explain(X, spec(name), layer=HIDDEN, layer_baselines=[start], target=index(1), seed=3)
    if masked:
        request.feature_masks.append(tensor(mask))
    explicand = question(
        model,
        at=Site("relu_1"),
        starts=(torch.from_numpy(START),),
        feature_mask=(torch.from_numpy(mask),) if masked else None,
    )
    try:
        expected = asked(model, name, explicand)
    except InvalidArgument as error:
        # A difference's way to the layer begins at the inputs.
        with pytest.raises(grpc.RpcError, match=f"{error.field}: .* {error.allowed}"):
            stub.Explain(request)
        return
    got = told(stub.Explain(request))
    assert_close(got, expected)
    del request.layer_baselines[:]
    assert not np.allclose(got, told(stub.Explain(request)), atol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.25])
def test_a_number_is_a_baseline_of_a_layer(
    constant: float, stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    start = explanation_pb2.Baseline(constant=constant)
    if not constant:
        start = explanation_pb2.Baseline(zero=explanation_pb2.Zero())
    request = explain(
        X, method("feature_ablation"), layer=HIDDEN, layer_baselines=[start], target=index(1)
    )
    explicand = question(model, at=Site("relu_1"), starts=(torch.full((1, 128), constant),))
    assert_close(told(stub.Explain(request)), asked(model, "feature_ablation", explicand))


def background(model: LoadedModel, count: int, seed: int) -> Tensor:
    rows = model.backgrounds["measurements"]
    source = generator(seed, STREAM, 0, torch.device("cpu"))
    return rows[torch.randperm(len(rows), generator=source)[:count]]


# Three samples for three examples are a distribution too.
@pytest.mark.parametrize("count", [3, 8])
@pytest.mark.parametrize("name", ["feature_ablation", "shapley_values", "gradient_shap"])
def test_rows_of_the_background_set_are_baselines_of_every_example(
    name: str, count: int, stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    samples = explanation_pb2.Baseline(samples=explanation_pb2.Samples(count=count))
    request = explain(X, spec(name), baselines=[samples], target=index(1), seed=3)
    explicand = question(model, baselines=(background(model, count, 3),), background=True)
    if METHODS[name].traits.feature_masks:
        request.feature_masks.append(tensor(GROUPS))
        explicand = replace(explicand, feature_mask=(torch.from_numpy(GROUPS),))
    assert_close(told(stub.Explain(request)), asked(model, name, explicand))


@pytest.mark.parametrize(("rows", "distribution"), [(1, False), (3, False), (5, True)])
def test_a_tensor_of_other_rows_than_examples_is_a_distribution(
    rows: int, distribution: bool, stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    given = cells(rows, seed=4)
    baseline = explanation_pb2.Baseline(tensor=tensor(given))
    request = explain(X, method("feature_ablation"), baselines=[baseline], target=index(1))
    explicand = question(model, baselines=(torch.from_numpy(given),), background=distribution)
    assert_close(told(stub.Explain(request)), asked(model, "feature_ablation", explicand))


def test_what_wraps_a_method_takes_the_background_that_it_takes(
    stub: ExplanationServiceStub,
) -> None:
    smooth = method("smooth_grad", n_samples=2)
    smooth.params["of"].method.CopyFrom(spec("gradient_shap"))
    samples = explanation_pb2.Baseline(samples=explanation_pb2.Samples(count=4))
    assert stub.Explain(explain(X, smooth, baselines=[samples])).explanations


def test_one_row_of_the_background_set_is_a_baseline_for_every_method(
    stub: ExplanationServiceStub,
) -> None:
    samples = explanation_pb2.Baseline(samples=explanation_pb2.Samples(count=1))
    assert stub.Explain(explain(X, method("occlusion"), baselines=[samples])).explanations


def test_a_layers_baselines_may_be_a_distribution(
    stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    rows = np.random.default_rng(2).uniform(0, 1, (5, 128)).astype(np.float32)
    start = explanation_pb2.Baseline(tensor=tensor(rows))
    request = explain(
        X, method("feature_ablation"), layer=HIDDEN, layer_baselines=[start], target=index(1)
    )
    explicand = question(
        model, at=Site("relu_1"), starts=(torch.from_numpy(rows),), background=True
    )
    assert_close(told(stub.Explain(request)), asked(model, "feature_ablation", explicand))


def test_a_block_of_neurons_is_explained_by_its_sum(
    stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    neuron = explanation_pb2.Neuron(layer=HIDDEN, index=[5], end=[9])
    request = explain(X, method("input_x_gradient"), neuron=neuron)
    explicand = question(model, target=Neuron(Site("relu_1"), (slice(5, 9),)))
    assert_close(told(stub.Explain(request)), asked(model, "input_x_gradient", explicand))


def test_a_neuron_and_a_target_are_an_output_by_way_of_the_neuron(
    stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    neuron = explanation_pb2.Neuron(layer=HIDDEN, index=[5])
    one = stub.Explain(explain(X, method("neuron_conductance"), neuron=neuron, target=index(1)))
    explicand = question(model, at=Site("relu_1"))
    assert_close(told(one), asked(model, "neuron_conductance", explicand, neuron=(5,)))
    assert [list(each.target) for each in one.explanations] == [[1], [1], [1]]
    assert one.explanations[0].attributions[0].values.name == "measurements"
    # The report says what to ask for the same: the neuron is a parameter, and the layer the layer.
    (report,) = one.reports
    assert list(report.method.params["neuron"].integers.values) == [5]
    again = stub.Explain(explain(X, report.method, layer=HIDDEN, target=index(1)))
    assert_close(told(again), told(one))


def test_pairs_of_features_are_a_matrix_with_their_names(
    stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    request = explain(
        X, method("shapley_interactions"), feature_masks=[tensor(GROUPS)], target=index(1)
    )
    explicand = question(model, feature_mask=(torch.from_numpy(GROUPS),))
    reply = stub.Explain(request)
    assert_close(told(reply), asked(model, "shapley_interactions", explicand))
    (attribution,) = reply.explanations[0].attributions
    assert attribution.pairs
    assert list(attribution.values.shape) == [5, 5]
    assert list(attribution.features) == ["0", "1", "2", "3", "4"]


def test_the_heaviest_pairs_are_kept_on_request(stub: ExplanationServiceStub) -> None:
    options = explanation_pb2.OutputOptions(top_features=3)
    request = explain(
        X, method("shapley_interactions"), feature_masks=[tensor(GROUPS)], output=options
    )
    (attribution, *_) = stub.Explain(request).explanations[0].attributions
    assert list(attribution.shape) == [5, 5]
    assert array(attribution.indices).max() < 25


def test_a_class_activation_map_has_one_number_for_each_place(
    stub: ExplanationServiceStub,
) -> None:
    layer = explanation_pb2.Layer(name="features")
    request = explain(digits(), method("grad_cam"), model="digits", layer=layer)
    (one,) = stub.Explain(request).explanations
    (attribution,) = one.attributions
    assert (attribution.values.name, list(attribution.values.shape)) == ("block_2", [1, 4, 4])


def test_examples_may_have_groups_of_their_own(
    stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    masks = np.random.default_rng(0).integers(0, 4, (3, 30))
    request = explain(X, method("feature_ablation"), feature_masks=[tensor(masks)], target=index(1))
    explicand = question(model, feature_mask=(torch.from_numpy(masks),))
    assert_close(told(stub.Explain(request)), asked(model, "feature_ablation", explicand))


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("feature_ablation", "features"),
        ("occlusion", "features"),
        ("kernel_shap", "classify"),
        ("shapley_values", "classify"),
        ("integrated_gradients", "classify"),
        ("neuron_conductance", "features"),
    ],
)
def test_the_rows_at_a_layer_are_foretold_by_its_size(
    name: str, layer: str, stub: ExplanationServiceStub
) -> None:
    place = explanation_pb2.Layer(name=layer)
    request = explain(digits(2), method(name), model="digits", layer=place, target=index(1))
    first, *_, last = stub.ExplainStream(pb.ExplainStreamRequest(explain=request))
    assert first.accepted.rows == last.final.reports[0].rows_used


def test_layers_are_listed_with_their_shapes(stub: ExplanationServiceStub) -> None:
    request = pb.GetModelRequest(model=model_pb2.ModelRef(name="digits"))
    layers = {each.name: list(each.shape) for each in stub.GetModel(request).model.layers}
    assert layers["block_2"] == [48, 4, 4]
    assert layers["classify"] == [10]


def test_methods_say_what_they_take(stub: ExplanationServiceStub) -> None:
    request = pb.ListMethodsRequest(model=model_pb2.ModelRef(name="cells"))
    listed = {each.name: each for each in stub.ListMethods(request).methods}
    assert listed.keys() == METHODS.keys()
    for name, each in METHODS.items():
        assert listed[name].layers == (each.traits.layer != "never")
        assert listed[name].layer_required == needs_layer(each.traits.layer)
        assert listed[name].background == each.traits.background
        assert listed[name].available

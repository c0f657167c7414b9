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
from adcaptum.service.requests.questions.baseline_reader import STREAM
from adcaptum.service.wire.abilities import Abilities
from adcaptum.v1 import (
    explain_spec_pb2 as spec_pb2,
    explanation_service_pb2 as pb,
    method_pb2,
    model_pb2,
)
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.service.asking import (
    Plain,
    array,
    attributions,
    background,
    cells,
    digits,
    explain,
    explanations,
    index,
    mask,
    method,
    neuron,
    of_neuron,
    streaming,
    tensor,
)

X = cells(3)
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


LAYER_REQUIRED = {"LAYER_REQUIRED", "INPUTS_WITH_LAYER"}


def hidden(*baselines: spec_pb2.Baseline) -> spec_pb2.Site:
    return spec_pb2.Site(layer="hidden", baselines=baselines)


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


def assert_close(one: NDArray[Any], other: NDArray[Any]) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-4 * np.abs(other).max())


def spec(name: str, **params: Plain) -> method_pb2.MethodSpec:
    return method(name, **{**QUICK.get(name, {}), **params})


# The method that smooth_grad wraps by default compares nothing.
AT_LAYERS = [
    name for name, each in METHODS.items() if Abilities.of(each).starts and name != "smooth_grad"
]


@pytest.mark.parametrize("name", AT_LAYERS)
def test_a_layer_is_compared_with_a_baseline_of_its_own(
    name: str, stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    site = hidden(spec_pb2.Baseline(tensor=tensor(START)))
    groups = np.arange(128)[None] // 20
    masked = METHODS[name].traits.feature_masks
    if masked:
        site.feature_masks.append(mask(groups))
    request = explain(X, spec(name), site=site, target=index(1), seed=3)
    explicand = question(
        model,
        at=Site("relu_1"),
        starts=(torch.from_numpy(START),),
        feature_mask=(torch.from_numpy(groups),) if masked else None,
    )
    try:
        expected = asked(model, name, explicand)
    except InvalidArgument as error:
        # A difference's way to the layer begins at the inputs.
        with pytest.raises(grpc.RpcError, match=rf"spec\.site\.baselines: .* {error.allowed}"):
            stub.Explain(request)
        return
    got = attributions(stub.Explain(request))
    assert_close(got, expected)
    del request.spec.site.baselines[:]
    assert not np.allclose(got, attributions(stub.Explain(request)), atol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.25])
def test_a_number_is_a_baseline_of_a_layer(
    constant: float, stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    site = hidden(spec_pb2.Baseline(constant=constant))
    request = explain(X, method("feature_ablation"), site=site, target=index(1))
    explicand = question(model, at=Site("relu_1"), starts=(torch.full((1, 128), constant),))
    assert_close(attributions(stub.Explain(request)), asked(model, "feature_ablation", explicand))


def drawn(model: LoadedModel, count: int, seed: int) -> Tensor:
    rows = model.backgrounds["measurements"]
    source = generator(seed, STREAM, 0)
    return rows[torch.randperm(len(rows), generator=source)[:count]]


# Three samples for three examples are a distribution too.
@pytest.mark.parametrize("count", [3, 8])
@pytest.mark.parametrize("name", ["feature_ablation", "shapley_values", "gradient_shap"])
def test_rows_of_the_background_set_are_baselines_of_every_example(
    name: str, count: int, stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    rows = background(count)
    request = explain(X, spec(name), baselines=[rows], target=index(1), seed=3)
    explicand = question(model, baselines=(drawn(model, count, 3),), background=True)
    if METHODS[name].traits.feature_masks:
        request.spec.feature_masks.append(mask(GROUPS))
        explicand = replace(explicand, feature_mask=(torch.from_numpy(GROUPS),))
    assert_close(attributions(stub.Explain(request)), asked(model, name, explicand))


@pytest.mark.parametrize(
    ("rows", "kind"),
    [(1, "tensor"), (3, "tensor"), (1, "distribution"), (3, "distribution"), (5, "distribution")],
)
def test_the_number_of_rows_decides_nothing_about_a_baseline(
    rows: int, kind: str, stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    given = cells(rows, seed=4)
    baseline = spec_pb2.Baseline(**{kind: tensor(given)})  # type: ignore[arg-type]
    request = explain(X, method("feature_ablation"), baselines=[baseline], target=index(1))
    explicand = question(
        model, baselines=(torch.from_numpy(given),), background=kind == "distribution"
    )
    assert_close(attributions(stub.Explain(request)), asked(model, "feature_ablation", explicand))


def test_what_wraps_a_method_takes_the_background_that_it_takes(
    stub: ExplanationServiceStub,
) -> None:
    shap: Plain = {"name": "gradient_shap", "params": QUICK["gradient_shap"]}
    smooth = method("smooth_grad", n_samples=2, of=shap)
    assert explanations(stub.Explain(explain(X, smooth, baselines=[background(4)])))


def test_one_row_of_the_background_set_is_a_distribution_too(
    stub: ExplanationServiceStub,
) -> None:
    with pytest.raises(grpc.RpcError, match="a distribution of 1 row; occlusion compares"):
        stub.Explain(explain(X, method("occlusion"), baselines=[background(1)]))
    request = explain(X, spec("gradient_shap"), baselines=[background(1)])
    assert explanations(stub.Explain(request))


def test_a_layers_baselines_may_be_a_distribution(
    stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    rows = np.random.default_rng(2).uniform(0, 1, (5, 128)).astype(np.float32)
    site = hidden(spec_pb2.Baseline(distribution=tensor(rows)))
    request = explain(X, method("feature_ablation"), site=site, target=index(1))
    explicand = question(
        model, at=Site("relu_1"), starts=(torch.from_numpy(rows),), background=True
    )
    assert_close(attributions(stub.Explain(request)), asked(model, "feature_ablation", explicand))


def test_a_block_of_neurons_is_explained_by_its_sum(
    stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    request = explain(X, method("input_x_gradient"), target=of_neuron("hidden", 5, end=[9]))
    explicand = question(model, target=Neuron(Site("relu_1"), (slice(5, 9),)))
    assert_close(attributions(stub.Explain(request)), asked(model, "input_x_gradient", explicand))


def test_an_output_is_explained_through_a_neuron(
    stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    through = neuron("hidden", 5)
    one = stub.Explain(explain(X, method("neuron_conductance"), through=through, target=index(1)))
    explicand = question(model, at=Site("relu_1"))
    assert_close(attributions(one), asked(model, "neuron_conductance", explicand, neuron=(5,)))
    assert [list(each.index) for each in explanations(one)] == [[1], [1], [1]]
    assert explanations(one)[0].attributions[0].name == "measurements"
    # The neuron is a part of the question, and no parameter of the method.
    (result,) = one.results
    assert "neuron" not in result.method.params
    again = stub.Explain(explain(X, result.method, through=through, target=index(1)))
    assert_close(attributions(again), attributions(one))


def test_pairs_of_features_are_a_matrix_with_their_names(
    stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    request = explain(
        X, method("shapley_interactions"), feature_masks=[mask(GROUPS)], target=index(1)
    )
    explicand = question(model, feature_mask=(torch.from_numpy(GROUPS),))
    reply = explanations(stub.Explain(request))
    got = np.stack([array(each.interactions.values) for each in reply])
    assert_close(got, asked(model, "shapley_interactions", explicand))
    assert got.shape == (3, 5, 5)
    assert list(reply[0].interactions.features) == ["0", "1", "2", "3", "4"]
    assert not reply[0].attributions


def test_pairs_of_named_features_have_their_names(stub: ExplanationServiceStub) -> None:
    names = ["radius", "texture", "size", "form", "rest"]
    request = explain(X, method("shapley_interactions"), feature_masks=[mask(GROUPS, names=names)])
    (one, *_) = explanations(stub.Explain(request))
    assert list(one.interactions.features) == names


def test_the_heaviest_pairs_are_kept_on_request(stub: ExplanationServiceStub) -> None:
    options = spec_pb2.OutputOptions(max_features=3)
    request = explain(
        X, method("shapley_interactions"), feature_masks=[mask(GROUPS)], output=options
    )
    whole = explain(X, method("shapley_interactions"), feature_masks=[mask(GROUPS)])
    cut, full = (explanations(stub.Explain(each)) for each in (request, whole))
    for one, other in zip(cut, full, strict=True):
        kept = [int(name) for name in one.interactions.features]
        assert len(kept) == 3
        matrix = array(other.interactions.values)
        np.testing.assert_allclose(
            array(one.interactions.values), matrix[np.ix_(kept, kept)], rtol=1e-4, atol=1e-6
        )


def test_a_class_activation_map_has_one_number_for_each_place(
    stub: ExplanationServiceStub,
) -> None:
    site = spec_pb2.Site(layer="features")
    request = explain(digits(), method("grad_cam"), model="digits", site=site)
    (one,) = explanations(stub.Explain(request))
    (attribution,) = one.attributions
    assert (attribution.name, list(attribution.values.shape)) == ("block_2", [1, 4, 4])


def test_examples_may_have_groups_of_their_own(
    stub: ExplanationServiceStub, model: LoadedModel
) -> None:
    masks = np.random.default_rng(0).integers(0, 4, (3, 30))
    request = explain(X, method("feature_ablation"), feature_masks=[mask(masks)], target=index(1))
    explicand = question(model, feature_mask=(torch.from_numpy(masks),))
    assert_close(attributions(stub.Explain(request)), asked(model, "feature_ablation", explicand))


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
    request = explain(digits(2), method(name), model="digits", target=index(1))
    if Abilities.of(METHODS[name]).through:
        request.spec.through.CopyFrom(neuron(layer, 0, 0, 0))
    else:
        request.spec.site.layer = layer
    first, *_, last = stub.ExplainStream(streaming(request))
    assert first.accepted.expected_rows == last.result.results[0].rows_used


def test_layers_are_listed_with_their_shapes(stub: ExplanationServiceStub) -> None:
    request = pb.GetModelRequest(model=model_pb2.ModelRef(name="digits"))
    (version,) = stub.GetModel(request).model.versions
    layers = {each.name: list(each.shape) for each in version.layers}
    assert layers["block_2"] == [48, 4, 4]
    assert layers["classify"] == [10]


def test_methods_say_what_they_take(stub: ExplanationServiceStub) -> None:
    request = pb.ListMethodsRequest(model=model_pb2.ModelRef(name="cells"))
    listed = {each.name: each for each in stub.ListMethods(request).methods}
    assert listed.keys() == METHODS.keys()
    for name, each in METHODS.items():
        use = method_pb2.SiteUse.Name(listed[name].site_use).removeprefix("SITE_USE_")
        # A neuron to go through names its layer itself.
        of_layer = needs_layer(each.traits.layer) and not listed[name].accepts_neuron
        takes_none = each.traits.layer == "never" or listed[name].accepts_neuron
        assert (use == "NO_LAYER") == takes_none
        assert (use in LAYER_REQUIRED) == of_layer
        assert listed[name].accepts_distribution == each.traits.background
        assert listed[name].availability.available

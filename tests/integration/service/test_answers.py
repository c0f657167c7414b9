"""What the server answers is what the engine says."""

from pathlib import Path

import numpy as np
import pytest
import torch

from adcaptum.engine.methods import METHODS
from adcaptum.service.models import loading
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.repository import stored_models as repositories
from adcaptum.v1 import explain_spec_pb2 as spec_pb2, explanation_service_pb2 as pb, model_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.service.asking import (
    BYPASS,
    array,
    background,
    cells,
    digits,
    explain,
    explanations,
    index,
    mask,
    method,
    of_neuron,
    predict,
    tensor,
    value,
)


@pytest.fixture(scope="session")
def cells_model(repository: Path) -> LoadedModel:
    stored = repositories.open_model(repository / "cells")
    return loading.load(stored, stored.versions["1"], torch.device("cpu"))


def test_predict_returns_the_outputs_of_the_model(
    stub: ExplanationServiceStub, cells_model: LoadedModel
) -> None:
    x = cells(3)
    reply = stub.Predict(predict(x))
    with torch.no_grad():
        expected = cells_model.module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(array(reply.outputs[0]), expected, rtol=1e-5)


def test_predict_ranks_the_labels(stub: ExplanationServiceStub) -> None:
    reply = stub.Predict(predict(cells(1)))
    (prediction,) = reply.predictions
    scores = [label.score for label in prediction.labels]
    assert scores == sorted(scores, reverse=True)
    assert {label.label for label in prediction.labels} == {"malignant", "benign"}
    assert sum(label.probability for label in prediction.labels) == pytest.approx(1)


def test_a_reply_says_which_weights_answered(stub: ExplanationServiceStub) -> None:
    reply = stub.Predict(predict(cells(1)))
    assert (reply.model.name, reply.model.version) == ("cells", "1")
    assert len(reply.model.digest) == 32


def test_explanations_come_by_method_then_example_then_target(stub: ExplanationServiceStub) -> None:
    request = explain(
        digits(2),
        method("saliency"),
        method("input_x_gradient"),
        model="digits",
        target=spec_pb2.Target(top_k=2),
    )
    order = [
        (result.method.name, each.example, each.target)
        for result in stub.Explain(request).results
        for each in result.explanations
    ]
    methods = ("saliency", "input_x_gradient")
    assert order == [(name, row, rank) for name in methods for row in (0, 1) for rank in (0, 1)]


def test_argmax_is_the_default_target(stub: ExplanationServiceStub) -> None:
    x = digits(3)
    outputs = array(stub.Predict(predict(x, "digits")).outputs[0])
    reply = stub.Explain(explain(x, method("saliency"), model="digits"))
    assert [each.index[0] for each in explanations(reply)] == outputs.argmax(1).tolist()


def test_each_example_may_have_a_target_of_its_own(stub: ExplanationServiceStub) -> None:
    x = digits(3)
    reply = stub.Explain(explain(x, method("saliency"), model="digits", target=index(3, 1, 4)))
    assert [each.index[0] for each in explanations(reply)] == [3, 1, 4]


def test_a_label_names_a_target(stub: ExplanationServiceStub) -> None:
    target = spec_pb2.Target(label="benign")
    (one,) = explanations(stub.Explain(explain(cells(), method("saliency"), target=target)))
    assert (one.label, list(one.index), one.target) == ("benign", [1], 0)


def test_all_targets_are_explained(stub: ExplanationServiceStub) -> None:
    target = spec_pb2.Target(all=spec_pb2.AllOutputs())
    reply = stub.Explain(explain(digits(), method("saliency"), model="digits", target=target))
    assert [each.index[0] for each in explanations(reply)] == list(range(10))


def test_integrated_gradients_says_how_complete_it_is(stub: ExplanationServiceStub) -> None:
    (one,) = explanations(stub.Explain(explain(cells(), method("integrated_gradients"))))
    total = float(array(one.attributions[0].values).astype("float64").sum())
    residual = abs(total - (one.output - one.baseline_output))
    assert one.error.completeness == pytest.approx(residual, abs=1e-2)
    assert not one.error.HasField("standard_error")
    assert not one.error.HasField("relative")


def test_a_result_holds_every_parameter(stub: ExplanationServiceStub) -> None:
    (result,) = stub.Explain(explain(cells(), method("integrated_gradients"))).results
    assert result.method.params["n_steps"].number_value == 50
    assert {"n_steps", "method", "multiply_by_inputs"} <= set(result.method.params)


def test_the_default_preset_has_the_models_method(stub: ExplanationServiceStub) -> None:
    (result,) = stub.Explain(explain(cells())).results
    assert result.method.name == "integrated_gradients"


def test_the_same_seed_gives_the_same_answer(stub: ExplanationServiceStub) -> None:
    request = explain(cells(), method("smooth_grad"), seed=3)
    one, two = (explanations(stub.Explain(request))[0].attributions[0].values for _ in range(2))
    np.testing.assert_allclose(array(one), array(two), rtol=1e-5)


def test_a_layer_is_explained_by_its_alias(stub: ExplanationServiceStub) -> None:
    site = spec_pb2.Site(layer="hidden")
    (one,) = explanations(stub.Explain(explain(cells(), site=site)))
    assert list(one.attributions[0].values.shape) == [128]
    assert one.attributions[0].name == "relu_1"


def test_a_neuron_is_explained(stub: ExplanationServiceStub) -> None:
    (one,) = explanations(stub.Explain(explain(cells(), target=of_neuron("hidden", 5))))
    assert list(one.attributions[0].values.shape) == [30]
    assert list(one.index) == []


def test_channels_are_summed_on_request(stub: ExplanationServiceStub) -> None:
    options = spec_pb2.OutputOptions(channel_reduction=spec_pb2.CHANNEL_REDUCTION_SUM)
    (one,) = explanations(stub.Explain(explain(digits(), model="digits", output=options)))
    assert list(one.attributions[0].values.shape) == [8, 8]


def test_only_the_top_features_are_kept_on_request(stub: ExplanationServiceStub) -> None:
    whole = explanations(stub.Explain(explain(cells())))[0].attributions[0]
    options = spec_pb2.OutputOptions(max_features=4)
    top = explanations(stub.Explain(explain(cells(), output=options)))[0].attributions[0]
    order = np.argsort(-np.abs(array(whole.values)))[:4]
    assert list(top.indices) == order.tolist()
    assert list(top.shape) == [30]


@pytest.mark.parametrize("datatype", ["FP64", "FP16"])
def test_attributions_have_the_datatype_asked_for(
    datatype: str, stub: ExplanationServiceStub
) -> None:
    options = spec_pb2.OutputOptions(datatype=datatype)
    (one,) = explanations(stub.Explain(explain(cells(), output=options)))
    assert one.attributions[0].values.datatype == datatype


@pytest.mark.parametrize(
    "baseline",
    [
        spec_pb2.Baseline(constant=0),
        spec_pb2.Baseline(constant=2.5),
        spec_pb2.Baseline(named="benign_mean"),
        spec_pb2.Baseline(tensor=tensor(cells(1, seed=9))),
    ],
    ids=lambda baseline: str(baseline.WhichOneof("kind")),
)
def test_the_baseline_is_what_the_input_is_compared_with(
    baseline: spec_pb2.Baseline, stub: ExplanationServiceStub
) -> None:
    default = explanations(stub.Explain(explain(cells())))[0]
    other = explanations(stub.Explain(explain(cells(), baselines=[baseline])))[0]
    assert other.baseline_output != default.baseline_output


def test_samples_of_the_background_are_a_baseline(stub: ExplanationServiceStub) -> None:
    request = explain(cells(), method("gradient_shap"), baselines=[background(10)])
    assert len(explanations(stub.Explain(request))) == 1


def test_images_are_compared_with_themselves_out_of_focus(stub: ExplanationServiceStub) -> None:
    blur = spec_pb2.Baseline(blur=spec_pb2.Blur(sigma=2))
    (one,) = explanations(stub.Explain(explain(digits(), model="digits", baselines=[blur])))
    assert one.output != one.baseline_output


def test_a_feature_mask_makes_groups(stub: ExplanationServiceStub) -> None:
    groups = mask((np.arange(30, dtype=np.int64) // 10)[None])
    request = explain(cells(), method("feature_ablation"), feature_masks=[groups])
    (one,) = explanations(stub.Explain(request))
    assert len(set(array(one.attributions[0].values).tolist())) == 3


def test_methods_wrap_methods(stub: ExplanationServiceStub) -> None:
    spec = method("smooth_grad", n_samples=4, of={"name": "input_x_gradient"})
    (result,) = stub.Explain(explain(cells(), spec)).results
    assert result.method.params["of"].struct_value["name"] == "input_x_gradient"


def test_pixels_of_another_size_are_resized(stub: ExplanationServiceStub) -> None:
    options = spec_pb2.OutputOptions(return_inputs=True)
    pixels = np.full((1, 8, 8, 1), 255, np.uint8)
    reply = stub.Explain(explain(pixels, method("saliency"), model="digits", output=options))
    np.testing.assert_array_equal(array(reply.inputs[0]), np.ones((1, 1, 8, 8), np.float32))


def test_the_models_are_listed(stub: ExplanationServiceStub) -> None:
    models = stub.ListModels(pb.ListModelsRequest()).models
    assert [model.name for model in models] == ["cells", "digits"]
    states = {version.state for model in models for version in model.versions}
    assert states == {model_pb2.MODEL_STATE_READY}
    assert not any(version.layers for model in models for version in model.versions)


def test_a_model_says_what_was_found_out_about_it(stub: ExplanationServiceStub) -> None:
    model = stub.GetModel(pb.GetModelRequest(model=model_pb2.ModelRef(name="digits"))).model
    (version,) = model.versions
    assert (model.default_version, version.identity.version) == ("1", "1")
    assert version.checks.independent
    assert version.checks.differentiable
    assert version.accuracy > 0.9
    assert "stem.convolution" in {layer.name for layer in version.layers}
    placement = version.placements[0]
    assert (placement.device, placement.state) == ("cpu", model_pb2.MODEL_STATE_READY)
    assert set(placement.variant.split(", ")) <= {"as loaded", "folded", "channels last"}
    assert version.load_time.seconds > 0


def test_an_alias_names_a_version(stub: ExplanationServiceStub) -> None:
    request = predict(cells())
    request.model.alias = "stable"
    assert stub.Predict(request).model.version == "1"


def test_every_method_of_the_engine_is_listed(stub: ExplanationServiceStub) -> None:
    methods = stub.ListMethods(pb.ListMethodsRequest()).methods
    assert [each.name for each in methods] == sorted(METHODS)
    ig = next(each for each in methods if each.name == "integrated_gradients")
    assert (ig.title, ig.needs_gradients, ig.uses_baseline) == ("IntegratedGradients", True, True)
    steps = next(each for each in ig.parameters if each.name == "n_steps")
    assert (steps.default_value, steps.minimum) == (value(50), 1)


def test_the_request_id_comes_back(stub: ExplanationServiceStub) -> None:
    reply, call = stub.Predict.with_call(predict(cells()), metadata=(("x-request-id", "mine"),))
    assert reply.request_id == "mine"
    assert ("x-request-id", "mine") in [*call.initial_metadata(), *call.trailing_metadata()]


def test_timings_add_up(stub: ExplanationServiceStub) -> None:
    request = explain(cells(), cache=BYPASS)
    timings = stub.Explain(request).timings
    assert timings.batches >= 1
    assert 0 < timings.compute_seconds <= timings.total_seconds

"""What the server answers is what the engine says."""

from pathlib import Path

import numpy as np
import pytest
import torch

from adcaptum.engine.methods import METHODS
from adcaptum.service.models import loading
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.repository import stored_models as repositories
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb, model_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.service.asking import (
    array,
    cells,
    digits,
    explain,
    index,
    method,
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
        target=explanation_pb2.Target(top_k=2),
    )
    order = [(each.method, each.example) for each in stub.Explain(request).explanations]
    methods = ("saliency", "input_x_gradient")
    assert order == [(name, row) for name in methods for row in (0, 1) for _ in range(2)]


def test_argmax_is_the_default_target(stub: ExplanationServiceStub) -> None:
    x = digits(3)
    outputs = array(stub.Predict(predict(x, "digits")).outputs[0])
    reply = stub.Explain(explain(x, method("saliency"), model="digits"))
    assert [each.target[0] for each in reply.explanations] == outputs.argmax(1).tolist()


def test_each_example_may_have_a_target_of_its_own(stub: ExplanationServiceStub) -> None:
    x = digits(3)
    reply = stub.Explain(explain(x, method("saliency"), model="digits", target=index(3, 1, 4)))
    assert [each.target[0] for each in reply.explanations] == [3, 1, 4]


def test_a_label_names_a_target(stub: ExplanationServiceStub) -> None:
    target = explanation_pb2.Target(label="benign")
    (one,) = stub.Explain(explain(cells(), method("saliency"), target=target)).explanations
    assert (one.label, list(one.target)) == ("benign", [1])


def test_all_targets_are_explained(stub: ExplanationServiceStub) -> None:
    target = explanation_pb2.Target(all=explanation_pb2.AllTargets())
    reply = stub.Explain(explain(digits(), method("saliency"), model="digits", target=target))
    assert [each.target[0] for each in reply.explanations] == list(range(10))


def test_integrated_gradients_says_how_complete_it_is(stub: ExplanationServiceStub) -> None:
    (one,) = stub.Explain(explain(cells(), method("integrated_gradients"))).explanations
    total = float(array(one.attributions[0].values).astype("float64").sum())
    residual = abs(total - (one.output - one.baseline_output))
    assert one.error.kind == explanation_pb2.ERROR_KIND_COMPLETENESS
    assert one.error.value == pytest.approx(residual, abs=1e-2)


def test_the_report_holds_every_parameter(stub: ExplanationServiceStub) -> None:
    (report,) = stub.Explain(explain(cells(), method("integrated_gradients"))).reports
    assert report.method.params["n_steps"].integer == 50
    assert {"n_steps", "method", "multiply_by_inputs"} <= set(report.method.params)


def test_the_default_method_is_the_models(stub: ExplanationServiceStub) -> None:
    (report,) = stub.Explain(explain(cells())).reports
    assert report.method.name == "integrated_gradients"


def test_the_same_seed_gives_the_same_answer(stub: ExplanationServiceStub) -> None:
    request = explain(cells(), method("smooth_grad"), seed=3)
    one, two = (stub.Explain(request).explanations[0].attributions[0].values for _ in range(2))
    np.testing.assert_allclose(array(one), array(two), rtol=1e-5)


def test_a_layer_is_explained_by_its_alias(stub: ExplanationServiceStub) -> None:
    layer = explanation_pb2.Layer(name="hidden")
    (one,) = stub.Explain(explain(cells(), layer=layer)).explanations
    assert list(one.attributions[0].values.shape) == [128]
    assert one.attributions[0].values.name == "relu_1"


def test_a_neuron_is_explained(stub: ExplanationServiceStub) -> None:
    neuron = explanation_pb2.Neuron(layer=explanation_pb2.Layer(name="hidden"), index=[5])
    (one,) = stub.Explain(explain(cells(), neuron=neuron)).explanations
    assert list(one.attributions[0].values.shape) == [30]
    assert list(one.target) == []


def test_channels_are_summed_on_request(stub: ExplanationServiceStub) -> None:
    options = explanation_pb2.OutputOptions(sum_channels=True)
    (one,) = stub.Explain(explain(digits(), model="digits", output=options)).explanations
    assert list(one.attributions[0].values.shape) == [8, 8]


def test_only_the_top_features_are_kept_on_request(stub: ExplanationServiceStub) -> None:
    whole = stub.Explain(explain(cells())).explanations[0].attributions[0]
    options = explanation_pb2.OutputOptions(top_features=4)
    top = stub.Explain(explain(cells(), output=options)).explanations[0].attributions[0]
    order = np.argsort(-np.abs(array(whole.values)))[:4]
    assert array(top.indices).tolist() == order.tolist()
    assert list(top.shape) == [30]


@pytest.mark.parametrize("datatype", ["FP64", "FP16"])
def test_attributions_have_the_datatype_asked_for(
    datatype: str, stub: ExplanationServiceStub
) -> None:
    options = explanation_pb2.OutputOptions(datatype=datatype)
    (one,) = stub.Explain(explain(cells(), output=options)).explanations
    assert one.attributions[0].values.datatype == datatype


@pytest.mark.parametrize(
    "baseline",
    [
        explanation_pb2.Baseline(zero=explanation_pb2.Zero()),
        explanation_pb2.Baseline(constant=2.5),
        explanation_pb2.Baseline(named="benign_mean"),
        explanation_pb2.Baseline(tensor=tensor(cells(1, seed=9))),
    ],
    ids=lambda baseline: str(baseline.WhichOneof("kind")),
)
def test_the_baseline_is_what_the_input_is_compared_with(
    baseline: explanation_pb2.Baseline, stub: ExplanationServiceStub
) -> None:
    default = stub.Explain(explain(cells())).explanations[0]
    other = stub.Explain(explain(cells(), baselines=[baseline])).explanations[0]
    assert other.baseline_output != default.baseline_output


def test_samples_of_the_background_are_a_baseline(stub: ExplanationServiceStub) -> None:
    samples = explanation_pb2.Baseline(samples=explanation_pb2.Samples(count=10))
    request = explain(cells(), method("gradient_shap"), baselines=[samples])
    assert len(stub.Explain(request).explanations) == 1


def test_images_are_compared_with_themselves_out_of_focus(stub: ExplanationServiceStub) -> None:
    blur = explanation_pb2.Baseline(blur=explanation_pb2.Blur(sigma=2))
    (one,) = stub.Explain(explain(digits(), model="digits", baselines=[blur])).explanations
    assert one.output != one.baseline_output


def test_a_feature_mask_makes_groups(stub: ExplanationServiceStub) -> None:
    mask = tensor((np.arange(30, dtype=np.int64) // 10)[None])
    request = explain(cells(), method("feature_ablation"), feature_masks=[mask])
    (one,) = stub.Explain(request).explanations
    assert len(set(array(one.attributions[0].values).tolist())) == 3


def test_methods_wrap_methods(stub: ExplanationServiceStub) -> None:
    spec = method("smooth_grad", n_samples=4)
    spec.params["of"].method.CopyFrom(method("input_x_gradient"))
    (report,) = stub.Explain(explain(cells(), spec)).reports
    assert report.method.params["of"].method.name == "input_x_gradient"


def test_pixels_of_another_size_are_resized(stub: ExplanationServiceStub) -> None:
    options = explanation_pb2.OutputOptions(return_inputs=True)
    pixels = np.full((1, 8, 8, 1), 255, np.uint8)
    reply = stub.Explain(explain(pixels, method("saliency"), model="digits", output=options))
    np.testing.assert_array_equal(array(reply.inputs[0]), np.ones((1, 1, 8, 8), np.float32))


def test_the_models_are_listed(stub: ExplanationServiceStub) -> None:
    models = stub.ListModels(pb.ListModelsRequest()).models
    assert [model.identity.name for model in models] == ["cells", "digits"]
    assert {model.state for model in models} == {model_pb2.MODEL_STATE_READY}


def test_a_model_says_what_was_found_out_about_it(stub: ExplanationServiceStub) -> None:
    model = stub.GetModel(pb.GetModelRequest(model=model_pb2.ModelRef(name="digits"))).model
    assert model.checks.independent
    assert model.checks.differentiable
    assert model.checks.accuracy > 0.9
    assert "stem.convolution" in {layer.name for layer in model.layers}
    assert model.layout.name in model.layout.rows_per_second
    assert {"as loaded", "folded"} <= set(model.layout.rows_per_second)
    assert 0 < model.layout.own_output_rounding < 1e-5


def test_an_alias_names_a_version(stub: ExplanationServiceStub) -> None:
    request = predict(cells())
    request.model.alias = "stable"
    assert stub.Predict(request).model.version == "1"


def test_every_method_of_the_engine_is_listed(stub: ExplanationServiceStub) -> None:
    methods = stub.ListMethods(pb.ListMethodsRequest()).methods
    assert [each.name for each in methods] == sorted(METHODS)
    ig = next(each for each in methods if each.name == "integrated_gradients")
    assert (ig.title, ig.gradient, ig.baseline) == ("IntegratedGradients", True, True)
    steps = next(each for each in ig.parameters if each.name == "n_steps")
    assert (steps.default_value, steps.minimum) == (value(50), 1)


def test_the_request_id_comes_back(stub: ExplanationServiceStub) -> None:
    reply, call = stub.Predict.with_call(predict(cells()), metadata=(("x-request-id", "mine"),))
    assert reply.request_id == "mine"
    assert ("x-request-id", "mine") in [*call.initial_metadata(), *call.trailing_metadata()]


def test_timings_add_up(stub: ExplanationServiceStub) -> None:
    request = explain(cells())
    request.cache = explanation_pb2.CACHE_BYPASS
    timings = stub.Explain(request).timings
    assert timings.batches >= 1
    assert 0 < timings.compute_seconds <= timings.total_seconds

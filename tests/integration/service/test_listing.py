"""Lists come by the page; models, versions and the server describe themselves."""

from importlib import metadata
from typing import Any

import grpc
import pytest

from adcaptum.engine.methods import METHODS
from adcaptum.v1 import explanation_service_pb2 as pb, model_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.service.asking import details, reason


def test_the_server_describes_itself(stub: ExplanationServiceStub) -> None:
    reply = stub.GetServer(pb.GetServerRequest())
    assert reply.version == metadata.version("adcaptum")
    assert list(reply.extensions) == ["model_lifecycle"]


def test_models_come_by_the_page(stub: ExplanationServiceStub) -> None:
    names: list[str] = []
    token = ""
    for _ in range(2):
        page = stub.ListModels(pb.ListModelsRequest(page_size=1, page_token=token))
        (model,) = page.models
        names.append(model.name)
        token = page.next_page_token
    assert (names, token) == (["cells", "digits"], "")


def test_methods_come_by_the_page(stub: ExplanationServiceStub) -> None:
    cells = model_pb2.ModelRef(name="cells")
    names: list[str] = []
    token = ""
    while token or not names:
        page = stub.ListMethods(pb.ListMethodsRequest(model=cells, page_size=7, page_token=token))
        assert len(page.methods) <= 7
        assert all(each.HasField("availability") for each in page.methods)
        names += [each.name for each in page.methods]
        token = page.next_page_token
    assert names == sorted(METHODS)


def test_a_page_of_any_size_is_allowed(stub: ExplanationServiceStub) -> None:
    page = stub.ListMethods(pb.ListMethodsRequest(page_size=2**31 - 1))
    assert len(page.methods) == len(METHODS)
    assert not page.next_page_token
    assert not any(each.HasField("availability") for each in page.methods)


@pytest.mark.parametrize("rpc", ["ListModels", "ListMethods"])
@pytest.mark.parametrize(
    ("field", "value"),
    [("page_size", -1), ("page_token", "!"), ("page_token", "x" * 5000), ("page_token", "☃")],
)
def test_pages_that_nobody_gave_out_are_refused(
    rpc: str, field: str, value: object, stub: ExplanationServiceStub
) -> None:
    fields: Any = {field: value}
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stub, rpc)(getattr(pb, f"{rpc}Request")(**fields))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(caught.value) == "FIELD_INVALID"
    assert details(caught.value)["BadRequest"].field_violations[0].field == field
    assert len(str(caught.value.details())) < 1000


def test_views_have_layers_or_not(stub: ExplanationServiceStub) -> None:
    def layers(reply: Any) -> list[int]:
        models = getattr(reply, "models", None) or [reply.model]
        return [len(version.layers) for model in models for version in model.versions]

    one = model_pb2.ModelRef(name="digits")
    basic, full = pb.MODEL_VIEW_BASIC, pb.MODEL_VIEW_FULL
    assert layers(stub.ListModels(pb.ListModelsRequest())) == [0, 0]
    assert all(layers(stub.ListModels(pb.ListModelsRequest(view=full))))
    assert layers(stub.GetModel(pb.GetModelRequest(model=one, view=basic))) == [0]
    assert all(layers(stub.GetModel(pb.GetModelRequest(model=one))))
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetModel(pb.GetModelRequest(model=one, view=77))  # type: ignore[arg-type]
    assert reason(caught.value) == "FIELD_INVALID"


@pytest.mark.parametrize("selector", ["", "version", "alias"])
def test_a_model_has_its_versions(selector: str, stub: ExplanationServiceStub) -> None:
    reference = model_pb2.ModelRef(name="cells")
    if selector:
        setattr(reference, selector, {"version": "1", "alias": "stable"}[selector])
    model = stub.GetModel(pb.GetModelRequest(model=reference)).model
    (version,) = model.versions
    assert dict(model.aliases) == {"stable": "1"}
    assert version.identity.name == model.name == "cells"
    assert len(version.identity.digest) == 32
    assert version.limits.max_rows > 0
    assert version.limits.max_examples > 0


def test_columns_have_units_and_what_the_background_set_says(
    stub: ExplanationServiceStub,
) -> None:
    request = pb.GetModelRequest(model=model_pb2.ModelRef(name="cells"))
    (version,) = stub.GetModel(request).model.versions
    (measurements,) = version.inputs
    assert measurements.kind == model_pb2.INPUT_KIND_TABULAR
    assert measurements.accepted_datatypes[0] == measurements.datatype == "FP32"
    assert measurements.background_rows == 100
    assert measurements.default_baseline in measurements.baselines
    radius = measurements.features[0]
    assert (radius.name, radius.unit) == ("mean radius", "length")
    assert radius.minimum < radius.mean < radius.maximum
    assert 0 < radius.standard_deviation < radius.maximum - radius.minimum
    assert version.outputs[0].kind == model_pb2.OUTPUT_KIND_LOGITS


def test_parameters_describe_themselves_as_json(stub: ExplanationServiceStub) -> None:
    listed = {each.name: each for each in stub.ListMethods(pb.ListMethodsRequest()).methods}
    for each in listed.values():
        assert each.description.endswith(".")
        assert each.site_use != 0
    steps = {each.name: each for each in listed["integrated_gradients"].parameters}["n_steps"]
    assert (steps.default_value.number_value, steps.minimum) == (50, 1)
    wrapped = {each.name: each for each in listed["smooth_grad"].parameters}["of"]
    assert wrapped.default_value.struct_value["name"] in METHODS

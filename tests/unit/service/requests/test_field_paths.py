"""Errors of the engine name fields of the request."""

from typing import Any

import numpy as np
import pytest

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.execution.driver import run
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.requests import field_paths
from adcaptum.v1 import explain_spec_pb2
from tests.unit.service import asking
from tests.unit.service.asking import index, method, tensor
from tests.unit.service.tiny_model import layered

ROWS = np.array([[1.0, -0.5, 2.0], [0.25, 1.5, -1.0]], np.float32)
NARROW = tensor(np.zeros((1, 4), np.float32))
Site = explain_spec_pb2.Site


def neuron(layer: str, *position: int) -> explain_spec_pb2.Neuron:
    return explain_spec_pb2.Neuron(layer=layer, index=position)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        (
            {"site": Site(layer="hidden", baselines=[explain_spec_pb2.Baseline(tensor=NARROW)])},
            "spec.site.baselines[0]",
        ),
        (
            {"site": Site(layer="hidden", baselines=[explain_spec_pb2.Baseline(constant=1)] * 2)},
            "spec.site.baselines",
        ),
        (
            {
                "methods": [method("feature_ablation")],
                "site": Site(
                    layer="hidden",
                    feature_masks=[
                        explain_spec_pb2.FeatureMask(tensor=tensor(np.zeros((1, 4), np.int64)))
                    ],
                ),
            },
            "spec.site.feature_masks[0]",
        ),
        (
            {
                "targets": [
                    explain_spec_pb2.Target(top_k=1),
                    explain_spec_pb2.Target(neuron=neuron("hidden", 5)),
                ]
            },
            "spec.targets[1].neuron.index",
        ),
        (
            {"methods": [method("neuron_conductance")], "through": neuron("hidden", 5)},
            "spec.through.index",
        ),
    ],
    ids=["a layer's baseline", "baselines of a layer", "a layer's mask", "a target", "a way"],
)
def test_what_only_the_model_can_tell_is_told_with_its_place(
    fields: dict[str, Any], path: str
) -> None:
    model = layered()
    asked: dict[str, Any] = {
        "methods": [method("saliency"), method("integrated_gradients")],
        "targets": [index(1)],
    }
    if "site" in fields and "methods" not in fields:
        asked["methods"] = [method("integrated_gradients")]
    parsed = asking.read(asking.explain(ROWS, **(asked | fields)), model)
    outputs = model.loaded.module(parsed.inputs.tensors[0])
    errors = []
    for piece in parsed.pieces(outputs):
        method_ = parsed.methods[piece.method].method
        try:
            run(model.loaded.module, method_.flow(piece.explicand))
        except InvalidArgument as error:
            named = field_paths.invalid_request(error, parsed.question, piece.method, piece.target)
            errors.append(named)
    assert {error.violations[0].field for error in errors} == {path}


def test_what_a_method_does_not_take_is_told_when_the_request_is_read() -> None:
    asked = asking.explain(
        ROWS,
        methods=[
            method("feature_permutation"),
            method("occlusion", sliding_window_shapes=[2, 2, 2]),
        ],
        targets=[index(1)],
    )
    with pytest.raises(InvalidRequest) as caught:
        asking.read(asked, layered())
    assert caught.value.violations[0].field == "spec.methods[1].params.sliding_window_shapes"

"""Presets over the wire: named questions of a model, and fields that a request sets instead."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import safetensors.torch
import torch

from adcaptum.engine.methods import METHODS
from adcaptum.v1 import (
    explain_spec_pb2 as spec_pb2,
    explanation_pb2,
    explanation_service_pb2 as pb,
    method_pb2,
    model_pb2,
)
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Start
from tests.integration.service.asking import (
    array,
    cells,
    digits,
    explain,
    explanations,
    index,
    method,
    reason,
)

CODE = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(30, 8), nn.Tanh(), nn.Linear(8, 3))
"""

DECLARATION = """
factory = "net:Net"
[[inputs]]
name = "x"
shape = [-1, 30]
[[outputs]]
name = "y"
shape = [-1, 3]
kind = "logits"
[defaults]
methods = [{ name = "input_x_gradient" }]
[presets.pair]
description = "Two methods, two classes, three features."
methods = [
    { name = "saliency", params = { abs = false } },
    { name = "integrated_gradients", params = { n_steps = 7 } },
]
targets = [{ index = { values = [2] } }, { index = { values = [0] } }]
baselines = [{ constant = 0.5 }]
output = { max_features = 3, return_outputs = true }
seed = 5
"""


@pytest.fixture(scope="module")
def stub(
    start_server: Start, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ExplanationServiceStub]:
    """A server of one model with a preset of its own."""
    folder = tmp_path_factory.mktemp("presets")
    version = folder / "mine" / "1"
    version.mkdir(parents=True)
    (version.parent / "code").mkdir()
    (version.parent / "code" / "net.py").write_text(CODE)
    (version.parent / "model.toml").write_text(DECLARATION)
    torch.manual_seed(0)
    state = torch.nn.Sequential(torch.nn.Linear(30, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    safetensors.torch.save_file(state.state_dict(), version / "weights.safetensors")
    with grpc.insecure_channel(start_server(folder).address) as channel:
        yield ExplanationServiceStub(channel)


def asked(rows: int, **fields: Any) -> pb.ExplainRequest:
    return explain(cells(2, rows) / 20, model="mine", **fields)


def preset(stub: ExplanationServiceStub, name: str, model: str = "mine") -> spec_pb2.Preset:
    request = pb.GetModelRequest(model=model_pb2.ModelRef(name=model))
    (version,) = stub.GetModel(request).model.versions
    return next(each for each in version.presets if each.name == name)


def names(reply: pb.ExplainResponse) -> list[str]:
    return [each.method.name for each in reply.results]


def test_a_model_lists_its_presets_with_their_questions(stub: ExplanationServiceStub) -> None:
    (model,) = stub.ListModels(pb.ListModelsRequest()).models
    (version,) = model.versions
    assert {"default", "pair"} <= {each.name for each in version.presets}
    assert version.default_preset == "default"
    pair = preset(stub, "pair")
    assert pair.description == "Two methods, two classes, three features."
    assert [each.name for each in pair.spec.methods] == ["saliency", "integrated_gradients"]
    assert pair.spec.methods[1].params["n_steps"].number_value == 7
    assert pair.spec.baselines[0].constant == 0.5


def test_a_preset_asks_its_whole_question(stub: ExplanationServiceStub) -> None:
    reply = stub.Explain(asked(1, preset="pair"))
    assert names(reply) == ["saliency", "integrated_gradients"]
    assert [each.method.params["n_steps"].number_value for each in reply.results][1] == 7
    assert [each.index[0] for each in explanations(reply)] == [2, 0, 2, 0] * 2
    assert {len(each.attributions[0].indices) for each in explanations(reply)} == {3}
    assert len(reply.outputs) == 1
    assert reply.seed == 5


def test_a_request_without_a_preset_asks_the_default_one(stub: ExplanationServiceStub) -> None:
    assert names(stub.Explain(asked(2))) == ["input_x_gradient"]
    assert names(stub.Explain(asked(2, preset="default"))) == ["input_x_gradient"]
    assert stub.Explain(asked(2)).cache == explanation_pb2.CACHE_STATUS_HIT


def test_a_preset_and_its_question_written_out_are_equal_requests(
    stub: ExplanationServiceStub,
) -> None:
    named = stub.Explain(asked(3, preset="pair"))
    request = asked(3)
    request.spec.CopyFrom(preset(stub, "pair").spec)
    written = stub.Explain(request)
    assert written.cache == explanation_pb2.CACHE_STATUS_HIT
    assert written.results == named.results


def test_a_field_of_the_request_stands_for_the_presets_whole_field(
    stub: ExplanationServiceStub,
) -> None:
    options = spec_pb2.OutputOptions(max_features=2)
    reply = stub.Explain(asked(4, preset="pair", output=options, targets=[index(1)]))
    # The other options of the preset's are gone with it, its other fields are there.
    assert not reply.outputs
    assert {len(each.attributions[0].indices) for each in explanations(reply)} == {2}
    assert [each.index[0] for each in explanations(reply)] == [1, 1, 1, 1]
    assert names(reply) == ["saliency", "integrated_gradients"]
    assert reply.seed == 5
    one = stub.Explain(asked(4, preset="pair", methods=[method("saliency")]))
    assert names(one) == ["saliency"]
    # Its parameters, too: abs is what the method has by default.
    assert (array(explanations(one)[0].attributions[0].values) >= 0).all()
    assert stub.Explain(asked(4, preset="pair", seed=0)).seed == 0


def test_a_preset_that_does_not_exist_is_told_with_the_nearest(
    stub: ExplanationServiceStub,
) -> None:
    with pytest.raises(grpc.RpcError, match="'pair'") as caught:
        stub.Explain(asked(5, preset="pairs"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(caught.value) == "PRESET_UNKNOWN"


def test_a_model_without_defaults_has_a_default_preset(start_server: Start, tmp_path: Path) -> None:
    version = tmp_path / "bare" / "1"
    version.mkdir(parents=True)
    (version.parent / "code").mkdir()
    (version.parent / "code" / "net.py").write_text(CODE)
    (version.parent / "model.toml").write_text(DECLARATION.partition("[defaults]")[0])
    state = torch.nn.Sequential(torch.nn.Linear(30, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    safetensors.torch.save_file(state.state_dict(), version / "weights.safetensors")
    with grpc.insecure_channel(start_server(tmp_path).address) as channel:
        bare = ExplanationServiceStub(channel)
        (only,) = preset(bare, "default", "bare").spec.methods
        reply = bare.Explain(explain(cells(), model="bare"))
    assert names(reply) == [only.name]


BUNDLED = {"cells": cells(2), "digits": digits(2)}


@pytest.mark.parametrize("model", BUNDLED)
def test_the_bundled_models_have_a_quick_and_an_exact_preset(
    model: str, channel: grpc.Channel
) -> None:
    shared = ExplanationServiceStub(channel)
    replies = {
        name: shared.Explain(explain(BUNDLED[model], model=model, preset=name))
        for name in ("quick", "default", "exact")
    }
    rows = {name: sum(each.rows_used for each in r.results) for name, r in replies.items()}
    assert rows["quick"] <= rows["default"] <= rows["exact"]
    for name in ("quick", "exact"):
        assert preset(shared, name, model).description
        assert preset(shared, name, model).spec.methods
        assert name not in METHODS
        assert explanations(replies[name])
    exact = [each for each in explanations(replies["exact"]) if each.HasField("error")]
    assert exact
    for each in exact:
        change = abs(each.output - each.baseline_output)
        assert each.error.completeness <= 0.02 * max(change, 1)


def test_parameters_of_a_preset_are_plain_numbers(stub: ExplanationServiceStub) -> None:
    (_, path) = preset(stub, "pair").spec.methods
    assert path == method_pb2.MethodSpec(
        name="integrated_gradients", params=method("", n_steps=7).params
    )
    reply = stub.Explain(asked(6, preset="pair"))
    assert np.isfinite(array(explanations(reply)[0].attributions[0].values)).all()

"""Which requests ask the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from adcaptum.service.requests.request_key import request_key
from adcaptum.service.wire.method_specs import by_name
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb, model_pb2, tensor_pb2

Change = Callable[[pb.ExplainRequest], object]
WHO = model_pb2.ModelIdentity(name="tiny", version="1", digest="ab")


def tensor(value: float, *shape: int, datatype: str = "FP32") -> tensor_pb2.Tensor:
    dtype = {"FP32": np.float32, "INT32": np.int32, "INT64": np.int64}[datatype]
    data = np.full(shape, value, dtype)
    return tensor_pb2.Tensor(datatype=datatype, shape=shape, data=data.tobytes())


def request(columns: int = 6) -> pb.ExplainRequest:
    return pb.ExplainRequest(
        model=model_pb2.ModelRef(name="tiny"),
        inputs=[tensor(1, 2, columns)],
        target=explanation_pb2.Target(label="yes"),
        baselines=[explanation_pb2.Baseline(constant=0.5)],
        feature_masks=[tensor(1, 1, 6, datatype="INT64")],
        layer=explanation_pb2.Layer(name="middle"),
        neuron=explanation_pb2.Neuron(index=[1]),
        layer_baselines=[explanation_pb2.Baseline(constant=1.0)],
        budget=explanation_pb2.Budget(max_rows=100, tolerance=0.05),
        seed=3,
    )


def key(
    asked: pb.ExplainRequest, who: model_pb2.ModelIdentity = WHO, method: str = "saliency", **p: Any
) -> bytes:
    small = sum(len(each.data) for each in asked.inputs) <= 1 << 14
    return request_key(asked, who, [by_name(method, p)], small=small)


MATTERS: dict[str, Change] = {
    "bytes": lambda r: r.inputs[0].CopyFrom(tensor(2, 2, 6)),
    "shape": lambda r: r.inputs[0].CopyFrom(tensor(1, 3, 4)),
    "dtype": lambda r: r.inputs[0].CopyFrom(tensor(1, 2, 6, datatype="INT32")),
    "the input's name": lambda r: setattr(r.inputs[0], "name", "x"),
    "target": lambda r: setattr(r.target, "label", "no"),
    "kind of target": lambda r: setattr(r.target, "top_k", 1),
    "baseline": lambda r: setattr(r.baselines[0], "constant", 0.6),
    "kind of baseline": lambda r: r.baselines[0].zero.SetInParent(),
    "mask": lambda r: r.feature_masks[0].CopyFrom(tensor(2, 1, 6, datatype="INT64")),
    "layer": lambda r: setattr(r.layer, "name", "last"),
    "side of the layer": lambda r: setattr(r.layer, "input", True),
    "neuron": lambda r: r.neuron.index.append(2),
    "block of neurons": lambda r: r.neuron.end.append(2),
    "layer baseline": lambda r: setattr(r.layer_baselines[0], "constant", 2.0),
    "seed": lambda r: setattr(r, "seed", 4),
    "tolerance": lambda r: setattr(r.budget, "tolerance", 0.06),
    "rows": lambda r: setattr(r.budget, "max_rows", 101),
    "sum of channels": lambda r: setattr(r.output, "sum_channels", True),
    "top features": lambda r: setattr(r.output, "top_features", 2),
    "datatype of the answer": lambda r: setattr(r.output, "datatype", "FP16"),
    "returned inputs": lambda r: setattr(r.output, "return_inputs", True),
    "returned outputs": lambda r: setattr(r.output, "return_outputs", True),
    "returned predictions": lambda r: setattr(r.output, "return_predictions", True),
    "unwanted predictions": lambda r: setattr(r.output, "return_predictions", False),
    "labels of a prediction": lambda r: setattr(r.output, "top_k", 2),
    "deterministic": lambda r: setattr(r, "deterministic", True),
}
WITHOUT: dict[str, Change] = {
    "priority": lambda r: setattr(r, "priority", explanation_pb2.PRIORITY_BATCH),
    "use of the cache": lambda r: setattr(r, "cache", explanation_pb2.CACHE_USE),
    "on deadline": lambda r: setattr(r.budget, "on_deadline", explanation_pb2.ON_DEADLINE_PARTIAL),
    "name of the version": lambda r: setattr(r.model, "version", "1"),
}


@pytest.mark.parametrize("columns", [6, 6000], ids=["small", "large"])
@pytest.mark.parametrize("change", MATTERS.values(), ids=MATTERS)
def test_whatever_decides_the_answer_makes_another_key(change: Change, columns: int) -> None:
    asked, same = request(columns), request(columns)
    change(asked)
    assert key(asked) != key(same)
    assert key(request(columns)) == key(same)


@pytest.mark.parametrize("change", WITHOUT.values(), ids=WITHOUT)
def test_what_does_not_decide_the_answer_makes_the_same_key(change: Change) -> None:
    asked = request()
    change(asked)
    assert key(asked) == key(request())


@pytest.mark.parametrize("field", ["name", "version", "digest"])
def test_other_weights_make_another_key(field: str) -> None:
    other = model_pb2.ModelIdentity()
    other.CopyFrom(WHO)
    setattr(other, field, "2")
    assert key(request(), other) != key(request())


def test_methods_count_with_the_parameters_they_have_however_they_are_named() -> None:
    ours = key(request(), method="integrated_gradients", n_steps=50)
    assert ours == key(request(), method="integrated_gradients")
    assert ours != key(request(), method="integrated_gradients", n_steps=51)
    assert ours != key(request())
    both = [by_name("saliency", {}), by_name("input_x_gradient", {})]
    first = request_key(request(), WHO, both, small=True)
    assert first != request_key(request(), WHO, both[::-1], small=True)


def test_every_field_of_a_request_is_known_to_matter_or_not() -> None:
    covered = {
        "model", "inputs", "target", "methods", "baselines", "feature_masks", "layer", "neuron",
        "budget", "output", "seed", "layer_baselines", "priority", "cache", "deterministic",
    }  # fmt: skip
    assert {each.name for each in pb.ExplainRequest.DESCRIPTOR.fields} == covered

"""Which requests ask the same."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.questions.resolved_questions import ResolvedQuestions
from adcaptum.service.requests.request_key import request_key
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb, model_pb2, tensor_pb2
from tests.unit.service import asking
from tests.unit.service.asking import index, label, method, typed
from tests.unit.service.tiny_model import layered

Change = Callable[[pb.ExplainRequest], object]
Baseline = explain_spec_pb2.Baseline


def tensor(value: float, *shape: int, datatype: str = "float32") -> tensor_pb2.Tensor:
    return asking.tensor(np.full(shape, value, datatype))


def mask(value: int) -> explain_spec_pb2.FeatureMask:
    return explain_spec_pb2.FeatureMask(
        tensor=tensor(value, 1, 6, datatype="int64"), names=["a"] * 9
    )


def request(columns: int = 6) -> pb.ExplainRequest:
    """A request at a layer with tensors in its question."""
    request = asking.explain(
        tensor(1, 2, columns),
        methods=[method("expected_gradients")],
        targets=[label("yes")],
        site=explain_spec_pb2.Site(
            layer="middle",
            baselines=[Baseline(tensor=tensor(1, 1, 5)), Baseline(distribution=tensor(1, 2, 5))],
            feature_masks=[mask(1)],
        ),
        budget=explain_spec_pb2.Budget(max_rows=100, tolerance=0.05),
        seed=3,
    )
    request.model.name = "tiny"
    return request


def at_inputs() -> pb.ExplainRequest:
    """A request at the inputs with tensors in its question."""
    return asking.explain(
        tensor(1, 2, 6),
        methods=[method("feature_ablation")],
        targets=[label("yes")],
        baselines=[Baseline(constant=0.5), Baseline(tensor=tensor(1, 1, 6))],
        feature_masks=[mask(1)],
    )


def plain() -> pb.ExplainRequest:
    """A request without tensors in its question."""
    return asking.explain(
        tensor(1, 2, 6),
        methods=[method("neuron_conductance")],
        targets=[label("yes"), index(0)],
        baselines=[Baseline(constant=0.5)],
        through=explain_spec_pb2.Neuron(layer="middle", index=[1]),
    )


def key(asked: pb.ExplainRequest, model: ServedModel | None = None) -> bytes:
    found = layered() if model is None else model
    return request_key(asked, found.identity, ResolvedQuestions().of(asked, found))


def neuron(target: explain_spec_pb2.Target, *place: int) -> None:
    target.neuron.layer = "middle"
    target.neuron.index.extend(place)


AT_LAYER: dict[str, Change] = {
    "bytes": lambda r: r.inputs[0].CopyFrom(tensor(2, 2, 6)),
    "shape": lambda r: r.inputs[0].CopyFrom(tensor(1, 3, 4)),
    "dtype": lambda r: r.inputs[0].CopyFrom(tensor(1, 2, 6, datatype="int32")),
    "the input's name": lambda r: setattr(r.inputs[0], "name", "x"),
    "form": lambda r: r.inputs[0].CopyFrom(typed([1] * 6, [1] * 6)),
    "target": lambda r: setattr(r.spec.targets[0], "label", "no"),
    "kind of target": lambda r: setattr(r.spec.targets[0], "top_k", 1),
    "target inside": lambda r: neuron(r.spec.targets[0], 1),
    "second target": lambda r: r.spec.targets.add().argmax.SetInParent(),
    "layer": lambda r: setattr(r.spec.site, "layer", "classify"),
    "side of the layer": lambda r: setattr(r.spec.site, "at_input", True),
    "layer baseline": lambda r: r.spec.site.baselines[0].tensor.CopyFrom(tensor(2, 1, 5)),
    "kind of layer baseline": lambda r: r.spec.site.baselines[0].distribution.CopyFrom(
        tensor(1, 1, 5)
    ),
    "constant layer baseline": lambda r: setattr(r.spec.site.baselines[0], "constant", 1),
    "layer distribution": lambda r: r.spec.site.baselines[1].distribution.CopyFrom(tensor(2, 2, 5)),
    "layer mask": lambda r: r.spec.site.feature_masks[0].CopyFrom(mask(2)),
    "names of the layer's features": lambda r: r.spec.site.feature_masks[0].names.append("b"),
    "seed": lambda r: setattr(r.spec, "seed", 4),
    "tolerance": lambda r: setattr(r.spec.budget, "tolerance", 0.06),
    "rows": lambda r: setattr(r.spec.budget, "max_rows", 101),
    "sum of channels": lambda r: setattr(r.spec.output, "channel_reduction", 2),
    "most features": lambda r: setattr(r.spec.output, "max_features", 2),
    "datatype of the answer": lambda r: setattr(r.spec.output, "datatype", "FP16"),
    "returned inputs": lambda r: setattr(r.spec.output, "return_inputs", True),
    "returned outputs": lambda r: setattr(r.spec.output, "return_outputs", True),
    "returned predictions": lambda r: setattr(r.spec.output, "return_predictions", True),
    "unwanted predictions": lambda r: setattr(r.spec.output, "return_predictions", False),
    "unwanted features": lambda r: setattr(r.spec.output, "return_features", False),
    "labels of a prediction": lambda r: setattr(r.spec.output, "max_labels", 2),
    "deterministic": lambda r: setattr(r.spec, "deterministic", True),
    "parameter": lambda r: r.spec.methods[0].CopyFrom(method("expected_gradients", n_samples=9)),
    "method": lambda r: r.spec.methods[0].CopyFrom(method("integrated_gradients")),
    "second method": lambda r: r.spec.methods.add(name="expected_gradients"),
}
AT_INPUTS: dict[str, Change] = {
    "baseline": lambda r: setattr(r.spec.baselines[0], "constant", 0.6),
    "kind of baseline": lambda r: setattr(r.spec.baselines[0], "named", "zero"),
    "baseline's tensor": lambda r: r.spec.baselines[1].tensor.CopyFrom(tensor(2, 1, 6)),
    "baseline's input": lambda r: setattr(r.spec.baselines[1], "input", "x"),
    "distribution": lambda r: r.spec.baselines[1].distribution.CopyFrom(tensor(1, 1, 6)),
    "mask": lambda r: r.spec.feature_masks[0].CopyFrom(mask(2)),
    "mask's input": lambda r: setattr(r.spec.feature_masks[0], "input", "x"),
    "names": lambda r: r.spec.feature_masks[0].names.append("b"),
}
PLAIN: dict[str, Change] = {
    "baseline": lambda r: setattr(r.spec.baselines[0], "constant", 0.6),
    "neuron": lambda r: r.spec.through.index.__setitem__(0, 2),
    "block of neurons": lambda r: r.spec.through.end.append(2),
    "order of targets": lambda r: r.spec.targets.reverse(),
}
SAME: dict[str, Change] = {
    "priority": lambda r: setattr(r, "priority", pb.PRIORITY_BATCH),
    "use of the cache": lambda r: setattr(r, "cache", pb.CACHE_POLICY_USE),
    "on deadline": lambda r: setattr(r, "on_deadline", pb.ON_DEADLINE_PARTIAL),
    "name of the version": lambda r: setattr(r.model, "version", "1"),
    "preset whose fields are replaced": lambda r: setattr(r, "preset", "default"),
    "usual datatype": lambda r: setattr(r.spec.output, "datatype", "FP32"),
    "usual determinism": lambda r: setattr(r.spec, "deterministic", False),
    "usual parameter": lambda r: r.spec.methods[0].CopyFrom(
        method("expected_gradients", n_samples=200)
    ),
}


def differs(asked: pb.ExplainRequest, change: Change) -> bool:
    model = layered()
    before = key(asked, model)
    assert key(asked, model) == before
    change(asked)
    # Some of the changes alone make a request that is refused when its inputs are read.
    return key(asked, model) != before


@pytest.mark.parametrize("columns", [6, 60_000], ids=["small", "large"])
@pytest.mark.parametrize("change", AT_LAYER.values(), ids=AT_LAYER)
def test_whatever_decides_the_answer_makes_another_key(change: Change, columns: int) -> None:
    assert differs(request(columns), change)


@pytest.mark.parametrize("change", AT_INPUTS.values(), ids=AT_INPUTS)
def test_whatever_decides_the_answer_at_inputs_makes_another_key(change: Change) -> None:
    assert differs(at_inputs(), change)


@pytest.mark.parametrize("change", PLAIN.values(), ids=PLAIN)
def test_whatever_decides_the_answer_without_tensors_makes_another_key(change: Change) -> None:
    assert differs(plain(), change)


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_what_does_not_decide_the_answer_makes_the_same_key(change: Change) -> None:
    assert not differs(request(), change)


@pytest.mark.parametrize("field", ["name", "version", "digest"])
def test_other_weights_make_another_key(field: str) -> None:
    model = layered()
    other = model_pb2.ModelIdentity()
    other.CopyFrom(model.identity)
    setattr(other, field, "2")
    assert key(request(), replace(model, identity=other)) != key(request(), model)


def spec(**fields: Any) -> explain_spec_pb2.ExplainSpec:
    return explain_spec_pb2.ExplainSpec(**fields)


def test_a_question_counts_with_its_content_whichever_preset_it_comes_from() -> None:
    steps = [method("integrated_gradients", n_steps=50)]
    presets = {
        "default": spec(methods=[method("integrated_gradients")], seed=0),
        "same": spec(methods=steps, targets=[explain_spec_pb2.Target()]),
        "other": spec(methods=[method("integrated_gradients", n_steps=51)]),
    }
    model = replace(layered(), presets=presets)
    rows = tensor(1, 2, 3)

    def asked(preset: str = "", **fields: Any) -> bytes:
        return key(asking.explain(rows, preset=preset, **fields), model)

    assert asked() == asked("same") == asked("other", methods=steps)
    assert asked(targets=[explain_spec_pb2.Target(argmax=explain_spec_pb2.Argmax())]) == asked()
    assert asked() != asked("other")
    assert asked(seed=1) == asked("same", seed=1) != asked()


def test_the_order_of_methods_counts() -> None:
    both = [method("saliency"), method("input_x_gradient")]
    rows = tensor(1, 2, 3)
    model = layered()
    assert key(asking.explain(rows, methods=both), model) != key(
        asking.explain(rows, methods=both[::-1]), model
    )


def test_every_field_of_a_request_is_known_to_matter_or_not() -> None:
    # The spec is in the key as a whole.
    covered = {"model", "inputs", "preset", "spec", "on_deadline", "priority", "cache"}
    assert {each.name for each in pb.ExplainRequest.DESCRIPTOR.fields} == covered
    assert {each.name for each in tensor_pb2.Tensor.DESCRIPTOR.fields} == {
        "name", "datatype", "shape", "data", "values",
    }  # fmt: skip

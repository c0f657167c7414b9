"""The layer of a question, and the neuron through which it explains."""

from typing import Any

import numpy as np
import pytest
import torch

from adcaptum.engine.execution.driver import run
from adcaptum.engine.vocabulary.evaluation import Neuron, Site
from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.v1 import explain_spec_pb2, method_pb2
from tests.unit.service import asking
from tests.unit.service.asking import index, method, tensor
from tests.unit.service.tiny_model import layered

ROWS = np.array([[1.0, -0.5, 2.0], [0.25, 1.5, -1.0]], np.float32)
MIDDLE = explain_spec_pb2.Neuron(layer="middle", index=[2])


def read(*methods: method_pb2.MethodSpec, **fields: Any) -> ParsedRequest:
    return asking.read(
        asking.explain(ROWS, methods=methods, targets=[index(1)], **fields), layered()
    )


def refused(*methods: method_pb2.MethodSpec, **fields: Any) -> tuple[str, str, Reason]:
    with pytest.raises(InvalidRequest) as caught:
        read(*methods, **fields)
    (violation,) = caught.value.violations
    return violation.field, violation.description, caught.value.reason


def attribution(parsed: ParsedRequest, module: torch.nn.Module) -> torch.Tensor:
    (piece,) = parsed.pieces(None)
    return run(module, parsed.methods[0].method.flow(piece.explicand)).values[0]


def test_a_layer_is_found_by_its_alias() -> None:
    for name in ("middle", "hidden"):
        parsed = read(method("saliency"), site=explain_spec_pb2.Site(layer=name))
        assert parsed.layer == Site("hidden")
    parsed = read(method("saliency"), site=explain_spec_pb2.Site(layer="hidden", at_input=True))
    assert parsed.layer == Site("hidden", "input")


@pytest.mark.parametrize(
    ("site", "field", "reason"),
    [
        ({"layer": "hiden"}, "layer", Reason.LAYER_UNKNOWN),
        ({"at_input": True}, "at_input", Reason.FIELD_INVALID),
        ({"baselines": [{"constant": 1}]}, "baselines", Reason.FIELD_INVALID),
        (
            {"feature_masks": [{"tensor": tensor(np.zeros((1, 3), np.int64))}]},
            "feature_masks",
            Reason.FIELD_INVALID,
        ),
    ],
    ids=["unknown", "side of nothing", "baselines of nothing", "masks of nothing"],
)
def test_what_belongs_to_no_layer_is_refused(
    site: dict[str, Any], field: str, reason: Reason
) -> None:
    found = refused(method("feature_ablation"), site=explain_spec_pb2.Site(**site))
    assert (found[0], found[2]) == (f"spec.site.{field}", reason)


def test_a_method_that_explains_layers_needs_one() -> None:
    field, description, _ = refused(method("activation"))
    assert field == "spec.site.layer"
    assert "'middle'" in description


def test_an_output_is_explained_through_a_neuron() -> None:
    model = layered()
    spec = method("neuron_conductance", n_steps=20)
    parsed = read(spec, through=MIDDLE)
    assert parsed.layer is None
    assert parsed.inside(0) is None
    (piece,) = parsed.pieces(None)
    assert piece.explicand.at == Site("hidden")
    # The method can be repeated as it is answered, with the same neuron beside it.
    again = read(parsed.methods[0].spec, through=MIDDLE)
    assert torch.equal(
        attribution(parsed, model.loaded.module), attribution(again, model.loaded.module)
    )


def test_a_block_of_neurons_conducts_what_its_neurons_do() -> None:
    module = layered().loaded.module
    spec = method("neuron_conductance", n_steps=20)

    def conducted(*at: int, end: tuple[int, ...] = ()) -> torch.Tensor:
        neuron = explain_spec_pb2.Neuron(layer="middle", index=at, end=end)
        return attribution(read(spec, through=neuron), module)

    block = conducted(1, end=(4,))
    torch.testing.assert_close(block, conducted(1) + conducted(2) + conducted(3))
    assert not torch.equal(block, conducted(2))


def test_a_method_inside_another_goes_through_the_neuron_too() -> None:
    inner = {"name": "neuron_conductance", "params": {"n_steps": 5}}
    parsed = read(method("smooth_grad", of=inner, n_samples=2), through=MIDDLE)
    (piece,) = parsed.pieces(None)
    assert piece.explicand.at == Site("hidden")
    assert "neuron=(2,)" in repr(parsed.methods[0].method)
    assert "neuron" not in str(parsed.methods[0].spec.params["of"].struct_value.fields["params"])


def test_a_way_is_required_by_its_methods_and_refused_by_others() -> None:
    field, description, _ = refused(method("neuron_conductance"))
    assert field == "spec.through"
    assert "missing" in description
    field, description, _ = refused(method("saliency"), through=MIDDLE)
    assert field == "spec.through"
    assert "neuron_conductance" in description
    both = (method("neuron_conductance"), method("saliency"))
    assert refused(*both, through=MIDDLE)[0] == "spec.through"


def test_a_way_names_its_layer_itself() -> None:
    site = explain_spec_pb2.Site(layer="middle")
    field, description, _ = refused(method("neuron_conductance"), site=site, through=MIDDLE)
    assert field == "spec.site.layer"
    assert "through" in description


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"layer": "middel", "index": [2]}, "layer"),
        ({"layer": "middle"}, "index"),
        ({"layer": "middle", "index": [1, 2]}, "index"),
        ({"layer": "middle", "index": [2], "end": [2]}, "end[0]"),
    ],
)
def test_a_way_is_a_neuron(fields: dict[str, Any], field: str) -> None:
    neuron = explain_spec_pb2.Neuron(**fields)
    assert refused(method("neuron_conductance"), through=neuron)[0] == f"spec.through.{field}"


def test_a_site_a_neuron_and_a_way_are_three_things() -> None:
    target = explain_spec_pb2.Target(neuron=explain_spec_pb2.Neuron(layer="classify", index=[1]))
    asked = asking.explain(
        ROWS,
        methods=[method("input_x_gradient")],
        site=explain_spec_pb2.Site(layer="middle"),
        targets=[target],
    )
    (piece,) = asking.read(asked, layered()).pieces(None)
    assert isinstance(piece.explicand.target, Neuron)
    assert piece.explicand.target.site == Site("classify")
    assert piece.explicand.at == Site("hidden")
    assert piece.explicand.through is None

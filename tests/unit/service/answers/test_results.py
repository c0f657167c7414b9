"""What the engine says, written as results."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf import json_format

from adcaptum.engine.errors import BudgetExceeded
from adcaptum.engine.vocabulary.attribution import Attribution, StopReason, with_stop_reasons
from adcaptum.service.answers import results, warnings
from adcaptum.service.answers.outcome import MethodFailure, Outcome
from adcaptum.service.errors import DeadlineExceeded, ModelRaised, Unsupported
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.texts import TokenisedText, TokenisedTexts
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Piece
from adcaptum.v1 import explain_spec_pb2, explanation_pb2, explanation_service_pb2 as pb
from tests.unit.service import asking
from tests.unit.service.asking import every, index, label, method
from tests.unit.service.tiny_model import IDS, served, tokens

SUM = explain_spec_pb2.CHANNEL_REDUCTION_SUM
X = Attribution((torch.ones(1, 3),))


def asked(**fields: Any) -> tuple[ParsedRequest, Piece]:
    """One row of three features."""
    fields.setdefault("targets", [label("yes")])
    read = asking.read(asking.explain(np.ones((1, 3), np.float32), **fields), served()[0])
    return read, read.pieces(None)[0]


def asked_at(layer: str) -> tuple[ParsedRequest, Piece]:
    """Two rows of token ids, at a layer."""
    site = explain_spec_pb2.Site(layer=layer)
    request = asking.explain(IDS.numpy(), targets=[index(1)], site=site)
    read = asking.read(request, tokens())
    return read, read.pieces(None)[0]


def options(**fields: Any) -> explain_spec_pb2.OutputOptions:
    return explain_spec_pb2.OutputOptions(**fields)


def written(
    parsed: ParsedRequest,
    *answered: tuple[Piece, Attribution],
    failures: dict[int, MethodFailure] | None = None,
    ended: bool = True,
) -> list[explanation_pb2.MethodResult]:
    response = pb.ExplainResponse()
    results.write(response, parsed, Outcome(answered, failures or {}), "the-id", ended=ended)
    return list(response.results)


def explanations(
    parsed: ParsedRequest, *answered: tuple[Piece, Attribution]
) -> list[explanation_pb2.Explanation]:
    return [one for result in written(parsed, *answered) for one in result.explanations]


def pairs(parsed: ParsedRequest, piece: Piece, count: int) -> explanation_pb2.Interactions:
    values = torch.arange(float(count**2)).view(1, count, count)
    (one,) = explanations(parsed, (piece, Attribution((values,), pairs=True)))
    assert not one.attributions
    return one.interactions


def numbers(message: Any) -> list[Any]:
    found: list[Any] = np.frombuffer(message.data, np.float32).reshape(message.shape).tolist()
    return found


@pytest.mark.parametrize("datatype", ["FP32", "INT32"])
def test_beside_an_embedding_floating_point_inputs_are_explained(datatype: str) -> None:
    model = tokens()
    declaration = model.loaded.declaration
    scale = InputDeclaration("scale", "tabular", datatype, (-1, 1))
    declaration = replace(declaration, inputs=(*declaration.inputs, scale))
    ids = asked_at("hidden")[0]
    model = replace(model, loaded=replace(model.loaded, declaration=declaration))
    question = replace(ids.question, layer=None)
    read = replace(ids, model=model, question=question)
    for shown in (question, replace(question, output=options(max_features=1))):
        parsed = replace(read, question=shown)
        found = [torch.ones(2, 3, 6), torch.ones(2, 1)][: 2 if datatype == "FP32" else 1]
        answer = Attribution(tuple(found))
        one, _ = explanations(parsed, (parsed.pieces(None)[0], answer))
        assert [each.name for each in one.attributions] == ["ids", "scale"][: len(found)]


def test_the_components_of_whole_numbers_are_summed_where_channels_are() -> None:
    ids = asked_at("hidden")[0]
    for reduction, shape in ((1, [3, 6]), (2, [3])):
        output = explain_spec_pb2.OutputOptions(channel_reduction=reduction)  # type: ignore[arg-type]
        question = replace(ids.question, layer=None, output=output)
        parsed = replace(ids, question=question)
        answer = Attribution((torch.ones(2, 3, 6),))
        one, _ = explanations(parsed, (parsed.pieces(None)[0], answer))
        assert list(one.attributions[0].values.shape) == shape


def test_explanations_come_by_example_and_then_by_target() -> None:
    request = asking.explain(np.ones((2, 3), np.float32), targets=[every()])
    read = asking.read(request, served()[0])
    zero, one = read.pieces(None)
    values = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    found = explanations(read, (one, Attribution((values + 10,))), (zero, Attribution((values,))))
    assert [(each.example, each.target) for each in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [list(each.index) for each in found] == [[0], [1], [0], [1]]
    assert [each.label for each in found] == ["no", "yes", "no", "yes"]
    firsts = [numbers(each.attributions[0].values)[0] for each in found]
    assert firsts == [1, 11, 4, 14]
    assert all(each.HasField("example") and each.HasField("target") for each in found)


def test_two_specs_of_one_method_are_told_apart() -> None:
    specs = [method("saliency", abs=flag) for flag in (True, False)]
    read, piece = asked(methods=specs)
    other = read.pieces(None)[1]
    first, second = written(read, (other, Attribution((torch.zeros(1, 3),))), (piece, X))
    assert first.method.params["abs"].bool_value
    assert not second.method.params["abs"].bool_value
    assert numbers(first.explanations[0].attributions[0].values) == [1, 1, 1]
    assert numbers(second.explanations[0].attributions[0].values) == [0, 0, 0]


def test_attributions_have_the_name_of_their_input() -> None:
    read, piece = asked()
    (one,) = explanations(read, (piece, X))
    assert (one.attributions[0].name, one.attributions[0].part) == ("x", 0)


def test_the_tensors_of_a_layer_are_numbered() -> None:
    read, piece = asked_at("middle")
    one, _ = explanations(read, (piece, Attribution((torch.ones(2, 5), torch.ones(2, 1)))))
    assert [(each.name, each.part) for each in one.attributions] == [("hidden", 0), ("hidden", 1)]


def test_numbers_of_an_example_may_have_no_dimensions() -> None:
    read, piece = asked_at("middle")
    one, _ = explanations(read, (piece, Attribution((torch.ones(2),))))
    assert list(one.attributions[0].values.shape) == []
    assert len(one.attributions[0].values.data) == 4


def test_a_neuron_has_no_index_and_no_label() -> None:
    neuron = explain_spec_pb2.Neuron(layer="hidden", index=[2])
    target = explain_spec_pb2.Target(neuron=neuron)
    request = asking.explain(
        IDS.numpy(), methods=[method("feature_ablation")], targets=[index(1), target]
    )
    read = asking.read(request, tokens())
    of_output, of_neuron = read.pieces(None)
    values = Attribution((torch.ones(2, 3),))
    found = explanations(read, (of_output, values), (of_neuron, values))
    assert [list(each.index) for each in found] == [[1], [], [1], []]
    assert [each.target for each in found] == [0, 1, 0, 1]


def test_pairs_of_elements_are_numbered() -> None:
    interactions = pairs(*asked(), 3)
    assert list(interactions.features) == ["0", "1", "2"]
    assert list(interactions.values.shape) == [3, 3]


@pytest.mark.parametrize(
    ("names", "expected"),
    [((), ["2", "7"]), (("a", "b", "c", "d", "e", "f", "g", "h"), ["c", "h"])],
    ids=["numbers", "names"],
)
def test_pairs_of_groups_have_the_names_of_the_mask(
    names: tuple[str, ...], expected: list[str]
) -> None:
    mask = explain_spec_pb2.FeatureMask(tensor=asking.tensor(np.array([[7, 2, 7]])), names=names)
    ablate = [method("feature_ablation")]
    assert list(pairs(*asked(feature_masks=[mask], methods=ablate), 2).features) == expected


def test_pairs_of_tokens_are_not_cut_to_the_text() -> None:
    text = TokenisedText(("[CLS]", "good", "film", "[SEP]"), (-1, 0, 5, -1), (-1, 4, 9, -1))
    special = torch.tensor([[True, False, False, True, True]])
    read, piece = asked()
    ids = torch.zeros(1, 5, dtype=torch.int64)
    texts = TokenisedTexts(ids, ids, special, (text,))
    part = replace(piece.part, inputs=replace(piece.part.inputs, texts=texts))
    interactions = pairs(read, replace(piece, part=part), 3)
    assert list(interactions.features) == ["good", "film", "[CLS] [SEP]"]
    assert list(interactions.values.shape) == [3, 3]


def test_pairs_are_not_channels() -> None:
    shown = options(channel_reduction=SUM)
    assert list(pairs(*asked(output=shown), 3).values.shape) == [3, 3]


def test_only_the_heaviest_features_of_pairs_are_kept() -> None:
    interactions = pairs(*asked(output=options(max_features=2)), 3)
    assert list(interactions.features) == ["2", "1"]
    assert numbers(interactions.values) == [[8, 7], [5, 4]]


def test_only_the_largest_features_are_kept() -> None:
    read, piece = asked(output=options(max_features=2))
    answer = Attribution(
        (torch.tensor([[1.0, -3, 2]]),), standard_errors=(torch.tensor([[0.1, 0.3, 0.2]]),)
    )
    (one,) = explanations(read, (piece, answer))
    (attribution,) = one.attributions
    assert numbers(attribution.values) == [-3, 2]
    assert numbers(attribution.standard_errors) == pytest.approx([0.3, 0.2])
    assert list(attribution.indices) == [1, 2]
    assert list(attribution.shape) == [3]


@pytest.mark.parametrize("most", [1, 2, 3, 50])
def test_what_is_no_number_comes_after_all_numbers(most: int) -> None:
    read, piece = asked(output=options(max_features=most))
    answer = Attribution((torch.tensor([[float("nan"), 0.0, -1.0]]),))
    (one,) = explanations(read, (piece, answer))
    assert list(one.attributions[0].indices) == [2, 1, 0][:most]


def test_channels_that_are_summed_keep_a_bound_of_their_errors() -> None:
    read, piece = asked(output=options(channel_reduction=SUM))
    values, errors = torch.ones(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.1)
    (one,) = explanations(read, (piece, Attribution((values,), standard_errors=(errors,))))
    written = one.attributions[0].standard_errors
    assert list(written.shape) == [2, 2]
    np.testing.assert_allclose(np.frombuffer(written.data, np.float32), 0.3, rtol=1e-6)
    assert numbers(one.attributions[0].values) == [[3, 3], [3, 3]]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, set()),
        ({"completeness_error": 0.5}, {"completeness"}),
        ({"standard_error": 0.5}, {"standard_error"}),
        (
            {"completeness_error": 0.5, "standard_error": 0.5, "relative_error": 0.5},
            {"completeness", "standard_error", "relative"},
        ),
    ],
)
def test_errors_that_are_known_stand_side_by_side(
    fields: dict[str, float], expected: set[str]
) -> None:
    read, piece = asked()
    known: dict[str, Any] = {key: torch.tensor([value]) for key, value in fields.items()}
    (one,) = explanations(read, (piece, replace(X, **known)))
    assert {field.name for field, _ in one.error.ListFields()} == expected
    assert all(value == 0.5 for _, value in one.error.ListFields())
    assert one.HasField("error") == bool(expected)


def test_each_explanation_has_its_stop_reason_and_the_method_the_worst() -> None:
    request = asking.explain(np.ones((3, 3), np.float32), targets=[index(1)])
    read = asking.read(request, served()[0])
    reasons = (StopReason.CONVERGED, StopReason.BUDGET, StopReason.EXHAUSTED)
    answer = with_stop_reasons(Attribution((torch.ones(3, 3),)), reasons)
    (result,) = written(read, (read.pieces(None)[0], answer))
    assert [each.stop_reason for each in result.explanations] == [
        explanation_pb2.STOP_REASON_CONVERGED,
        explanation_pb2.STOP_REASON_BUDGET,
        explanation_pb2.STOP_REASON_EXHAUSTED,
    ]
    assert result.stop_reason == explanation_pb2.STOP_REASON_BUDGET
    (unfinished,) = written(read, (read.pieces(None)[0], answer), ended=False)
    assert not unfinished.stop_reason
    assert not any(each.stop_reason for each in unfinished.explanations)


@pytest.mark.parametrize("ops", [(), ("einsum", "add")], ids=["none", "two"])
def test_operations_without_a_rule_are_reported(ops: tuple[str, ...]) -> None:
    read, piece = asked(methods=[method("saliency")] * 2)
    answered = [
        (piece, replace(X, uncovered_ops=ops)),
        (replace(piece, target=1), replace(X, uncovered_ops=ops[:1])),
        (read.pieces(None)[1], X),
    ]
    first, second = written(read, *answered)
    assert list(first.uncovered_ops) == sorted(ops)
    assert list(second.uncovered_ops) == []


@pytest.mark.parametrize(
    ("error", "code", "reason", "field"),
    [
        (Unsupported("no gradients"), 9, "METHOD_UNSUPPORTED", "spec.methods[1]"),
        (ModelRaised(subject="tiny"), 9, "MODEL_RAISED", "spec.methods[1]"),
        (BudgetExceeded(9, 5), 3, "BUDGET_TOO_SMALL", "spec.budget.max_rows"),
        (DeadlineExceeded("late"), 4, "DEADLINE_PASSED", "spec.methods[1]"),
        (RuntimeError("secret"), 13, "INTERNAL", "spec.methods[1]"),
    ],
)
def test_a_method_that_failed_stands_beside_one_that_did_not(
    error: Exception, code: int, reason: str, field: str
) -> None:
    read, piece = asked(methods=[method("saliency"), method("input_x_gradient")])
    good, bad = written(read, (piece, X), failures={1: MethodFailure(error, 7)})
    assert good.explanations
    assert not good.HasField("failure")
    assert not bad.explanations
    assert bad.method.name == "input_x_gradient"
    assert (bad.failure.code, bad.failure.reason, bad.failure.field) == (code, reason, field)
    assert (bad.rows_used, bad.stop_reason) == (7, explanation_pb2.STOP_REASON_FAILED)
    assert "secret" not in bad.failure.message
    assert ("the-id" in bad.failure.message) == (reason in ("MODEL_RAISED", "INTERNAL"))


def test_an_answer_to_typed_values_has_lists() -> None:
    request = asking.explain(asking.typed([1, 2, 3]), targets=[label("yes")])
    read = asking.read(request, served()[0])
    (one,) = explanations(
        read, (read.pieces(None)[0], Attribution((torch.tensor([[0.1, 2, -0.5]]),)))
    )
    assert json_format.MessageToDict(one.attributions[0].values) == {
        "datatype": "FP32",
        "shape": [3],
        "values": [0.1, 2, -0.5],
    }


@pytest.mark.parametrize(
    ("values", "datatype", "count"),
    [
        ([1.0, 2.0, 3.0], "FP32", 0),
        ([1.0, float("nan"), float("inf")], "FP32", 2),
        ([1e5, 1.0, -1e6], "FP16", 2),
        ([6e4, 6e4, 1.0], "FP16", 0),
        ([3e38, 3e38, 1.0], "FP32", 0),
        ([1e300, 1.0, 1.0], "FP64", 0),
    ],
)
def test_numbers_that_are_not_finite_are_counted_and_warned_of(
    values: list[float], datatype: str, count: int
) -> None:
    read, piece = asked(output=options(datatype=datatype))
    made = written(read, (piece, Attribution((torch.tensor([values], dtype=torch.float64),))))
    assert made[0].non_finite == count
    warned = warnings.of_explanation(read, made, None)
    assert len(warned) == bool(count)
    assert all(f"{count} attributions are NaN or infinite" in each for each in warned)

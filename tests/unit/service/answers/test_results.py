"""What the engine says, written for the wire."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.service.models.texts import TokenisedText, TokenisedTexts
from adcaptum.service.requests import answer_warnings, answers, parsed_request as question
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.pieces import Piece
from adcaptum.service.requests.reading import Reading
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb, method_pb2, tensor_pb2
from tests.unit.service.tiny_model import IDS, served, tokens


def asked(**fields: Any) -> tuple[ParsedRequest, Piece]:
    """One row of three features."""
    data = np.ones((1, 3), np.float32)
    values = tensor_pb2.Tensor(datatype="FP32", shape=data.shape, data=data.tobytes())
    request = pb.ExplainRequest(
        inputs=[values], target=explanation_pb2.Target(label="yes"), **fields
    )
    read = question.read(request, served()[0], Reading(1000))
    return read, read.pieces(None)[0]


def asked_at(layer: str) -> tuple[ParsedRequest, Piece]:
    """Two rows of token ids, at a layer."""
    values = tensor_pb2.Tensor(datatype="INT64", shape=IDS.shape, data=IDS.numpy().tobytes())
    target = explanation_pb2.Target(indices=explanation_pb2.TargetIndices(values=[1]))
    request = pb.ExplainRequest(
        inputs=[values], target=target, layer=explanation_pb2.Layer(name=layer)
    )
    read = question.read(request, tokens(), Reading(1000))
    return read, read.pieces(None)[0]


def names(read: ParsedRequest, piece: Piece, *values: Tensor) -> list[str]:
    (one, *_) = answers.explanations(read, [(piece, Attribution(values))])
    return [each.values.name for each in one.attributions]


def pairs(read: ParsedRequest, piece: Piece, count: int) -> explanation_pb2.Attribution:
    values = torch.arange(float(count**2)).view(1, count, count)
    (one,) = answers.explanations(read, [(piece, Attribution((values,), pairs=True))])
    return one.attributions[0]


def test_the_tensors_of_a_layer_are_numbered() -> None:
    read, piece = asked_at("middle")
    assert names(read, piece, torch.ones(2, 5)) == ["hidden"]
    assert names(read, piece, torch.ones(2, 5), torch.ones(2, 1)) == ["hidden[0]", "hidden[1]"]


def test_numbers_of_an_example_may_have_no_dimensions() -> None:
    read, piece = asked_at("middle")
    (one, _) = answers.explanations(read, [(piece, Attribution((torch.ones(2),)))])
    assert list(one.attributions[0].values.shape) == []
    assert len(one.attributions[0].values.data) == 4


def test_pairs_of_elements_are_numbered() -> None:
    attribution = pairs(*asked(), 3)
    assert attribution.pairs
    assert list(attribution.features) == ["0", "1", "2"]
    assert list(attribution.values.shape) == [3, 3]
    assert attribution.values.name == "x"


def test_pairs_of_groups_have_the_numbers_of_the_mask() -> None:
    mask = np.array([[7, 2, 7]])
    message = tensor_pb2.Tensor(datatype="INT64", shape=[1, 3], data=mask.tobytes())
    assert list(pairs(*asked(feature_masks=[message]), 2).features) == ["2", "7"]


def test_pairs_of_tokens_are_not_cut_to_the_text() -> None:
    text = TokenisedText(("[CLS]", "good", "film", "[SEP]"), (-1, 0, 5, -1), (-1, 4, 9, -1))
    special = torch.tensor([[True, False, False, True, True]])
    read, piece = asked()
    ids = torch.zeros(1, 5, dtype=torch.int64)
    texts = TokenisedTexts(ids, ids, special, (text,))
    part = replace(piece.part, inputs=replace(piece.part.inputs, texts=texts))
    attribution = pairs(read, replace(piece, part=part), 3)
    assert list(attribution.features) == ["good", "film", "[CLS] [SEP]"]
    assert list(attribution.values.shape) == [3, 3]
    assert not attribution.tokens


def test_pairs_are_not_channels() -> None:
    options = explanation_pb2.OutputOptions(sum_channels=True)
    assert list(pairs(*asked(output=options), 3).values.shape) == [3, 3]


@pytest.mark.parametrize("ops", [(), ("einsum", "add")], ids=["none", "two"])
def test_operations_without_a_rule_are_reported(ops: tuple[str, ...]) -> None:
    methods = [method_pb2.MethodSpec(name="saliency")] * 2
    read, piece = asked(methods=methods)
    answered = [
        (piece, Attribution((torch.ones(1, 3),), uncovered_ops=ops)),
        (piece, Attribution((torch.ones(1, 3),), uncovered_ops=ops[:1])),
        (read.pieces(None)[1], Attribution((torch.ones(1, 3),))),
    ]
    first, second = answers.reports(read, answered)
    assert list(first.uncovered_ops) == sorted(ops)
    assert list(second.uncovered_ops) == []


def test_the_error_that_a_tolerance_is_compared_with_is_told_where_there_was_one() -> None:
    read, piece = asked()
    plain = Attribution((torch.ones(1, 3),))
    (without,) = answers.explanations(read, [(piece, plain)])
    assert not without.HasField("error")
    measured = replace(plain, relative_error=torch.tensor([0.02]))
    (one,) = answers.explanations(read, [(piece, measured)])
    assert one.error.relative == pytest.approx(0.02)
    assert one.error.kind == explanation_pb2.ERROR_KIND_UNSPECIFIED


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [([[1.0, 3.0]], ["yes", "no"]), ([[2.0, 2.0]], ["no", "yes"]), ([[-1.0, -4.0]], ["no", "yes"])],
    ids=["second", "equal", "first"],
)
def test_a_prediction_lists_the_largest_outputs(
    outputs: list[list[float]], labels: list[str]
) -> None:
    (prediction,) = answers.predictions(served()[0], torch.tensor(outputs), 0)
    assert [each.label for each in prediction.labels] == labels
    expected = torch.tensor(outputs, dtype=torch.float64).softmax(1)[0].sort(descending=True).values
    np.testing.assert_allclose([each.probability for each in prediction.labels], expected)
    (best,) = answers.predictions(served()[0], torch.tensor(outputs), 1)[0].labels
    assert (best.label, best.score) == (labels[0], max(outputs[0]))


def test_outputs_without_bounds_have_no_probabilities_and_are_no_trouble() -> None:
    (prediction,) = answers.predictions(served()[0], torch.tensor([[0.0, torch.inf]]), 0)
    assert [each.label for each in prediction.labels] == ["yes", "no"]
    assert np.isnan(prediction.labels[0].probability)


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
    read, piece = asked(output=explanation_pb2.OutputOptions(datatype=datatype))
    numbers = torch.tensor([values], dtype=torch.float64)
    answered = [(piece, Attribution((numbers,)))]
    made = answers.reports(read, answered)
    assert made[0].non_finite == count
    warned = answer_warnings.of_explanation(read, made, None)
    assert len(warned) == bool(count)
    assert all(f"{count} attributions are NaN or infinite" in each for each in warned)


def test_outputs_that_are_not_finite_are_warned_of() -> None:
    read, _ = asked()
    outputs = torch.tensor([[1.0, float("nan")]])
    assert "1 outputs" in answer_warnings.of_prediction(read.inputs, outputs)[0]
    assert answer_warnings.of_prediction(read.inputs, torch.ones(1, 2)) == []


def test_a_text_that_was_cut_is_warned_of_with_the_place() -> None:
    whole = TokenisedText(("a", "film"), (0, 2), (1, 6))
    cut = replace(whole, cut=6)
    read, _ = asked()
    ids = torch.zeros(20, 2, dtype=torch.int64)
    texts = TokenisedTexts(ids, ids, ids.bool(), (whole, *[cut] * 19))
    inputs = replace(read.inputs, texts=texts)
    warned = answer_warnings.of_prediction(inputs, torch.ones(20, 2))
    assert warned[0] == (
        "inputs[0].data[1]: the text is cut behind character 6; the model takes 2 tokens"
    )
    assert warned[-1] == "and 3 more warnings"


def test_channels_that_are_summed_keep_a_bound_of_their_errors() -> None:
    read, piece = asked(output=explanation_pb2.OutputOptions(sum_channels=True))
    values, errors = torch.ones(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.1)
    answered = [(piece, Attribution((values,), standard_errors=(errors,)))]
    (one,) = answers.explanations(read, answered)
    written = one.attributions[0].standard_errors
    assert list(written.shape) == [2, 2]
    np.testing.assert_allclose(np.frombuffer(written.data, np.float32), 0.3, rtol=1e-6)

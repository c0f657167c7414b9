"""Outputs, written as predictions."""

import numpy as np
import pytest
import torch
from torch import Tensor

from adcaptum.service.answers import predictions
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb
from tests.unit.service.tiny_model import served, tokens


def written(outputs: Tensor, most: int = 5) -> list[explanation_pb2.Prediction]:
    response = pb.PredictResponse()
    predictions.write(response.predictions, served()[0], outputs, most)
    return list(response.predictions)


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [([[1.0, 3.0]], ["yes", "no"]), ([[2.0, 2.0]], ["no", "yes"]), ([[-1.0, -4.0]], ["no", "yes"])],
    ids=["second", "equal", "first"],
)
def test_a_prediction_lists_the_largest_outputs(
    outputs: list[list[float]], labels: list[str]
) -> None:
    (prediction,) = written(torch.tensor(outputs))
    assert [each.label for each in prediction.labels] == labels
    expected = torch.tensor(outputs, dtype=torch.float64).softmax(1)[0].sort(descending=True).values
    np.testing.assert_allclose([each.probability for each in prediction.labels], expected)
    (best,) = written(torch.tensor(outputs), 1)[0].labels
    assert (best.label, best.score) == (labels[0], max(outputs[0]))


def test_the_first_example_and_the_first_class_are_there_in_json() -> None:
    first, second = written(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
    assert first.HasField("example")
    assert (first.example, second.example) == (0, 1)
    best, other = first.labels
    assert best.HasField("index")
    assert (best.index, other.score) == (0, 0.0)
    assert other.HasField("score")


def test_outputs_without_bounds_have_no_probabilities_and_are_no_trouble() -> None:
    (prediction,) = written(torch.tensor([[0.0, torch.inf]]))
    assert [each.label for each in prediction.labels] == ["yes", "no"]
    assert np.isnan(prediction.labels[0].probability)


def test_a_model_without_labels_has_no_predictions() -> None:
    response = pb.PredictResponse()
    predictions.write(response.predictions, tokens(), torch.ones(1, 2))
    assert not response.predictions

"""Predictions: outputs -> the classes with the largest ones, written in place."""

import math
from typing import Final, cast

import numpy as np
from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from numpy.typing import NDArray
from torch import Tensor

from adcaptum.service.models.served_model import ServedModel
from adcaptum.v1 import explanation_pb2

FEW: Final = 64
"""The most scores of a reply that plain Python orders: each operation of NumPy's or PyTorch's takes
longer than a row of them."""

MOST_LABELS: Final = 5
"""The most labels of a prediction whose request says nothing of it."""


def write(
    into: RepeatedCompositeFieldContainer[explanation_pb2.Prediction],
    model: ServedModel,
    outputs: Tensor,
    most: int = MOST_LABELS,
) -> None:
    """Writes the classes with the largest outputs of each example; nothing without labels.

    Args:
        into: The predictions of a reply, which are empty.
        model: The model.
        outputs: Its outputs, `(examples, classes)`.
        most: The most labels of each.
    """
    declared = model.loaded.declaration.outputs[0]
    if not declared.labels or outputs.ndim != 2:
        return
    most = min(most, outputs.shape[1])
    rows: list[list[float]] = outputs.tolist()
    if outputs.numel() <= FEW and math.isfinite(sum(map(sum, rows))):
        order = [sorted(range(len(row)), key=row.__getitem__, reverse=True)[:most] for row in rows]
        likely = _likely_of_few(rows, declared.kind)
    else:
        scores = np.array(rows, np.float64)
        order = (-scores).argsort(axis=1, kind="stable")[:, :most].tolist()
        likely = _likely(scores, declared.kind)
    for example, row in enumerate(rows):
        prediction = into.add()
        prediction.example = example
        for index in order[example]:
            label = prediction.labels.add()
            label.index = index
            label.label = declared.labels[index]
            label.score = row[index]
            if likely is not None:
                label.probability = likely[example][index]


def _likely_of_few(rows: list[list[float]], kind: str) -> list[list[float]] | None:
    """Returns the same of a few finite scores, of which NumPy's operations take longer."""
    if kind == "probabilities":
        return rows
    if kind != "logits":
        return None
    likely = []
    for row in rows:
        largest = max(row)
        odds = [math.exp(score - largest) for score in row]
        whole = sum(odds)
        likely.append([each / whole for each in odds])
    return likely


def _likely(scores: NDArray[np.float64], kind: str) -> list[list[float]] | None:
    """Returns the probability of each class, `(examples, classes)`; None if it is not known."""
    if kind == "probabilities":
        return cast("list[list[float]]", scores.tolist())
    if kind != "logits":
        return None
    with np.errstate(invalid="ignore"):
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return cast("list[list[float]]", (odds / odds.sum(axis=1, keepdims=True)).tolist())

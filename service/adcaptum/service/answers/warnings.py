"""Warnings of an answer: texts that were cut, and numbers that are not finite."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import torch
from torch import Tensor

from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.v1 import explanation_pb2

FEW: Final = 64
"""The most numbers that plain Python adds."""

MOST_WARNINGS: Final = 16
"""The most warnings of an answer; one more says how many there are beside them."""


def of_prediction(inputs: Inputs | None, outputs: Tensor) -> list[str]:
    """Returns the warnings of a prediction.

    Args:
        inputs: The request's inputs; None: they are no texts.
        outputs: The model's outputs.
    """
    found = list(_of_outputs(outputs))
    if inputs is None or inputs.texts is None:
        return found
    return _bounded([*_cut_texts(inputs), *found])


def of_explanation(
    parsed: ParsedRequest,
    results: Sequence[explanation_pb2.MethodResult],
    outputs: Tensor | None,
) -> list[str]:
    """Returns the warnings of an explanation.

    Args:
        parsed: The request.
        results: The results of its methods.
        outputs: The model's outputs, where they are known.
    """
    found = list(_cut_texts(parsed.inputs)) if parsed.inputs.texts is not None else []
    for result in results:
        if result.non_finite:
            where = " in FP16" if parsed.output.datatype == "FP16" else ""
            found.append(
                f"{result.method.name}: {result.non_finite} attributions are NaN or infinite{where}"
            )
    if outputs is not None:
        found += _of_outputs(outputs)
    return _bounded(found)


def non_finite(values: Tensor, dtype: torch.dtype) -> int:
    """Counts the numbers that are NaN or infinite in a datatype."""
    written = values if values.dtype is dtype else values.to(dtype)
    # A few numbers are summed sooner than PyTorch begins to.
    if written.numel() <= FEW and math.isfinite(sum(written.flatten().tolist())):
        return 0
    # A sum is finite if all numbers are, but where large ones overflow: then they are counted.
    if math.isfinite(written.sum().item()):
        return 0
    return int((~torch.isfinite(written)).sum())


def _of_outputs(outputs: Tensor) -> Iterator[str]:
    count = non_finite(outputs, outputs.dtype)
    if count:
        yield f"{count} outputs of the model are NaN or infinite"


def _cut_texts(inputs: Inputs) -> Iterator[str]:
    if inputs.texts is None:
        return
    for index, text in enumerate(inputs.texts.texts):
        if text.cut is not None:
            yield (
                f"{inputs.text_field}: text {index} is cut behind character {text.cut}; the model "
                f"takes {len(text.tokens)} tokens"
            )


def _bounded(found: list[str]) -> list[str]:
    if len(found) <= MOST_WARNINGS:
        return found
    return [*found[:MOST_WARNINGS], f"and {len(found) - MOST_WARNINGS} more warnings"]

"""Warnings of answers."""

from dataclasses import replace

import numpy as np
import torch

from adcaptum.service.answers import warnings
from adcaptum.service.models.texts import TokenisedText, TokenisedTexts
from adcaptum.service.requests.inputs import Inputs
from tests.unit.service import asking
from tests.unit.service.asking import label
from tests.unit.service.tiny_model import served


def inputs() -> Inputs:
    request = asking.explain(np.ones((1, 3), np.float32), targets=[label("yes")])
    return asking.read(request, served()[0]).inputs


def test_outputs_that_are_not_finite_are_warned_of() -> None:
    outputs = torch.tensor([[1.0, float("nan")]])
    assert "1 outputs" in warnings.of_prediction(inputs(), outputs)[0]
    assert warnings.of_prediction(inputs(), torch.ones(1, 2)) == []


def test_a_text_that_was_cut_is_warned_of_with_the_place() -> None:
    whole = TokenisedText(("a", "film"), (0, 2), (1, 6))
    cut = replace(whole, cut=6)
    ids = torch.zeros(20, 2, dtype=torch.int64)
    texts = TokenisedTexts(ids, ids, ids.bool(), (whole, *[cut] * 19))
    warned = warnings.of_prediction(replace(inputs(), texts=texts), torch.ones(20, 2))
    assert warned[0] == ("inputs[0]: text 1 is cut behind character 6; the model takes 2 tokens")
    assert warned[-1] == "and 3 more warnings"

"""Names of features of inputs in answers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from adcaptum.service.answers import input_features
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.models.texts import TokenisedText, TokenisedTexts
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.v1 import explain_spec_pb2, explanation_pb2, explanation_service_pb2 as pb
from tests.unit.service import asking
from tests.unit.service.asking import index, label
from tests.unit.service.tiny_model import IDS, served, tokens


def table(*units: str) -> ServedModel:
    model = served()[0]
    columns = InputDeclaration(
        "x", "tabular", "FP32", (-1, 3), features=("age", "height", "weight"), units=units
    )
    declaration = replace(model.loaded.declaration, inputs=(columns,))
    return replace(model, loaded=replace(model.loaded, declaration=declaration))


def read(model: ServedModel, rows: int = 2, **fields: Any) -> ParsedRequest:
    request = asking.explain(np.ones((rows, 3), np.float32), targets=[label("yes")], **fields)
    return asking.read(request, model)


def written(parsed: ParsedRequest) -> list[explanation_pb2.InputFeatures]:
    response = pb.ExplainResponse()
    input_features.write(response.features, parsed)
    return list(response.features)


def test_columns_are_named_once_for_all_examples() -> None:
    (found,) = written(read(table()))
    assert (found.input, list(found.names)) == ("x", ["age", "height", "weight"])
    assert not found.HasField("example")
    assert not found.units


def test_columns_have_their_units() -> None:
    (found,) = written(read(table("", "cm", "kg")))
    assert list(found.units) == ["", "cm", "kg"]


@pytest.mark.parametrize(("wanted", "count"), [(None, 1), (True, 1), (False, 0)])
def test_features_come_unless_they_are_not_wanted(wanted: bool | None, count: int) -> None:
    output = explain_spec_pb2.OutputOptions(return_features=wanted)
    assert len(written(read(table(), output=output))) == count


def test_an_input_without_names_has_none() -> None:
    assert written(read(served()[0])) == []


def test_attributions_at_a_layer_need_no_names() -> None:
    site = explain_spec_pb2.Site(layer="hidden")
    request = asking.explain(IDS.numpy(), targets=[index(1)], site=site)
    assert not input_features.are_wanted(asking.read(request, tokens()))


def test_tokens_are_named_for_each_text_with_their_places() -> None:
    parsed = read(served()[0])
    first = TokenisedText(("[CLS]", "a", "film"), (-1, 0, 2), (-1, 1, 6))
    second = TokenisedText(("good",), (0,), (4,))
    ids = torch.zeros(2, 3, dtype=torch.int64)
    texts = TokenisedTexts(ids, ids, ids.bool(), (first, second))
    found = written(replace(parsed, inputs=replace(parsed.inputs, texts=texts)))
    assert [each.example for each in found] == [0, 1]
    assert [list(each.names) for each in found] == [["[CLS]", "a", "film"], ["good"]]
    assert list(found[0].starts) == [-1, 0, 2]
    assert list(found[0].ends) == [-1, 1, 6]

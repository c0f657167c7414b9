"""Requests at the edges of what is allowed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from adcaptum.engine.errors import BudgetExceeded
from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.models.texts import TextReader
from adcaptum.service.requests import budgets, inputs
from adcaptum.service.requests.budgets import Budget
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.questions import baseline_reader, targets
from adcaptum.service.requests.reading import Reading
from adcaptum.v1 import explain_spec_pb2, tensor_pb2
from tests.unit.service import asking
from tests.unit.service.asking import every, index, method, tensor, typed
from tests.unit.service.tiny_model import served, tokens

READING = Reading(1000)


def read(model: ServedModel, values: NDArray[Any], **fields: Any) -> ParsedRequest:
    return asking.read(asking.explain(values, **fields), model, READING)


def refused(model: ServedModel, values: NDArray[Any], **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read(model, values, **fields)
    assert len(str(caught.value)) < 500
    return caught.value


ROWS = np.ones((2, 3), np.float32)
IDS = np.array([[1, 4, 10]])


@pytest.mark.parametrize("as_values", [False, True], ids=["data", "values"])
@pytest.mark.parametrize("shape", [(3,), (1, 3)])
def test_a_single_baseline_needs_no_batch(shape: tuple[int, ...], as_values: bool) -> None:
    row = np.full(shape, 0.5, np.float32)
    given = typed(*row.tolist()) if as_values else tensor(row)
    for kind in ("tensor", "distribution"):
        methods, baseline = [method("gradient_shap")], asking.baseline(kind, given)
        parsed = read(served()[0], ROWS, methods=methods, baselines=[baseline])
        assert parsed.parts[0].baselines.tensors[0].tolist() == [[0.5] * 3]
        given.shape[:] = shape


@pytest.mark.parametrize("constant", [1e308, -1e39])
def test_a_constant_that_the_input_cannot_hold_is_refused(constant: float) -> None:
    baseline = explain_spec_pb2.Baseline(constant=constant)
    error = refused(served()[0], ROWS, baselines=[baseline])
    assert error.violations[0].field == "spec.baselines[0].constant"
    assert "FP32" in str(error)


@pytest.mark.parametrize("constant", [0.5, 1e30, -(2.0**70)])
def test_a_constant_of_whole_numbers_is_one(constant: float) -> None:
    baseline = explain_spec_pb2.Baseline(constant=constant)
    error = refused(tokens(), IDS, baselines=[baseline])
    assert "whole number" in str(error)


def test_a_constant_at_a_layer_is_a_number_of_float32() -> None:
    start = explain_spec_pb2.Baseline(constant=1e300)
    site = explain_spec_pb2.Site(layer="middle", baselines=[start])
    error = refused(tokens(), IDS, site=site)
    assert error.violations[0].field == "spec.site.baselines[0].constant"


@pytest.mark.parametrize("wrong", [11, -1, 1 << 40])
def test_ids_beyond_the_embedding_are_refused_with_their_place(wrong: int) -> None:
    ids = np.array([[1, 4, 7], [2, wrong, 5]])
    error = refused(embedded(), ids)
    assert error.violations[0].field == "inputs[0]"
    assert f"{wrong} at element 4; must be from 0 to 10" in str(error)
    baseline = explain_spec_pb2.Baseline(tensor=tensor(ids))
    error = refused(embedded(), np.array([[1, 4, 7], [2, 4, 5]]), baselines=[baseline])
    assert error.violations[0].field == "spec.baselines[0].tensor"
    assert read(embedded(), IDS).inputs.count == 1


def test_a_constant_beyond_the_embedding_is_refused() -> None:
    error = refused(embedded(), IDS, baselines=[explain_spec_pb2.Baseline(constant=11)])
    assert "must be from 0 to 10" in str(error)


def embedded() -> ServedModel:
    model = tokens()
    loaded = model.loaded
    declared = replace(loaded.declaration.inputs[0], embedding="embedding")
    declaration = replace(loaded.declaration, inputs=(declared,))
    return replace(model, loaded=replace(loaded, declaration=declaration))


def single_output() -> ServedModel:
    model = served()[0]
    return replace(model, checks=replace(model.checks, output_shape=()))


@pytest.mark.parametrize(
    "target",
    [
        explain_spec_pb2.Target(),
        explain_spec_pb2.Target(argmax=explain_spec_pb2.Argmax()),
        explain_spec_pb2.Target(top_k=1),
        every(),
        index(),
    ],
    ids=["none", "argmax", "the largest", "all", "no index"],
)
def test_a_model_with_one_number_per_example_has_one_target(
    target: explain_spec_pb2.Target,
) -> None:
    for messages in ([], [target]):
        found = targets.read(messages, single_output())
        assert not found.needs_outputs
        (chosen,) = found.given(3, None)
        assert isinstance(chosen, torch.Tensor)
        assert chosen.shape == (3, 0)


def test_an_index_where_there_is_one_number_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidRequest, match="one number per example"):
        targets.read([index(0)], single_output())


def wide(*shape: int) -> ServedModel:
    model = served()[0]
    return replace(model, checks=replace(model.checks, output_shape=shape))


@pytest.mark.parametrize("kind", ["all", "top_k"])
def test_more_targets_than_a_request_has_are_refused(kind: str) -> None:
    target = explain_spec_pb2.Target(top_k=5000)
    if kind == "all":
        target.all.SetInParent()
    with pytest.raises(InvalidRequest, match="4096"):
        targets.read([target], wide(3, 1000, 1000))


def test_more_targets_than_explanations_are_refused_without_spreading_them() -> None:
    with pytest.raises(InvalidRequest, match="8192") as caught:
        targets.read([explain_spec_pb2.Target(top_k=4096)] * 1000, wide(5000))
    assert caught.value.violations[0].field == "spec.targets"


def test_more_explanations_than_a_request_has_are_refused() -> None:
    methods = [method("saliency")] * 32
    rows = np.ones((64, 3), np.float32)
    assert read(served()[0], rows, methods=methods, targets=[every()]).methods
    error = refused(wide(5), rows, methods=methods, targets=[every()])
    assert "10240 explanations" in str(error)


@pytest.mark.parametrize("tolerance", [5e-324, 1e-300, 1e-10])
def test_a_tolerance_that_no_number_can_meet_is_refused(tolerance: float) -> None:
    with pytest.raises(InvalidRequest, match="1e-09"):
        budgets.read(explain_spec_pb2.Budget(tolerance=tolerance), [], 100)


@pytest.mark.parametrize(
    ("needed", "allowed", "text"),
    [(800, 500, "5 of the 8 examples fit"), (800, 50, "not one example fits")],
)
def test_a_budget_that_is_too_small_says_how_many_examples_fit(
    needed: int, allowed: int, text: str
) -> None:
    error = budgets.too_few_rows(BudgetExceeded(needed, allowed), Budget(500), 8)
    assert error.violations[0].field == "spec.budget.max_rows"
    assert error.reason is Reason.BUDGET_TOO_SMALL
    assert text in str(error)
    assert "needs at least 800 rows" in str(error)


@pytest.mark.parametrize(
    "path",
    ["inputs", "spec.baselines", "spec.feature_masks", "spec.site.baselines",
     "spec.site.feature_masks"],
)  # fmt: skip
def test_more_tensors_than_any_model_takes_are_refused(path: str) -> None:
    request = asking.explain(IDS, methods=[method("feature_ablation")], targets=[index(1)])
    place: Any = request
    *outer, last = path.split(".")
    for name in outer:
        place = getattr(place, name)
    if "site" in path:
        request.spec.site.layer = "middle"
    for _ in range(65 - len(getattr(place, last))):
        getattr(place, last).add()
    with pytest.raises(InvalidRequest, match="65 of them; at most 64") as caught:
        asking.read(request, tokens(), READING)
    assert caught.value.violations[0].field == path
    assert caught.value.reason is Reason.REQUEST_TOO_LARGE


PHOTO = InputDeclaration("photo", "image", "FP32", (-1, 1, 9, 9))


@pytest.mark.parametrize("sigma", [5e-324, 1e-300, 1e-3])
def test_hardly_any_blur_leaves_an_image_as_it_is(sigma: float) -> None:
    image = torch.rand(2, 1, 9, 9)
    blurred = baseline_reader.blurred(image, sigma, PHOTO, "x", READING)
    torch.testing.assert_close(blurred, image)


def test_blur_is_a_convolution_with_the_edges_continued() -> None:
    image = torch.rand(1, 1, 9, 9)
    offsets = torch.arange(-6, 7)
    weights = torch.exp(-(offsets.double() ** 2) / (2 * 2.0**2))
    weights /= weights.sum()
    padded = torch.nn.functional.pad(image, (6, 6, 6, 6), mode="replicate")
    kernel = (weights[:, None] * weights).float().view(1, 1, 13, 13)
    expected = torch.nn.functional.conv2d(padded, kernel)
    torch.testing.assert_close(baseline_reader.blurred(image, 2.0, PHOTO, "x", READING), expected)


def test_texts_are_bounded_before_they_are_tokenised(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    Tokenizer(WordLevel({"[PAD]": 0}, unk_token="[PAD]")).save(str(path))
    declared = InputDeclaration(
        "text", "text", "INT64", (-1, -1), tokenizer=path, max_tokens=8, pad_token="[PAD]"
    )
    model = served()[0].loaded
    declaration = replace(model.declaration, inputs=(declared,))
    loaded = replace(model, declaration=declaration, text=TextReader(declared))
    size = READING.max_text_bytes + 1
    data = size.to_bytes(4, "little") + b"x" * size
    long = tensor_pb2.Tensor(datatype="BYTES", shape=[1], data=data)
    for message in (long, typed("x" * size)):
        with pytest.raises(InvalidRequest, match="at most 1048576"):
            inputs.read([message], loaded, READING)


def test_the_owner_of_a_server_chooses_how_long_texts_may_be(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    Tokenizer(WordLevel({"[PAD]": 0}, unk_token="[PAD]")).save(str(path))
    declared = InputDeclaration(
        "text", "text", "INT64", (-1, -1), tokenizer=path, max_tokens=8, pad_token="[PAD]"
    )
    model = served()[0].loaded
    declaration = replace(model.declaration, inputs=(declared,))
    loaded = replace(model, declaration=declaration, text=TextReader(declared))
    reading = Reading(1, max_text_bytes=10)
    with pytest.raises(InvalidRequest, match=r"texts of 11 bytes; at most 10 are allowed"):
        inputs.read([typed("x" * 11)], loaded, reading)
    # At the limit the text is read.
    read = inputs.read([typed("x" * 10)], loaded, reading)
    assert read.texts is not None
    assert read.count == 1

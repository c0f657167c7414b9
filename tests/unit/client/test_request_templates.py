"""Requests that are written from templates are the requests that were asked for."""

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from adcaptum.client import AsyncClient, Client, ExplainOptions, InvalidRequest, TopK
from adcaptum.client.codec.request_templates import MOST_BYTES, MOST_TEMPLATES, RequestTemplates
from adcaptum.client.codec.requests import explain_request, predict_request
from adcaptum.v1 import explanation_service_pb2
from tests.unit.client.canned_server import CannedServicer

ROW = np.array([[1, 2, 3]], np.float32)
SCALARS: dict[str, Any] = {
    "methods": st.sampled_from(["saliency", "lime"]),
    "targets": st.one_of(st.integers(0, 3), st.sampled_from(["all", "benign", "ümlaut"])),
    "version": st.just("1"),
    "preset": st.sampled_from(["default", "exact"]),
    "cache": st.sampled_from(["use", "bypass"]),
    "max_rows": st.integers(1, 2**31 - 1),
    "seed": st.integers(0, 2**40),
    "deterministic": st.booleans(),
    "return_outputs": st.booleans(),
    "baselines": st.sampled_from(["mean", 0]),
}
DTYPES = st.sampled_from(["f4", "f2", "i4", "u1", "?", ">f4"])


def learned(inputs: Any, options: Any, most: int = MOST_TEMPLATES) -> RequestTemplates:
    templates = RequestTemplates(most)
    templates.learn("cells", inputs, options, explain_request("cells", inputs, options))
    return templates


@settings(deadline=None, max_examples=200)
@given(
    options=st.dictionaries(st.sampled_from(sorted(SCALARS)), st.none(), max_size=6).flatmap(
        lambda chosen: st.fixed_dictionaries({name: SCALARS[name] for name in chosen})
    ),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    dtype=DTYPES,
    fortran=st.booleans(),
)
def test_a_request_from_a_template_is_the_request(
    options: Any, shape: list[int], dtype: str, fortran: bool
) -> None:
    first, second = (
        np.asarray(
            np.random.default_rng(seed).integers(0, 2, shape),
            dtype,
            order="F" if fortran else "C",
        )
        for seed in range(2)
    )
    written = learned(first, options).write("cells", second, options)
    assert written is not None
    decoded = explanation_service_pb2.ExplainRequest.FromString(written)
    assert decoded == explain_request("cells", second, cast("ExplainOptions", options))


def test_a_prediction_from_a_template_is_the_request() -> None:
    templates = RequestTemplates()
    options: Any = {"version": None, "alias": "stable", "max_labels": 2}
    templates.learn("cells", ROW, options, predict_request("cells", ROW, **options))
    written = templates.write("cells", ROW + 1, options)
    assert written is not None
    decoded = explanation_service_pb2.PredictRequest.FromString(written)
    assert decoded == predict_request("cells", ROW + 1, **options)


@pytest.mark.parametrize(
    ("model", "inputs", "options"),
    [
        ("digits", ROW, {"targets": 1}),
        ("cells", ROW.astype("f8"), {"targets": 1}),
        ("cells", np.concatenate([ROW, ROW]), {"targets": 1}),
        ("cells", ROW[0], {"targets": 1}),
        ("cells", ROW.tolist(), {"targets": 1}),
        ("cells", {"": ROW}, {"targets": 1}),
        ("cells", ROW, {"targets": True}),
        ("cells", ROW, {"targets": 1.0}),
        ("cells", ROW, {"targets": 2}),
        ("cells", ROW, {"targets": [1]}),
        ("cells", ROW, {"targets": np.array([1])}),
        ("cells", ROW, {"max_rows": 1}),
        ("cells", ROW, {"targets": 1, "seed": 0}),
        ("cells", ROW, {}),
    ],
)
def test_what_differs_in_anything_but_its_numbers_has_no_template(
    model: str, inputs: Any, options: Any
) -> None:
    templates = learned(ROW, {"targets": 1})
    assert templates.write("cells", ROW * 2, {"targets": 1}) is not None
    assert templates.write(model, inputs, options) is None


@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        (ROW, {"targets": TopK(2)}),
        (ROW, {"tolerance": 0.1}),
        (ROW, {"targets": [1]}),
        (np.zeros((0, 3), np.float32), {}),
        (np.array(["a text"], object), {}),
        (ROW, {"preset": "x" * MOST_BYTES}),
    ],
)
def test_what_is_not_plain_is_not_kept(inputs: Any, options: Any) -> None:
    assert learned(inputs, options).write("cells", inputs, options) is None


def test_templates_are_bounded() -> None:
    templates = RequestTemplates(2)
    for seed in range(5):
        options = cast("ExplainOptions", {"seed": seed})
        templates.learn("cells", ROW, options, explain_request("cells", ROW, options))
    kept = [seed for seed in range(5) if templates.write("cells", ROW, {"seed": seed})]
    assert kept == [4]
    assert learned(ROW, {}, most=0).write("cells", ROW, {}) is None


def test_the_second_call_asks_what_the_first_did(servicer: CannedServicer, client: Client) -> None:
    for factor in (1, 2):
        # Numpy's default datatype: the client converts it to the model's.
        rows = np.array([[1.0, 2.0, 3.0]]) * factor
        client.explain("cells", rows, targets=1, seed=3, request_id=f"id-{factor}")
        assert servicer.metadata["x-request-id"] == f"id-{factor}"
        client.predict("cells", rows, max_labels=1)
    assert servicer.rpcs == ["GetModel", "Explain", "Predict", "Explain", "Predict"]
    for first, second in ((1, 3), (2, 4)):
        earlier, later = servicer.asked[first][1], servicer.asked[second][1]
        assert _data(earlier) == (ROW * 1).tobytes()
        assert _data(later) == (ROW * 2).tobytes()
        assert _rest(earlier) == _rest(later)


async def test_the_second_call_of_an_asynchronous_client_asks_what_the_first_did(
    servicer: CannedServicer, async_client: AsyncClient
) -> None:
    for factor in (1, 2):
        answer = await async_client.explain("cells", ROW * factor, targets=1)
        assert answer.request_id == "id-2"
        assert (await async_client.predict("cells", ROW * factor)).labels == ("malignant",)
    asked = [request for _, request in servicer.asked]
    assert [_data(each) for each in asked] == [(ROW * n).tobytes() for n in (1, 1, 2, 2)]
    assert [_rest(each) for each in asked[:2]] == [_rest(each) for each in asked[2:]]


def test_an_option_that_is_wrong_is_refused_after_one_that_is_equal(client: Client) -> None:
    client.explain("cells", ROW, targets=1)
    with pytest.raises(InvalidRequest, match="True"):
        client.explain("cells", ROW, targets=True)


def _data(request: Any) -> bytes:
    data: bytes = request.inputs[0].data
    return data


def _rest(request: Any) -> Any:
    rest = type(request)()
    rest.CopyFrom(request)
    rest.inputs[0].ClearField("data")
    return rest

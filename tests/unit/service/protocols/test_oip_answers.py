"""Our own answers as replies of the Open Inference Protocol: their tensors, and what they lack."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.protocols.oip.answers import ExplanationReader, MethodFailed
from adcaptum.service.protocols.oip.values.infer_reply import InferReply
from adcaptum.service.protocols.oip.values.infer_request import InferRequest
from adcaptum.service.protocols.oip.values.tensor import OipTensor
from adcaptum.service.wire import tensors
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb, tensor_pb2

DTYPES = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "INT64": "<i8"}


def request(examples: int = 2, *outputs: str, **fields: Any) -> InferRequest:
    own = OipTensor("text", "BYTES", (examples,), b"")
    return InferRequest("m:explain:x", inputs=[own], outputs=outputs, **fields)


def tensor(*values: float, datatype: str = "FP32") -> tensor_pb2.Tensor:
    array = np.array(values, DTYPES[datatype])
    return tensor_pb2.Tensor(datatype=datatype, shape=array.shape, data=array.tobytes())


def explanation(
    example: int, *values: float, target: int = 0, name: str = "text", **fields: Any
) -> explanation_pb2.Explanation:
    own = explanation_pb2.Explanation(example=example, target=target, **fields)
    own.attributions.add(name=name, values=tensor(*values))
    return own


def result(
    *explanations: explanation_pb2.Explanation, method: str = "x", **fields: Any
) -> explanation_pb2.MethodResult:
    own = explanation_pb2.MethodResult(explanations=explanations, **fields)
    own.method.name = method
    return own


def read(reply: InferReply) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in reply.outputs:
        if each.datatype == "BYTES":
            items = [item.decode() for item in tensors.split(bytes(each.data))]
            found[each.name] = np.array(items, object).reshape(each.shape)
        else:
            array = np.frombuffer(each.data, DTYPES[each.datatype])
            found[each.name] = array.reshape(each.shape)
    return found


def test_texts_end_in_nan_where_others_go_on() -> None:
    answer = pb.ExplainResponse(
        results=[result(explanation(0, 1, 2), explanation(1, 3, 4, 5))],
        features=[
            explanation_pb2.InputFeatures(input="text", example=0, names=["a", "ö"]),
            explanation_pb2.InputFeatures(input="text", example=1, names=["c", "d", "e"]),
        ],
    )
    outputs = read(ExplanationReader(request()).result(answer))
    nan = np.nan
    assert_array_equal(outputs["attributions.text"], [[1, 2, nan], [3, 4, 5]])
    assert_array_equal(outputs["tokens.text"], [["a", "ö", ""], ["c", "d", "e"]])
    assert "target.output" not in outputs
    asked = request(2, "target.output")
    assert_array_equal(read(ExplanationReader(asked).result(answer))["target.output"], [nan, nan])
    assert_array_equal(outputs["target.label"], ["", ""])
    assert_array_equal(outputs["target.index"], [-1, -1])


def test_tokens_that_came_once_are_in_all_replies() -> None:
    reader = ExplanationReader(request(1))
    assert reader.progress(pb.Progress(results=[result()])) is None
    named = explanation_pb2.InputFeatures(input="text", example=0, names=["a"])
    one = reader.progress(pb.Progress(results=[result(explanation(0, 1))], features=[named]))
    two = reader.progress(pb.Progress(results=[result(explanation(0, 2))], rows_done=3))
    assert one is not None
    assert two is not None
    assert (one.is_final, two.parameters["rows_done"]) == (False, 3)
    for each in (one, two):
        assert_array_equal(read(each)["tokens.text"], [["a"]])


def test_several_targets_and_methods_are_told_apart() -> None:
    def of(method: str, scale: float) -> explanation_pb2.MethodResult:
        cells = [
            explanation(example, scale * example, target, target=target, index=[target, 7])
            for example in range(2)
            for target in range(3)
        ]
        return result(*cells, method=method, rows_used=5)

    answer = pb.ExplainResponse(results=[of("ig", 1), of("lime", 10), of("ig", 100)])
    reply = ExplanationReader(request()).result(answer)
    outputs = read(reply)
    for begin, scale in (("ig.", 1), ("lime.", 10), ("ig.2.", 100)):
        values = outputs[f"{begin}attributions.text"]
        assert values.shape == (2, 3, 2)
        assert_array_equal(values[1, :, 0], [scale] * 3)
        assert_array_equal(outputs[f"{begin}target.index"][0, 2], [2, 7])
        assert reply.parameters[f"{begin}rows_used"] == 5


def test_what_is_missing_on_the_way_is_nan() -> None:
    reader = ExplanationReader(request(2))
    reply = reader.progress(pb.Progress(results=[result(explanation(1, 5, output=3))]))
    assert reply is not None
    outputs = read(reply)
    assert_array_equal(outputs["attributions.text"], [[np.nan], [5]])
    assert_array_equal(outputs["target.output"], [np.nan, 3])


def test_the_largest_contributions_come_with_their_places() -> None:
    one, two = explanation(0, 9), explanation(1, 8)
    one.attributions[0].indices.append(4)
    two.attributions[0].indices.append(1)
    outputs = read(
        ExplanationReader(request()).result(pb.ExplainResponse(results=[result(one, two)]))
    )
    assert_array_equal(outputs["indices.text"], [[4], [1]])


def test_layers_and_pairs_have_names_of_their_own() -> None:
    layer = explanation(0, 1, name="encoder.0")
    layer.attributions.add(name="encoder.0", part=1, values=tensor(2))
    pairs = explanation_pb2.Explanation(example=0, target=0)
    pairs.interactions.features.extend(["a", "b"])
    values = np.arange(4, dtype="<f4").reshape(2, 2)
    pairs.interactions.values.MergeFrom(
        tensor_pb2.Tensor(datatype="FP32", shape=(2, 2), data=values.tobytes())
    )
    answer = pb.ExplainResponse(results=[result(layer), result(pairs, method="pairs")])
    outputs = read(ExplanationReader(request(1)).result(answer))
    assert_array_equal(outputs["x.layer_attributions"], [[1]])
    assert_array_equal(outputs["x.layer_attributions.1"], [[2]])
    assert_array_equal(outputs["pairs.interactions"], values[None])
    assert_array_equal(outputs["pairs.interactions.features"], [["a", "b"]])


def test_some_outputs_come_only_where_they_are_asked_for() -> None:
    cell = explanation(0, 1)
    cell.attributions[0].standard_errors.CopyFrom(tensor(0.5))
    answer = pb.ExplainResponse(results=[result(cell)], outputs=[tensor(3)])
    answer.outputs[0].name = "logits"
    assert not {"standard_errors.text", "prediction.logits"} & {
        *read(ExplanationReader(request(1)).result(answer))
    }
    wanted = request(1, "prediction.logits", "standard_errors.text")
    assert [*read(ExplanationReader(wanted).result(answer))] == [*wanted.outputs]
    with pytest.raises(InvalidRequest, match=r"outputs\[0\].name: the model has no output 'logit"):
        ExplanationReader(request(1, "logits")).result(answer)


def test_a_method_that_fails_beside_others_fails_the_request() -> None:
    failed = result(method="lime")
    failed.failure.code, failed.failure.reason = 3, "BUDGET_TOO_SMALL"
    failed.failure.message = "spec.budget.max_rows: 1; too few"
    answer = pb.ExplainResponse(results=[result(explanation(0, 1)), failed])
    with pytest.raises(MethodFailed, match="too few") as caught:
        ExplanationReader(request(1)).result(answer)
    assert caught.value.reason is Reason.BUDGET_TOO_SMALL

"""The key of a request: a digest of everything that decides its answer.

It is made of the request's own bytes, before anything is decoded: a request that was answered
before costs neither tokens nor pixels. The inputs after preprocessing follow from those bytes and
from the model's files, whose digest is in the key. Every field that may decide the answer is in
the key, also fields that were added later: at worst, equal requests are answered separately.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from adcaptum.service.wire.method_specs import ResolvedMethod
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb, model_pb2, tensor_pb2

_APART: Final = ("model", "inputs", "methods", "priority", "cache")
"""The fields that enter the key in another form, or do not change the answer, only its time."""

_WITH_DATA: Final = ("feature_masks", "baselines", "layer_baselines")
"""The other fields with data of tensors, which are not copied."""


def request_key(
    request: pb.ExplainRequest,
    identity: model_pb2.ModelIdentity,
    methods: Sequence[ResolvedMethod],
    *,
    small: bool,
) -> bytes:
    """Returns the key of a request.

    Args:
        request: The request.
        identity: The weights that answer, however the request names them.
        methods: The methods with every parameter, however many of them the request leaves out.
        small: Whether the request is small: copying all of it is then the fastest. The key is
            another one.
    """
    asked = pb.ExplainRequest()
    digest = hashlib.blake2b(digest_size=32)
    if small:
        asked.CopyFrom(request)
    else:
        _copy_without_data(request, asked)
        _add_data(digest, request)
    for name in _APART:
        asked.ClearField(name)
    asked.methods.extend([each.spec for each in methods])
    if asked.HasField("budget"):
        asked.budget.ClearField("on_deadline")
    for part in (identity, asked):
        _add(digest, part.SerializeToString(deterministic=True))
    for each in request.inputs:
        _add_tensor(digest, "input", each)
    return digest.digest()


def _copy_without_data(request: pb.ExplainRequest, into: pb.ExplainRequest) -> None:
    for field, value in request.ListFields():
        if field.name in _APART or field.name in _WITH_DATA:
            continue
        if field.type == field.TYPE_MESSAGE:
            getattr(into, field.name).CopyFrom(value)
        else:
            setattr(into, field.name, value)


def _add_data(digest: "hashlib.blake2b", request: pb.ExplainRequest) -> None:
    for mask in request.feature_masks:
        _add_tensor(digest, "mask", mask)
    for place in ("baselines", "layer_baselines"):
        for baseline in getattr(request, place):
            _add_baseline(digest, place, baseline)


def _add_baseline(
    digest: "hashlib.blake2b", place: str, baseline: explanation_pb2.Baseline
) -> None:
    if baseline.WhichOneof("kind") == "tensor":
        _add_tensor(digest, f"{place} {baseline.input!r}", baseline.tensor)
    else:
        _add(digest, place.encode())
        _add(digest, baseline.SerializeToString(deterministic=True))


def _add_tensor(digest: "hashlib.blake2b", what: str, tensor: tensor_pb2.Tensor) -> None:
    _add(digest, f"{what} {tensor.name!r} {tensor.datatype!r} {[*tensor.shape]}".encode())
    _add(digest, tensor.data)


def _add(digest: "hashlib.blake2b", part: bytes) -> None:
    # With its length, so that nothing can move from one part to the next.
    digest.update(len(part).to_bytes(8))
    digest.update(part)

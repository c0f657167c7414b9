"""When requests ask the same: a key of everything that decides the answer.

It is made of the request's own bytes, before anything is decoded: a request that was answered
before costs neither tokens nor pixels, and the inputs after preprocessing follow from those bytes
and from the model's files, whose digest is in the key. Whatever is not known to be without
influence is in the key, also fields that were added later: at worst requests that are alike are
answered each by itself.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from adcaptum.service.wire.method_specs import ResolvedMethod
from adcaptum.v1 import explanation_service_pb2 as pb, model_pb2

_APART: Final = ("model", "inputs", "methods", "priority", "cache")
"""What is told otherwise, or does not change what the answer is: when and for whom it is made."""

_SMALL: Final = 1 << 14
"""Up to how many bytes inputs are copied: field by field it costs more, but only the fields."""


def request_key(
    request: pb.ExplainRequest,
    identity: model_pb2.ModelIdentity,
    methods: Sequence[ResolvedMethod],
) -> bytes:
    """Returns the key of a request.

    Args:
        request: What is asked.
        identity: The weights that answer, however the request names them.
        methods: The methods with every parameter, however many of them the request leaves out.
    """
    asked = pb.ExplainRequest()
    if sum([len(each.data) for each in request.inputs]) <= _SMALL:
        asked.CopyFrom(request)
    else:
        for field, value in request.ListFields():
            if field.name not in _APART and field.type == field.TYPE_MESSAGE:
                # Of one message, or of several.
                getattr(asked, field.name).MergeFrom(value)
            elif field.name not in _APART:
                setattr(asked, field.name, value)
    for name in _APART:
        asked.ClearField(name)
    asked.methods.extend([each.spec for each in methods])
    if asked.HasField("budget"):
        asked.budget.ClearField("on_deadline")
    digest = hashlib.blake2b(digest_size=32)
    for part in (identity, asked):
        _add(digest, part.SerializeToString(deterministic=True))
    for each in request.inputs:
        _add(digest, f"{each.name!r} {each.datatype!r} {[*each.shape]}".encode())
        _add(digest, each.data)
    return digest.digest()


def _add(digest: "hashlib.blake2b", part: bytes) -> None:
    # With its length, so that nothing can move from one part to the next.
    digest.update(len(part).to_bytes(8))
    digest.update(part)

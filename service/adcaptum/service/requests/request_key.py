"""The key of a request: a digest of everything that decides its answer.

It is made of the request's own bytes, before anything is decoded: a request that was answered
before costs neither tokens nor pixels. The inputs after preprocessing follow from those bytes and
from the model's files, whose digest is in the key. The question is in it as a whole, resolved:
whichever preset it comes from. Who asks for it, how it runs and until when are not.
"""

import hashlib

from adcaptum.service.requests.questions.question import Question, has_tensors
from adcaptum.v1 import (
    explain_spec_pb2,
    explanation_service_pb2 as pb,
    model_pb2,
    tensor_pb2,
)


def request_key(
    request: pb.ExplainRequest, identity: model_pb2.ModelIdentity, question: Question
) -> bytes:
    """Returns the key of a request.

    Args:
        request: The request.
        identity: The weights that answer, however the request names them.
        question: Its question, resolved.
    """
    digest = hashlib.blake2b(digest_size=32)
    _add(digest, identity.SerializeToString(deterministic=True))
    _add(digest, question.digest)
    spec = question.spec
    if has_tensors(spec):
        for baseline in spec.baselines:
            _add_baseline(digest, "baseline", baseline)
        for mask in spec.feature_masks:
            _add_mask(digest, "mask", mask)
        for baseline in spec.site.baselines:
            _add_baseline(digest, "layer's baseline", baseline)
        for mask in spec.site.feature_masks:
            _add_mask(digest, "layer's mask", mask)
    for each in request.inputs:
        _add_tensor(digest, "input", each)
    return digest.digest()


def _add_baseline(
    digest: "hashlib.blake2b", what: str, baseline: explain_spec_pb2.Baseline
) -> None:
    kind = baseline.WhichOneof("kind")
    if kind == "tensor":
        _add_tensor(digest, f"{what} {baseline.input!r} tensor", baseline.tensor)
    elif kind == "distribution":
        _add_tensor(digest, f"{what} {baseline.input!r} distribution", baseline.distribution)
    else:
        _add(digest, what.encode())
        _add(digest, baseline.SerializeToString(deterministic=True))


def _add_mask(digest: "hashlib.blake2b", what: str, mask: explain_spec_pb2.FeatureMask) -> None:
    if mask.WhichOneof("kind") == "tensor":
        _add_tensor(digest, f"{what} {mask.input!r} {[*mask.names]!r}", mask.tensor)
    else:
        _add(digest, what.encode())
        _add(digest, mask.SerializeToString(deterministic=True))


def _add_tensor(digest: "hashlib.blake2b", what: str, tensor: tensor_pb2.Tensor) -> None:
    # The form is in the key: tensors come back in the form in which the inputs came.
    form = tensor.WhichOneof("contents")
    head = f"{what} {form} {tensor.name!r} {tensor.datatype!r} {[*tensor.shape]}"
    _add(digest, head.encode())
    if form == "values":
        _add(digest, tensor.values.SerializeToString(deterministic=True))
    else:
        _add(digest, tensor.data)


def _add(digest: "hashlib.blake2b", part: bytes) -> None:
    # With its length, so that nothing can move from one part to the next.
    digest.update(len(part).to_bytes(8))
    digest.update(part)

"""When requests ask the same: a key of everything that decides the answer.

It is made of the request's own bytes, before anything is decoded: a request that was answered
before costs neither tokens nor pixels, and the inputs after preprocessing follow from those bytes
and from the model's files, whose digest is in the key. Whatever is not known to be without
influence is in the key, also fields that were added later: at worst requests that are alike are
answered each by itself.
"""

import hashlib
from collections.abc import Sequence

from adcaptum.service.method_specs import ResolvedMethod
from adcaptum.v1 import explanation_service_pb2 as pb, model_pb2


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
    asked.CopyFrom(request)
    # When and for whom it is computed does not change what it is.
    for field in ("model", "methods", "priority", "cache"):
        asked.ClearField(field)
    if asked.HasField("budget"):
        asked.budget.ClearField("on_deadline")
    asked.methods.extend([each.spec for each in methods])
    who = identity.SerializeToString(deterministic=True)
    digest = hashlib.blake2b(len(who).to_bytes(4), digest_size=32)
    digest.update(who)
    digest.update(asked.SerializeToString(deterministic=True))
    return digest.digest()

"""Replies to requests for predictions and explanations, whatever form they go out in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adcaptum.service.protocols.oip.values.infer_request import Parameter
from adcaptum.service.protocols.oip.values.tensor import OipTensor


@dataclass(frozen=True, slots=True)
class InferReply:
    """A reply.

    Attributes:
        model_name: The model, as the request names it.
        model_version: The version that answered.
        id: The request's own id.
        parameters: Facts about the answer by name.
        outputs: The outputs.
        is_final: False for what is known on the way.
    """

    model_name: str
    model_version: str
    id: str
    parameters: Mapping[str, Parameter]
    outputs: Sequence[OipTensor]
    is_final: bool = True

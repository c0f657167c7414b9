"""Requests for predictions and explanations, whatever form they come in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from adcaptum.service.protocols.oip.values.tensor import OipTensor

Parameter: TypeAlias = "bool | int | float | str"


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request.

    Attributes:
        model_name: The model; a virtual one explains.
        model_version: Its version, or an alias after `@`; empty for the default version.
        id: The caller's id of the request; comes back with the reply.
        parameters: Options by name.
        inputs: The inputs.
        outputs: The names of the outputs to return; empty for the usual ones.
    """

    model_name: str
    model_version: str = ""
    id: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    inputs: Sequence[OipTensor] = ()
    outputs: Sequence[str] = ()

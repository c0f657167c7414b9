"""Pieces of a request, each of which the engine explains in one flow."""

from dataclasses import dataclass

from torch import Tensor

from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.questions.baselines import Baselines


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Examples that are explained together: all of a request's, or one alone.

    Attributes:
        first: The index of the first of them in the request.
        inputs: Their inputs.
        baselines: The baselines of the inputs.
        starts: The baselines of the layer's values; None: the layer's values at `baselines`.
    """

    first: int
    inputs: Inputs
    baselines: Baselines
    starts: Baselines | None


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One method, one target, one part: the work of one flow.

    Attributes:
        method: The method's index in the request.
        target: The target's index, with `top_k` and `all` spread out.
        indices: The explained output of each example, `(examples, dims)`; without dimensions for
            a neuron, and for models that give one number per example.
        part: The examples.
        explicand: The piece as the engine's explicand.
    """

    method: int
    target: int
    indices: Tensor
    part: Part
    explicand: Explicand

"""The engine: attribution methods as flows of evaluations, and what runs them.

`evaluation`, `rows`, `reduce`, `explicand`, `attribution` and `flow` are the vocabulary; `methods`
and the mathematics speak it; `packing`, `hooks`, `evaluator` and `driver` run it; `scheduler`
decides what runs next.
"""

from adcaptum.engine.errors import (
    BudgetExceeded,
    EngineError,
    InvalidArgument,
    ModelError,
    NotDifferentiable,
    NotPerRow,
    OutOfRange,
    UncoveredOperations,
)
from adcaptum.engine.execution.driver import explain, run
from adcaptum.engine.execution.reference_cache import ReferenceMemory
from adcaptum.engine.methods import METHODS
from adcaptum.engine.vocabulary.arguments import PerExample, Shared
from adcaptum.engine.vocabulary.attribution import Attribution, ErrorKind, StopReason
from adcaptum.engine.vocabulary.evaluation import (
    INPUT,
    Evaluation,
    EveryOutput,
    Neuron,
    Output,
    Patch,
    Reading,
    Site,
)
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, Progress, ask, gather

__all__ = [
    "INPUT",
    "METHODS",
    "Attribution",
    "BudgetExceeded",
    "EngineError",
    "ErrorKind",
    "Evaluation",
    "EveryOutput",
    "Explicand",
    "Flow",
    "InvalidArgument",
    "ModelError",
    "Neuron",
    "NotDifferentiable",
    "NotPerRow",
    "OutOfRange",
    "Output",
    "Patch",
    "PerExample",
    "Progress",
    "Reading",
    "ReferenceMemory",
    "Shared",
    "Site",
    "StopReason",
    "UncoveredOperations",
    "ask",
    "explain",
    "gather",
    "run",
]

"""The engine: attribution methods as flows of evaluations, and the code that runs them.

Methods and their mathematics (`methods`, `games`, `sampling`) speak the `vocabulary`: explicands,
evaluations, rows. `execution` runs flows on a model, `rules` replace the chain rule for a batch,
and `scheduling` decides which rows run next.
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
from adcaptum.engine.execution.references.reference_cache import ReferenceMemory
from adcaptum.engine.methods import METHODS
from adcaptum.engine.vocabulary.arguments import PerExample, Shared
from adcaptum.engine.vocabulary.attribution import Attribution, StopReason
from adcaptum.engine.vocabulary.evaluation import Evaluation, Patch, Reading
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, Progress, ask, gather
from adcaptum.engine.vocabulary.method import Method, Traits
from adcaptum.engine.vocabulary.parameters import parameter
from adcaptum.engine.vocabulary.site import INPUT, Site
from adcaptum.engine.vocabulary.target import EveryOutput, Neuron, Output

__all__ = [
    "INPUT",
    "METHODS",
    "Attribution",
    "BudgetExceeded",
    "EngineError",
    "Evaluation",
    "EveryOutput",
    "Explicand",
    "Flow",
    "InvalidArgument",
    "Method",
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
    "Traits",
    "UncoveredOperations",
    "ask",
    "explain",
    "gather",
    "parameter",
    "run",
]

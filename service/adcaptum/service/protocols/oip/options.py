"""Options of a request -> the parts of our own request that they set."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from types import MappingProxyType
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value

from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.nearest import did_you_mean, shortened
from adcaptum.service.protocols.oip.values.infer_request import Parameter
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb

EXPLAIN: Final = "explain"
"""The option that explains on a model's own name: a method or a preset."""

FIRST_PRIORITY: Final = 1
"""The priority that comes before all others; 0 stands for it, too."""

MOST_JSON: Final = 4096
"""The longest parameter of a method that is written in JSON."""

MOST_WHOLE: Final = (1 << 63) - 1
MOST_INDEX: Final = (1 << 31) - 1
MOST_NUMBER: Final = 1e300

UNASKED: Final = frozenset({"triton_enable_empty_final_response", "binary_data_output"})
"""Parameters that clients send unasked: the last reply of a stream is always marked, and outputs
are in the form of the protocol that asks."""

BUDGET: Final = frozenset({"tolerance", "max_rows"})
OUTPUT: Final = frozenset({"channel_reduction", "datatype"})
PARTS: Final = MappingProxyType({"budget": BUDGET, "output": OUTPUT})
"""The options that are values of a part of a preset, by that part; the others of it stay."""

REDUCTIONS: Final = {
    "none": explain_spec_pb2.CHANNEL_REDUCTION_NONE,
    "sum": explain_spec_pb2.CHANNEL_REDUCTION_SUM,
}
ON_DEADLINE: Final = {"fail": pb.ON_DEADLINE_FAIL, "partial": pb.ON_DEADLINE_PARTIAL}
CACHE: Final = {"use": pb.CACHE_POLICY_USE, "bypass": pb.CACHE_POLICY_BYPASS}


@dataclass(slots=True)
class Asked:
    """The parts of our own request that options set.

    Attributes:
        request: The request without model, inputs and what the method's parameters need.
        timeout: The seconds within which the answer is due; None for no limit.
        method_parameters: The parameters of the method.
        parts: The parts of the question in which options set single values.
    """

    request: pb.ExplainRequest = field(default_factory=pb.ExplainRequest)
    timeout: float | None = None
    method_parameters: dict[str, Value] = field(default_factory=dict)
    parts: frozenset[str] = frozenset()


def prediction_timeout(parameters: Mapping[str, Parameter]) -> float | None:
    """Reads the options of a prediction; returns the seconds within which it is due.

    Raises:
        InvalidRequest: One is unknown, or has a value that is not allowed.
    """
    asked = Asked()
    for name, value in parameters.items():
        if name in UNASKED:
            continue
        if name not in ALWAYS:
            raise unknown(name, (EXPLAIN, *ALWAYS))
        ALWAYS[name](asked, name, value)
    return asked.timeout


def explanation(parameters: Mapping[str, Parameter]) -> Asked:
    """Reads the options of an explanation but for `EXPLAIN`.

    Raises:
        InvalidRequest: One has a value that is not allowed.
    """
    asked = Asked()
    for name, value in parameters.items():
        if name in UNASKED or name == EXPLAIN:
            continue
        read = ALWAYS.get(name) or EXPLANATIONS.get(name)
        if read is None:
            asked.method_parameters[name] = method_parameter(name, value)
        else:
            read(asked, name, value)
    asked.parts = frozenset(part for part, names in PARTS.items() if names & parameters.keys())
    return asked


def unknown(name: str, known: tuple[str, ...]) -> InvalidRequest:
    """Returns the error of an option that there is not."""
    return InvalidRequest(
        f"parameters.{shortened(name)[1:-1]}",
        f"there is no such option. {did_you_mean(name, known)}",
        reason=Reason.FIELD_UNKNOWN,
    )


def method_parameter(name: str, value: Parameter) -> Value:
    """Returns a parameter of a method; lists and methods inside it are written in JSON.

    Raises:
        InvalidRequest: It is too long, or no JSON.
    """
    found = Value()
    if isinstance(value, bool):
        found.bool_value = value
    elif isinstance(value, int | float):
        found.number_value = _number(name, value)
    elif value[:1] in ("[", "{"):
        if len(value) > MOST_JSON:
            raise _wrong(name, value, f"JSON of at most {MOST_JSON} characters")
        try:
            json_format.Parse(value, found, max_recursion_depth=20)
        except (json_format.ParseError, ValueError, RecursionError) as error:
            raise _wrong(name, value, "JSON") from error
    else:
        found.string_value = value
    return found


def _priority(asked: Asked, name: str, value: Parameter) -> None:
    level = _whole(name, value, 0, MOST_WHOLE)
    if level > FIRST_PRIORITY:
        asked.request.priority = pb.PRIORITY_BATCH


def _timeout(asked: Asked, name: str, value: Parameter) -> None:
    microseconds = _whole(name, value, 0, MOST_WHOLE)
    asked.timeout = microseconds / 1e6 if microseconds else None


def _target(asked: Asked, name: str, value: Parameter) -> None:
    if asked.request.spec.targets:
        raise InvalidRequest(f"parameters.{name}", "beside top_k; only one of them is allowed")
    target = asked.request.spec.targets.add()
    if not isinstance(value, str):
        target.index.values.append(_whole(name, value, 0, MOST_INDEX))
    elif value.startswith("["):
        target.index.values.extend(_indices(name, value))
    else:
        target.label = value


def _indices(name: str, value: str) -> list[int]:
    allowed = "a list of whole numbers, the index of an output"
    try:
        found = json.loads(value) if len(value) <= MOST_JSON else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise _wrong(name, value, allowed)
    if not all(type(each) is int and 0 <= each <= MOST_INDEX for each in found):
        raise _wrong(name, value, allowed)
    return found


def _top_k(asked: Asked, name: str, value: Parameter) -> None:
    if asked.request.spec.targets:
        raise InvalidRequest(f"parameters.{name}", "beside target; only one of them is allowed")
    asked.request.spec.targets.add(top_k=_whole(name, value, 1, MOST_INDEX))


def _baseline(asked: Asked, name: str, value: Parameter) -> None:
    baseline = asked.request.spec.baselines.add()
    if isinstance(value, str):
        baseline.named = value
    else:
        baseline.constant = _number(name, value)


def _layer(asked: Asked, name: str, value: Parameter) -> None:
    if not isinstance(value, str):
        raise _wrong(name, value, "the name or alias of a layer")
    asked.request.spec.site.layer = value


def _at_input(asked: Asked, name: str, value: Parameter) -> None:
    asked.request.spec.site.at_input = _flag(name, value)


def _tolerance(asked: Asked, name: str, value: Parameter) -> None:
    asked.request.spec.budget.tolerance = _number(name, value)


def _max_rows(asked: Asked, name: str, value: Parameter) -> None:
    asked.request.spec.budget.max_rows = _whole(name, value, 1, MOST_INDEX)


def _channel_reduction(asked: Asked, name: str, value: Parameter) -> None:
    asked.request.spec.output.channel_reduction = _choice(name, value, REDUCTIONS)


def _datatype(asked: Asked, name: str, value: Parameter) -> None:
    if not isinstance(value, str):
        raise _wrong(name, value, "FP32, FP64 or FP16")
    asked.request.spec.output.datatype = value


def _seed(asked: Asked, name: str, value: Parameter) -> None:
    asked.request.spec.seed = _whole(name, value, 0, MOST_WHOLE)


def _deterministic(asked: Asked, name: str, value: Parameter) -> None:
    asked.request.spec.deterministic = _flag(name, value)


def _on_deadline(asked: Asked, name: str, value: Parameter) -> None:
    asked.request.on_deadline = _choice(name, value, ON_DEADLINE)


def _cache(asked: Asked, name: str, value: Parameter) -> None:
    asked.request.cache = _choice(name, value, CACHE)


def _whole(name: str, value: Parameter, least: int, most: int) -> int:
    # JSON and some clients have whole numbers as floats.
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(whole, bool) or not isinstance(whole, int) or not least <= whole <= most:
        raise _wrong(name, value, f"a whole number from {least} to {most}")
    return whole


def _number(name: str, value: Parameter) -> float:
    if isinstance(value, bool | str) or abs(value) > MOST_NUMBER or not isfinite(value):
        raise _wrong(name, value, "a finite number")
    return float(value)


def _flag(name: str, value: Parameter) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def _choice(name: str, value: Parameter, choices: Mapping[str, Any]) -> Any:
    if not isinstance(value, str) or value not in choices:
        raise _wrong(name, value, " or ".join(choices))
    return choices[value]


def _wrong(name: str, value: Parameter, allowed: str) -> InvalidRequest:
    field_path = f"parameters.{shortened(name)[1:-1]}"
    return InvalidRequest(field_path, f"{shortened(value)}; must be {allowed}")


Read = Callable[[Asked, str, Parameter], None]

ALWAYS: Final[Mapping[str, Read]] = MappingProxyType({"priority": _priority, "timeout": _timeout})
"""The options of predictions and explanations."""

EXPLANATIONS: Final[Mapping[str, Read]] = MappingProxyType(
    {
        "target": _target,
        "top_k": _top_k,
        "baseline": _baseline,
        "layer": _layer,
        "at_input": _at_input,
        "tolerance": _tolerance,
        "max_rows": _max_rows,
        "channel_reduction": _channel_reduction,
        "datatype": _datatype,
        "seed": _seed,
        "deterministic": _deterministic,
        "on_deadline": _on_deadline,
        "cache": _cache,
    }
)
"""The options of explanations; no parameter of a method has such a name."""

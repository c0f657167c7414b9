"""A declaration found out from a module and its examples."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from adcaptum.service.authoring.errors import AuthoringError
from adcaptum.service.wire.tensors import NAMES

MOST_EXAMPLES: Final = 32
"""The most rows of examples that are kept."""

SUM_TOLERANCE: Final = 1e-3
"""The distance from 1 of the sum of an output's numbers that are taken for probabilities."""

EXAMPLES: Final = "examples.safetensors"
"""The file of examples in a model's folder."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A declaration found out from a module and its examples.

    Attributes:
        inputs: `[[inputs]]` of `model.toml`.
        outputs: `[[outputs]]`.
        examples: Rows of examples by input.
    """

    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    examples: dict[str, Tensor]

    @classmethod
    def of(
        cls,
        module: nn.Module,
        examples: Mapping[str, Tensor] | Sequence[Tensor],
        labels: Sequence[str] = (),
    ) -> "Draft":
        """Runs a module on its examples.

        Args:
            module: The module.
            examples: The arguments of its forward method, each `(rows, ...)`, by name or in order.
            labels: The classes of the first output.

        Raises:
            AuthoringError: The examples are not such arguments, or the output is no tensor with
                the batch first.
        """
        rows = _named(module, examples)
        rows = {name: _fitting(tensor, module) for name, tensor in rows.items()}
        outputs = [_output(*each, labels) for each in _outputs(module, rows)]
        return cls(
            inputs=[_input(name, each, module) for name, each in rows.items()],
            outputs=outputs,
            examples={name: tensor[:MOST_EXAMPLES].contiguous() for name, tensor in rows.items()},
        )

    def configuration(self) -> dict[str, Any]:
        """Returns the tables of `model.toml`."""
        return {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "examples": {"file": EXAMPLES},
        }

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """Returns the tensors of the files beside it, by file and key."""
        return {EXAMPLES: self.examples}


def parameter_names(module: nn.Module, count: int) -> list[str]:
    """Returns the names of the first arguments of the forward method."""
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = [
        each.name
        for each in parameters
        if each.kind in {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    ]
    if len(plain) >= count:
        return plain[:count]
    return ["input"] if count == 1 else [f"input_{index}" for index in range(count)]


def _named(
    module: nn.Module, examples: Mapping[str, Tensor] | Sequence[Tensor]
) -> dict[str, Tensor]:
    if not examples:
        raise AuthoringError("there are no examples")
    names = parameter_names(module, len(examples))
    given = examples if isinstance(examples, Mapping) else dict(zip(names, examples, strict=True))
    for name, tensor in given.items():
        if tensor.ndim == 0 or len(tensor) == 0:
            raise AuthoringError(
                f"example {name!r} has the shape {list(tensor.shape)}; its first dimension must be "
                "the batch, of at least 1"
            )
        if tensor.dtype not in NAMES:
            known = ", ".join(map(str, NAMES))
            raise AuthoringError(f"example {name!r} is of {tensor.dtype}; must be one of {known}")
    if len({len(tensor) for tensor in given.values()}) > 1:
        counts = ", ".join(f"{name!r} {len(tensor)}" for name, tensor in given.items())
        raise AuthoringError(f"the examples have different numbers of rows: {counts}")
    if set(given) == set(names):
        return {name: given[name] for name in names}
    return dict(given)


def _fitting(tensor: Tensor, module: nn.Module) -> Tensor:
    """Returns floating-point numbers in the dtype of the weights: NumPy's are float64."""
    tensor = tensor.detach().cpu()
    weight = next((each for each in module.parameters() if each.is_floating_point()), None)
    wanted = torch.float32 if weight is None else weight.dtype
    return tensor.to(wanted) if tensor.dtype == torch.float64 else tensor


def _outputs(module: nn.Module, rows: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    count = len(next(iter(rows.values())))
    output = _run(module, rows)
    found: list[tuple[str, object]]
    if isinstance(output, Tensor):
        found = [("output", output)]
    elif isinstance(output, Mapping):
        found = list(output.items())
    elif isinstance(output, list | tuple):
        found = [(f"output_{index}", each) for index, each in enumerate(output)]
    else:
        found = []
    tensors = [(str(name), each) for name, each in found if isinstance(each, Tensor)]
    if not tensors or len(tensors) < len(found):
        raise AuthoringError(
            f"forward returned {type(output).__name__}; must return a tensor, or several"
        )
    for name, each in tensors:
        if each.ndim == 0 or len(each) != count:
            raise AuthoringError(
                f"{name} has the shape {list(each.shape)} for {count} rows; its first dimension "
                "must be the batch"
            )
        if not each.is_floating_point() or each.dtype not in NAMES:
            raise AuthoringError(f"{name} is of {each.dtype}; must be floating-point numbers")
    return tensors


def _run(module: nn.Module, rows: Mapping[str, Tensor]) -> object:
    given = ", ".join(f"{name} ({t.dtype} {list(t.shape)})" for name, t in rows.items())
    weight = next(module.parameters(), torch.empty(0))
    with torch.no_grad():
        try:
            return module(*(tensor.to(weight.device) for tensor in rows.values()))
        except Exception as error:  # the model is others' code
            raise AuthoringError(
                f"forward raised {type(error).__name__}: {error}. Its arguments were {given}, the "
                "first dimension being the batch"
            ) from error


def _input(name: str, rows: Tensor, module: nn.Module) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": name}
    if rows.is_floating_point():
        if rows.ndim == 2:
            declared["kind"] = "tabular"
        elif rows.ndim == 4 and rows.shape[1] in {1, 3}:
            declared["kind"] = "image"
    if rows.dtype != torch.float32:
        declared["datatype"] = NAMES[rows.dtype]
    declared["shape"] = [-1, *rows.shape[1:]]
    if not rows.is_floating_point():
        table = (name for name, part in module.named_modules() if isinstance(part, nn.Embedding))
        if (found := next(table, "")) != "":
            declared["embedding"] = found
    return declared


def _output(name: str, rows: Tensor, labels: Sequence[str]) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": name}
    if rows.dtype != torch.float32:
        declared["datatype"] = NAMES[rows.dtype]
    declared["shape"] = [-1, *rows.shape[1:]]
    classes = rows.ndim == 2 and rows.shape[1] > 1
    sums = rows.double().sum(1) if classes else None
    if sums is not None and bool((rows >= 0).all() & ((sums - 1).abs() < SUM_TOLERANCE).all()):
        declared["kind"] = "probabilities"
    elif labels:
        declared["kind"] = "logits"
    if labels:
        if not classes or rows.shape[1] != len(labels):
            raise AuthoringError(
                f"{name} has the shape {declared['shape']}, and there are {len(labels)} labels: "
                "must be one for each class"
            )
        declared["labels"] = list(labels)
    return declared

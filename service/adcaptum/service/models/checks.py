"""Facts about a model that its examples reveal before it serves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from types import MappingProxyType

import torch
from torch import Tensor, nn

from adcaptum.engine.errors import ModelError
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.execution.taps import layer_shapes
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.arguments import Arguments, PerExample
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation, Output, Site
from adcaptum.service import logs
from adcaptum.service.device.float32 import evaluate
from adcaptum.service.models import entrances
from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.models.failure_reason import ModelFailure, failure_reason, without_paths
from adcaptum.service.models.loading import LoadedModel


@dataclass(frozen=True, slots=True)
class Checks:
    """Facts about a model.

    Attributes:
        independent: Whether a row's output does not depend on the rows beside it, and evaluating
            it leaves no trace in the model.
        dependence: The reason why not; empty if it is independent.
        differentiable: Whether gradients of the output reach the inputs, or the embedding.
        obstacle: The reason why not; empty if it is differentiable.
        output_shape: The shape of the first output without the batch.
        layer_shapes: The shapes of the tensors at each site for the first example.
    """

    independent: bool
    dependence: str
    differentiable: bool
    obstacle: str
    output_shape: tuple[int, ...]
    layer_shapes: Mapping[Site, tuple[tuple[int, ...], ...]]

    def output_bytes(self, examples: int) -> int:
        """Returns the memory of the outputs of some examples, in float32."""
        return torch.float32.itemsize * examples * prod(self.output_shape)


def check(model: LoadedModel) -> Checks:
    """Runs the model on its examples, alone and together.

    Raises:
        DeclarationError: The output has another shape than `model.toml` declares, or is NaN.
        ModelFailure: It cannot take its examples, so that it cannot serve.
    """
    before = {name: buffer.clone() for name, buffer in model.module.named_buffers()}
    first = [rows[:1] for rows in model.examples]
    try:
        shapes = layer_shapes(model.module, lambda: outputs(model, first))
    except Exception as error:
        raise ModelFailure(f"{failure_reason(error)}. {_given(model, first)}") from error
    together = outputs(model, model.examples)
    _check_output(model, together)
    dependence = _dependence(model, together) or _trace(model.module, before)
    obstacle = _obstacle(model, together)
    return Checks(
        independent=not dependence,
        dependence=dependence,
        differentiable=not obstacle,
        obstacle=obstacle,
        output_shape=tuple(together.shape[1:]),
        layer_shapes=MappingProxyType(shapes),
    )


def example_evaluation(model: LoadedModel, rows: Sequence[Tensor], *, gradient: bool) -> Evaluation:
    """Returns the evaluation of the outputs at `rows`, or of the gradient of the first output.

    Args:
        model: The model.
        rows: Arguments of its forward method, each `(rows, ...)`.
        gradient: Whether to differentiate.
    """
    explained, further = tuple(rows), Arguments()
    if model.text is not None:
        explained, further = tuple(rows[:-1]), Arguments((PerExample(rows[-1]),))
    if not gradient:
        return Evaluation(Given(explained), arguments=further)
    at = entrances.site(model.declaration) or INPUT
    return Evaluation(Given(explained), Output(), wrt=at, arguments=further)


def example_batch(model: LoadedModel, checks: Checks, rows: int, *, gradient: bool) -> RowRange:
    """Returns a batch of the examples, repeated to any number of rows.

    Args:
        model: The model.
        checks: The facts found about it.
        rows: The number of rows.
        gradient: Whether to differentiate.
    """
    repeated = [
        example[torch.arange(rows, device=example.device) % len(example)]
        for example in model.examples
    ]
    evaluation = example_evaluation(model, repeated, gradient=gradient)
    if gradient and checks.output_shape:
        target = Output(torch.zeros(rows, len(checks.output_shape), dtype=torch.int64))
        evaluation = replace(evaluation, target=target)
    return RowRange(evaluation, 0, rows)


def outputs(model: LoadedModel, rows: Sequence[Tensor]) -> Tensor:
    """Returns the first output, `(rows, *output)`."""
    evaluation = example_evaluation(model, rows, gradient=False)
    return evaluate(model.module, [RowRange(evaluation, 0, len(rows[0]))])[0].values


def _given(model: LoadedModel, rows: Sequence[Tensor]) -> str:
    """Returns a sentence with the arguments of the forward method."""
    names = [each.name for each in model.declaration.inputs]
    if model.declaration.text is not None:
        names[model.declaration.text] = "token ids"
        names.append("attention mask")
    arguments = [
        f"{name} ({str(each.dtype).removeprefix('torch.')} {list(each.shape)})"
        for name, each in zip(names, rows, strict=True)
    ]
    return f"The arguments of forward were: {', '.join(arguments)}"


def _check_output(model: LoadedModel, found: Tensor) -> None:
    declared = model.declaration.outputs[0]
    wanted, shape = declared.shape[1:], tuple(found.shape[1:])
    fits = len(wanted) == len(shape) and all(
        want in (-1, have) for want, have in zip(wanted, shape, strict=True)
    )
    if not fits:
        raise DeclarationError(
            f"{model.declaration.name}: output {declared.name!r} has shape {[-1, *shape]}; "
            f"model.toml declares {list(declared.shape)}, -1 for any length"
        )
    if declared.labels and shape and shape[0] != len(declared.labels):
        raise DeclarationError(
            f"{model.declaration.name}: output {declared.name!r} has {shape[0]} classes; "
            f"model.toml declares {len(declared.labels)} labels"
        )
    count = int(found.isnan().flatten(1).any(1).sum() if shape else found.isnan().sum())
    if count:
        raise DeclarationError(
            f"{model.declaration.name}: output {declared.name!r} is NaN for {count} of "
            f"{len(found)} examples"
        )


def _dependence(model: LoadedModel, together: Tensor) -> str:
    # Rounding differences grow with the outputs.
    scale = together.abs().max().clamp(min=1e-6).item()
    count = len(together)
    for index in range(min(count, 4)):
        alone = outputs(model, [rows[index : index + 1] for rows in model.examples])
        others = [
            rows.roll(1, 0)[: index + 1].repeat(2, *[1] * (rows.ndim - 1))
            for rows in model.examples
        ]
        beside = outputs(
            model,
            [
                torch.cat([rows[index : index + 1], more])
                for rows, more in zip(model.examples, others, strict=True)
            ],
        )
        for what, row in (("alone", alone[0]), ("beside other rows", beside[0])):
            difference = (row - together[index]).abs().max().item()
            if not difference <= 1e-4 * scale:
                return f"example {index} differs by {difference:.3g} when it is evaluated {what}"
    return ""


def _trace(module: nn.Module, before: dict[str, Tensor]) -> str:
    for name, buffer in module.named_buffers():
        if not torch.equal(buffer, before[name]):
            return f"evaluating the model changes its buffer {name!r}"
    for name, part in module.named_modules():
        if part.training:
            return f"evaluating the model leaves its module {name!r} in training mode"
    return ""


def _obstacle(model: LoadedModel, together: Tensor) -> str:
    dims = together.ndim - 1
    target = Output(torch.zeros(1, dims, dtype=torch.int64)) if dims else Output()
    asked = example_evaluation(model, [rows[:1] for rows in model.examples], gradient=True)
    evaluation = Evaluation(asked.rows, target, asked.wrt, arguments=asked.arguments)
    if any(not rows.is_floating_point() for rows in asked.rows.like) and asked.wrt == INPUT:
        return "an input is of whole numbers, and model.toml names no embedding for it"
    try:
        part = evaluate(model.module, [RowRange(evaluation, 0, 1)])[0]
    except ModelError as error:
        return without_paths(str(error))
    except RuntimeError as error:
        # Callers read the reason, and never the text of an exception that is not ours.
        logs.logger().warning(
            "a model has no gradients", model=model.declaration.name, exc_info=error
        )
        return f"computing them raised {type(error).__name__}; the server's log says more"
    if not all(bool(torch.isfinite(gradient).all()) for gradient in part.gradients):
        return "the gradient of the output is not finite"
    return ""

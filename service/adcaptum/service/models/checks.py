"""What is found out about a model before it serves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor, nn

from adcaptum.engine.errors import ModelError
from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.execution.taps import layer_shapes
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.arguments import Arguments, PerExample
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation, Output, Site
from adcaptum.service.models.loading import LoadedModel


@dataclass(frozen=True, slots=True)
class Checks:
    """What was found out.

    Attributes:
        independent: Whether a row's answer does not depend on the rows beside it, nor leaves
            a trace in the model.
        dependence: Why not, for people.
        differentiable: Whether gradients of the output reach the inputs, or the embedding.
        obstacle: Why not, for people.
        output_shape: The first output's, without the batch.
        layer_shapes: Those of the tensors at each site, as the first example has them.
    """

    independent: bool
    dependence: str
    differentiable: bool
    obstacle: str
    output_shape: tuple[int, ...]
    layer_shapes: Mapping[Site, tuple[tuple[int, ...], ...]]


def check(model: LoadedModel) -> Checks:
    """Runs the model on its examples, alone and together.

    Raises:
        Exception: What the model raises: one that cannot take its own examples cannot serve.
    """
    before = {name: buffer.clone() for name, buffer in model.module.named_buffers()}
    first = [rows[:1] for rows in model.examples]
    shapes = layer_shapes(model.module, lambda: outputs(model, first))
    together = outputs(model, model.examples)
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
    """Returns what asks for the outputs at `rows`, or for the gradient of the first of them.

    Args:
        model: The model.
        rows: What its forward method takes, each `(rows, ...)`.
        gradient: Whether to differentiate.
    """
    explained, further = tuple(rows), Arguments()
    embedding = model.declaration.inputs[0].embedding
    if model.text is not None:
        explained, further = (rows[0],), Arguments((PerExample(rows[1]),))
    if not gradient:
        return Evaluation(Given(explained), arguments=further)
    at = Site(embedding) if embedding else INPUT
    return Evaluation(Given(explained), Output(), wrt=at, arguments=further)


def example_batch(model: LoadedModel, checks: Checks, rows: int, *, gradient: bool) -> RowRange:
    """Returns as many rows as one likes, the examples again and again.

    Args:
        model: The model.
        checks: What was found out about it.
        rows: How many.
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


def _dependence(model: LoadedModel, together: Tensor) -> str:
    # Large outputs may differ by more in their last digits.
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
    except (ModelError, RuntimeError) as error:
        return str(error)
    if not all(bool(torch.isfinite(gradient).all()) for gradient in part.gradients):
        return "the gradient of the output is not finite"
    return ""

"""The evaluation of one batch; the only file that calls a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import repeat

import torch
from torch import Tensor, nn

from adcaptum.engine.errors import (
    ModelError,
    NotDifferentiable,
)
from adcaptum.engine.execution.backward import gradients, kept
from adcaptum.engine.execution.devices.determinism import kernels, refusal
from adcaptum.engine.execution.devices.device_errors import is_lasting, is_out_of_memory
from adcaptum.engine.execution.model_errors import model_error, passed_through
from adcaptum.engine.execution.objective import first_tensor, objective_of
from adcaptum.engine.execution.packing import (
    RowRange,
    columns_of,
    pack_arguments,
    pack_rows,
)
from adcaptum.engine.execution.parts import Part, joined
from adcaptum.engine.execution.references.reference_batch import ReferenceBatch
from adcaptum.engine.execution.references.reference_cache import ReferenceMemory
from adcaptum.engine.execution.taps import Enough, Taps
from adcaptum.engine.execution.target_places import ones_at, target_places, values_at
from adcaptum.engine.rows.distinct import Distinct
from adcaptum.engine.rules import Interception
from adcaptum.engine.rules.reference_trace import TraceMismatch
from adcaptum.engine.vocabulary.arguments import Shared
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.engine.vocabulary.site import INPUT
from adcaptum.engine.vocabulary.target import Neuron

Model = nn.Module | Callable[..., object]

_NOTHING = nullcontext()


Deduplicate = Callable[[Sequence[Tensor]], Distinct | None]


def evaluate(
    model: Model,
    slices: Sequence[RowRange],
    *,
    deduplicate: Deduplicate | None = None,
    memory: ReferenceMemory | None = None,
) -> list[Part]:
    """Runs the model on the rows of all slices, once unless they want forwards of their own.

    Args:
        model: The model; a plain function will do where no layer is named.
        slices: Parts of evaluations, all of equal keys.
        deduplicate: Finds equal rows, which are then evaluated once. Only for models whose
            answers to rows do not depend on the others, nor on chance.
        memory: The cache of reference rows. Only for models whose weights have not changed since
            it was begun.

    Returns:
        The batch's results for each slice, in order.

    Raises:
        InvalidArgument: If a target is out of the output's range, or a layer does not exist.
        ModelError: If the model's output or layer is not of a form that can be explained.
        Exception: The model's own exceptions.
    """
    first = slices[0].evaluation
    same_bits = first.forward_rows is not None
    if first.rows.like[0].is_cpu:
        return _evaluated(model, slices, deduplicate, memory)
    try:
        with kernels(same_bits=same_bits):
            return _evaluated(model, slices, deduplicate, memory)
    except RuntimeError as error:
        instead = refusal(error) if same_bits else None
        if instead is None:
            raise
        raise instead from error


def _evaluated(
    model: Model,
    slices: Sequence[RowRange],
    deduplicate: Deduplicate | None,
    memory: ReferenceMemory | None,
) -> list[Part]:
    if slices[0].evaluation.forward_rows is not None:
        return [_in_own_forwards(model, piece) for piece in slices]
    try:
        return _together(model, slices, deduplicate, memory)
    except TraceMismatch:
        assert memory is not None, "nothing else knows anything to disagree with"
        memory.disagree()
    return _together(model, slices, deduplicate)


def _in_own_forwards(model: Model, piece: RowRange) -> Part:
    """Runs the whole forwards of the evaluation in which the slice stands."""
    forwards = piece.forwards
    whole = joined([part for each in forwards for part in _together(model, [each])])
    first = forwards[0].start
    return whole.cut(piece.start - first, piece.stop - first)


def _together(
    model: Model,
    slices: Sequence[RowRange],
    deduplicate: Deduplicate | None = None,
    memory: ReferenceMemory | None = None,
) -> list[Part]:
    """Runs the model on the rows of all slices in one forward."""
    first = slices[0].evaluation
    examples = sum([piece.stop - piece.start for piece in slices])
    compared = None if first.references is None else ReferenceBatch.of(slices, memory)
    rows = examples if compared is None else examples + compared.rows
    columns = [columns_of(piece, alone=len(slices) == 1) for piece in slices]
    with _normal_tensors(), torch.set_grad_enabled(first.wrt is not None):
        inputs = list(pack_rows([(s.evaluation.rows, s.start, s.stop) for s in slices]))
        arguments = pack_arguments(slices)
        shared = (
            None if deduplicate is None or not _reads_outputs_only(first) else deduplicate(inputs)
        )
        if shared is not None:
            inputs, rows = list(shared.rows), len(shared.rows[0])
        taps = _taps(first, slices, rows)
        leaves, inputs = _with_leaves(inputs) if first.wrt == INPUT else ((), inputs)
        if compared is not None:
            inputs, arguments = compared.below(inputs, arguments, first.arguments)
        interception = _interception(model, first, compared)
        with interception or _NOTHING:
            enough = isinstance(first.target, Neuron) or not first.outputs
            output = _call(model, taps, [*inputs, *arguments], first, enough=enough)
            objective = _followed(objective_of(first, taps, output, rows), inputs, interception)
        if shared is not None:
            objective = objective[shared.numbers]
        inside: tuple[Tensor, ...] = ()
        if first.wrt is not None and not leaves:
            leaves = inside = taps.leaves(first.wrt)
        uncovered = () if interception is None else interception.uncovered(objective)
        starts = None
        if compared is not None:
            starts = compared.end(objective, inside, whole=not enough, sure=not uncovered)
        own = objective if compared is None else objective[:examples]
        places = target_places(own, columns) if _share_target(slices) else None
        found: tuple[Tensor, ...] = ()
        if first.wrt is not None:
            unused = _unused(first, interception, objective)
            seed = None if unused else ones_at(objective, places, examples)
            found = _differentiate(objective, seed, taps, leaves, first)
    # Those of a model whose channels come last may come so, too.
    found = tuple([t.contiguous() for t in found])
    activations = tuple([t.detach() for t in taps.values(first.read)]) if first.read else ()
    of_references = None
    if starts is not None and first.references is not None:
        of_references = values_at(starts.output(), places)
        found = tuple([t[:examples] for t in found])
        activations = tuple([t[:examples] for t in activations])
        if first.references.multiply:
            found = starts.contributions(found, leaves)
    whole = Part(values_at(own.detach(), places), found, activations, of_references, uncovered)
    if len(slices) == 1:
        return [whole]
    values = whole.values.split([len(piece) for piece in slices])
    return _apart(
        slices, whole, _values_of_each(slices, values, columns) if places is None else values
    )


def _with_leaves(inputs: list[Tensor]) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Returns the leaves of gradients at the inputs, and copies, which the model may overwrite."""
    leaves = tuple([t.requires_grad_() for t in inputs])
    return leaves, [t.clone() for t in leaves]


def _values_of_each(
    slices: Sequence[RowRange], parts: Sequence[Tensor], columns: Sequence[Tensor | int | None]
) -> tuple[Tensor, ...]:
    """Returns each slice's values, where some slices have a target and others read the outputs."""
    return tuple(
        values_at(own, None if piece.evaluation.target is None else target_places(own, [column]))
        for piece, own, column in zip(slices, parts, columns, strict=True)
    )


def _apart(slices: Sequence[RowRange], whole: Part, values: Sequence[Tensor]) -> list[Part]:
    """Cuts a batch's results into those of each slice."""
    found, activations, of_references = whole.gradients, whole.activations, whole.reference_values
    sizes = [len(piece) for piece in slices]
    cut = zip(*(t.split(sizes) for t in found), strict=True) if found else repeat(())
    read = zip(*(t.split(sizes) for t in activations), strict=True) if activations else repeat(())
    compared = repeat(None) if of_references is None else of_references.split(sizes)
    parts = zip(values, cut, read, compared, repeat(whole.uncovered_ops), strict=False)
    return [Part(*each) for each in parts]


def _reads_outputs_only(first: Evaluation) -> bool:
    """Returns whether equal rows have equal answers, which then depend on nothing else."""
    inside = (first.wrt, first.read, first.patch, first.through, first.references, first.rule)
    return (
        first.outputs
        and not isinstance(first.target, Neuron)
        and all(each is None for each in inside)
        and all(isinstance(value, Shared) for value in first.arguments.values)
    )


def _normal_tensors() -> AbstractContextManager[object]:
    """Leaves inference mode, whose tensors cannot be differentiated later."""
    return torch.inference_mode(mode=False) if torch.is_inference_mode_enabled() else _NOTHING


def _interception(
    model: Model, first: Evaluation, compared: ReferenceBatch | None
) -> Interception | None:
    """Returns the interception of the batch's rule; None without a rule."""
    if first.rule is None:
        return None
    return first.rule.interception(model, None if compared is None else compared.pairs)


def _taps(first: Evaluation, slices: Sequence[RowRange], rows: int) -> Taps:
    """Returns the taps of a batch of so many rows."""
    taps = Taps(rows)
    if first.wrt is not None and first.wrt != INPUT:
        taps.differentiate(first.wrt)
    if first.read is not None:
        taps.read(first.read)
    if isinstance(first.target, Neuron):
        taps.read(first.target.site)
    if first.through is not None:
        taps.connect(first.through.site)
    if first.patch is not None:
        patches = [(s.evaluation.patch.rows, s.start, s.stop) for s in slices if s.evaluation.patch]
        taps.patch(first.patch.site, pack_rows(patches))
    return taps


def _call(
    model: Model, taps: Taps, arguments: list[object], first: Evaluation, *, enough: bool
) -> object:
    inputs = len(first.rows.like)
    if taps.empty:
        return _forward(model, arguments, inputs)
    if taps.named and not isinstance(model, nn.Module):
        raise ModelError("layers can be named only of an nn.Module")
    # Evaluations with forwards of their own give the same bits each time.
    watch = first.forward_rows is None and first.rule is None
    with taps.open(model, enough=enough, arguments=arguments, watch=watch):
        return _forward(model, arguments, inputs)
    return None  # nobody waits for the output


def _forward(model: Model, arguments: Sequence[object], inputs: int) -> object:
    """Calls the model; its errors become those of the request.

    Args:
        model: The model.
        arguments: The arguments of its forward.
        inputs: The number of explained inputs among them.
    """
    try:
        return model(*arguments)
    except (Enough, TraceMismatch):
        raise
    except BaseException as error:
        instead = model_error(error, arguments, inputs)
        if instead is None:
            raise
        raise instead from error


_OF_MODELS = frozenset({_forward.__code__, gradients.__code__})


def raised_by_model(error: BaseException) -> bool:
    """Returns whether an exception of `evaluate` is the model's own.

    It is if it came out of the model's forward or out of a backward pass, and is neither an error
    of the engine's nor a lack of memory or the end of a device.
    """
    if is_out_of_memory(error) or is_lasting(error):
        return False
    return passed_through(error, _OF_MODELS)


def _followed(
    objective: Tensor, inputs: Sequence[Tensor], interception: Interception | None
) -> Tensor:
    """Returns the explained numbers on the inputs' device, with a proxy's graph without autograd's.

    A model may compute its output, or the last part of it, elsewhere.
    """
    if objective.is_cpu is not inputs[0].is_cpu:
        objective = objective.to(inputs[0].device)
    return objective if interception is None else interception.differentiable(objective)


def _share_target(slices: Sequence[RowRange]) -> bool:
    """Returns whether every slice has a target; predictions read raw outputs."""
    return all(piece.evaluation.target is not None for piece in slices)


def _unused(first: Evaluation, interception: Interception | None, objective: Tensor) -> bool:
    """Returns whether a rule has shown that the target does not depend on the explained layer.

    Rules detach parameters, so that such a target has no graph. Where the model leaves autograd the
    target has no graph either; the rule notes that.
    """
    if interception is None or interception.severs or objective.requires_grad:
        return False
    return first.wrt is not None and first.wrt != INPUT


def _differentiate(
    objective: Tensor,
    seed: Tensor | None,
    taps: Taps,
    leaves: tuple[Tensor, ...],
    first: Evaluation,
) -> tuple[Tensor, ...]:
    """Returns the gradient of the sum of all rows' targets: one backward pass, however many rows.

    Args:
        objective: The numbers that the targets are among.
        seed: Ones at the targets; None: they do not depend on the leaves.
        taps: The taps of the batch.
        leaves: The tensors at the site of the gradients.
        first: An evaluation of the batch.
    """
    if seed is None:
        return tuple([torch.zeros_like(t) for t in leaves])
    if not objective.requires_grad:
        raise NotDifferentiable(
            f"no gradient of the target reaches {first.wrt}: the model computes it without "
            "autograd, or the target does not depend on it"
        )
    if first.through is None:
        return gradients((objective,), leaves, (seed,))
    middle = taps.leaves(first.through.site)
    above = gradients((objective,), middle, (seed,), again=True)
    return gradients(middle, leaves, kept(first.through, middle, above))


def call(model: Model, slices: Sequence[RowRange]) -> torch.Future[object]:
    """Calls a model that answers later on the rows of all slices, without gradients or hooks.

    Raises:
        ModelError: If it gives no future.
        Exception: The model's own exceptions.
    """
    with _normal_tensors(), torch.no_grad():
        inputs = pack_rows([(s.evaluation.rows, s.start, s.stop) for s in slices])
        promised = _forward(model, [*inputs, *pack_arguments(slices)], len(inputs))
    # `then` returns torch's own class, the parent of torch.futures.Future.
    if not isinstance(promised, torch.Future):
        raise ModelError(
            f"the model returned {type(promised).__name__}: a torch.futures.Future is wanted here"
        )
    return promised


def outputs_read(output: object, slices: Sequence[RowRange]) -> list[Part]:
    """Cuts a batch's output into the results of slices that read only it; raises as `evaluate`."""
    sizes = [len(piece) for piece in slices]
    parts = first_tensor(output, sum(sizes)).detach().split(sizes)
    return [
        Part(
            values_at(
                own, None if piece.evaluation.target is None else target_places(own, [column])
            )
        )
        for piece, own, column in zip(slices, parts, map(columns_of, slices), strict=True)
    ]

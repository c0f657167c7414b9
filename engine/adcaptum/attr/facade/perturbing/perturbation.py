"""Execution of the methods that only evaluate a model.

A forward gives an output for each row, or one for the batch: a number, or a tensor whose first
dimension is not the examples. Its output for the unchanged inputs shows which.

Rules:
1. A forward that answers row by row gets batches of the fastest size, or with
   perturbations_per_eval above 1 of at most that many times the examples.
2. A forward that answers for the batch, or fails for batches of another size than the examples',
   gets all examples with one perturbation at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.futures import Future
from tqdm.auto import tqdm

from adcaptum.attr.errors import InvalidInput, translated
from adcaptum.attr.facade.answer import drawn_seed, run_flow
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forwards import selecting
from adcaptum.attr.facade.perturbing.options import check_per_eval
from adcaptum.attr.facade.perturbing.output_form import output_at_inputs, output_form
from adcaptum.engine.errors import EngineError, NotPerRow
from adcaptum.engine.execution.forwards.futures import following, run_later
from adcaptum.engine.execution.forwards.whole_batch import WholeBatch
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.evaluation import EveryOutput, Neuron, Output
from adcaptum.engine.vocabulary.flow import Flow, in_step
from adcaptum.engine.vocabulary.method import Method

# Modules that answered row by row. Should one stop doing so, its next batch shows it.
_row_by_row: WeakSet[nn.Module] = WeakSet()


@dataclass(frozen=True, slots=True, eq=False)
class Perturbed:
    """An attribution, and the shape of the output that it explains.

    Attributes:
        attribution: Its values are (outputs, *features): one for each number of the output.
        shape: The shape of the output for the examples, after the selection of a target; (1,)
            where it is a single number.
    """

    attribution: Attribution
    shape: tuple[int, ...]

    @property
    def values(self) -> tuple[Tensor, ...]:
        """The attributions of each input, (outputs, *features)."""
        return self.attribution.values

    @property
    def in_shape(self) -> tuple[Tensor, ...]:
        """The explanations, each (*shape, *features)."""
        return tuple(v.view(*self.shape, *v.shape[1:]) for v in self.values)


def perturbed(
    call: CaptumCall,
    method: Method,
    *,
    per_eval: int = 1,
    progress: str | None = None,
    in_order: bool = False,
    of_whole: Method | None = None,
) -> Perturbed:
    """Explains with a method that only evaluates the model.

    Args:
        call: The call.
        method: The method.
        per_eval: Captum's perturbations_per_eval.
        progress: The name of the progress bar; None: no bar.
        in_order: Whether the method's rows can be made only sample by sample, each once.
        of_whole: The method for a forward that answers for the batch; None: the same.

    Raises:
        InvalidInput: If per_eval is not a whole number above zero, or is above one where the
            forward answers for the batch as a whole; or if examples have masks of their own there.
    """
    check_per_eval(per_eval)
    seeded_call = seeded(call, method)
    return _Task(seeded_call, method, of_whole or method, per_eval, progress, in_order).answered()


def perturbed_later(
    call: CaptumCall, method: Method, *, per_eval: int = 1, progress: str | None = None
) -> Future[Perturbed]:
    """Explains a forward that gives futures; for the arguments see `perturbed`.

    Raises:
        UnfitModel: If the forward gives something else.
    """
    check_per_eval(per_eval)
    call = seeded(call, method)
    explicand = call.explicand
    whole = WholeBatch(call.model, explicand.count)
    total, flow = _begun(call, method, progress)
    bar = tqdm(
        total=None if total is None else total + explicand.count,
        desc=progress,
        unit="row",
        disable=progress is None,
    )
    with translated():
        answered = run_later(
            whole.later,
            in_step(_after_asking(call, flow)),
            batch_rows=per_eval * explicand.count,
            on_rows=bar.update,
        )

    def finish(answer: Attribution) -> Perturbed:
        with translated():
            return _of_outputs(call, answer, whole)

    answered.add_done_callback(lambda _: bar.close())
    return following(answered, finish)


def seeded(call: CaptumCall, method: Method) -> CaptumCall:
    """Returns the call with a seed from torch's global generator, if the method draws."""
    if not method.traits.random:
        return call
    return replace(call, explicand=replace(call.explicand, seed=drawn_seed()))


def _known(call: CaptumCall) -> bool:
    """Says whether the output is known to have one number per row that the target names."""
    target = call.explicand.target
    if isinstance(target, Neuron):
        return True
    model = call.model
    named = isinstance(target, Output) and target.named
    return named and isinstance(model, nn.Module) and model in _row_by_row


def _remember(call: CaptumCall) -> None:
    # For a single example, a tensor of one entry may be either form.
    if isinstance(call.model, nn.Module) and call.explicand.count > 1:
        _row_by_row.add(call.model)


def _forget(call: CaptumCall) -> None:
    if isinstance(call.model, nn.Module):
        _row_by_row.discard(call.model)


def _leaves_several(call: CaptumCall, whole: WholeBatch) -> bool:
    """Says whether one index for all examples leaves several numbers of each, all explained."""
    target = call.explicand.target
    if not isinstance(target, Output) or whole.shape is None:
        return False
    if target.index is not None:
        return whole.per_row and len(whole.shape) > 2
    if target.indices is None:
        return False
    alike = bool((target.indices == target.indices[:1]).all())
    return whole.per_row and alike and target.indices.shape[1] < len(whole.shape) - 1


def _of_several(call: CaptumCall) -> CaptumCall:
    target = call.explicand.target
    assert isinstance(target, Output), "checked before"
    index = (target.index,) if target.indices is None else tuple(target.indices[0].tolist())
    assert index != (None,), "checked before"
    model = selecting(call.model, index)
    return replace(call, model=model, explicand=replace(call.explicand, target=EveryOutput()))


def _begun(
    call: CaptumCall, method: Method, progress: str | None
) -> tuple[int | None, Flow[Attribution]]:
    with translated():
        total = None if progress is None else method.rows(call.explicand)
        return total, method.flow(call.explicand)


def _after_asking(call: CaptumCall, flow: Flow[Attribution]) -> Flow[Attribution]:
    yield from output_at_inputs(call)
    return (yield from flow)


def _not_together(error: NotPerRow) -> InvalidInput:
    return InvalidInput(
        "perturbations_per_eval",
        "above 1",
        f"1 where the forward does not answer row by row: {error}",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """A call, a method, and the options of `perturbed`."""

    call: CaptumCall
    method: Method
    of_whole: Method
    per_eval: int
    progress: str | None
    in_order: bool

    def answered(self) -> Perturbed:
        """Explains; first evaluates the inputs unless the form of the output is known."""
        if self.in_order or not _known(self.call):
            return self._after_asking()
        try:
            return self._row_by_row((self.call.explicand.count,))
        except InvalidInput as error:
            if error.field != "target":
                raise
        # With these arguments the module's output may have other dimensions than before.
        _forget(self.call)
        return self._after_asking()

    def _after_asking(self) -> Perturbed:
        whole = output_form(self.call)
        if _leaves_several(self.call, whole):
            return replace(self, call=_of_several(self.call)).answered()
        if self.in_order or not whole.per_row:
            return self._together(whole)
        _remember(self.call)
        assert whole.shape is not None, "it was asked"
        selected = isinstance(self.call.explicand.target, Output)
        return self._row_by_row((self.call.explicand.count,) if selected else whole.shape)

    def _row_by_row(self, shape: tuple[int, ...]) -> Perturbed:
        count = self.call.explicand.count
        rows = None if self.per_eval == 1 else self.per_eval * count
        total, flow = _begun(self.call, self.method, self.progress)
        try:
            answer = run_flow(self.call, flow, batch_rows=rows, progress=self.progress, total=total)
        except NotPerRow as error:
            if self.per_eval > 1:
                raise _not_together(error) from error
        except Exception as error:
            if self.per_eval > 1 or isinstance(error, EngineError | torch.OutOfMemoryError):
                raise
        else:
            return Perturbed(answer, shape)
        # A forward that failed may take batches of the examples only.
        return self._together(output_form(self.call))

    def _together(self, whole: WholeBatch) -> Perturbed:
        """Explains with all examples in a batch, with `per_eval` perturbations at a time."""
        count = self.call.explicand.count
        if self.per_eval > 1 and not whole.per_row:
            raise _not_together(NotPerRow(f"for {count} examples a tensor of {whole.shape}"))
        method = self.method if whole.per_row else self.of_whole
        total, flow = _begun(self.call, method, self.progress)
        try:
            answer = run_flow(
                replace(self.call, model=whole),
                in_step(flow),
                batch_rows=self.per_eval * count,
                progress=self.progress,
                total=total,
            )
        except NotPerRow as error:
            raise _not_together(error) from error
        return _of_outputs(self.call, answer, whole)


def _of_outputs(call: CaptumCall, answer: Attribution, whole: WholeBatch) -> Perturbed:
    """Keeps one explanation of each output."""
    explicand = call.explicand
    assert whole.shape is not None, "it was asked"
    if isinstance(explicand.target, Neuron):
        # A neuron has a value in each row, whatever the output's form is.
        return Perturbed(answer, (explicand.count,))
    selected = isinstance(explicand.target, Output)
    if whole.per_row:
        return Perturbed(answer, (explicand.count,) if selected else whole.shape)
    if any(len(m) > 1 and m.dim() == t.dim() for m, t in _masks(call)):
        raise InvalidInput(
            "feature_mask", "different for examples", "the same where the forward answers for all"
        )
    outputs = 1 if selected else whole.outputs
    values = tuple(v[:outputs] for v in answer.values)
    shape = (1,) if selected else whole.shape or (1,)
    return Perturbed(replace(answer, values=values), shape)


def _masks(call: CaptumCall) -> list[tuple[Tensor, Tensor]]:
    explicand = call.explicand
    return list(zip(explicand.feature_mask or (), explicand.inputs, strict=False))

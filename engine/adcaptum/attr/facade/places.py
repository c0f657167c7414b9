"""What stands at a layer, and masks of it."""

from __future__ import annotations

from torch import Tensor

from adcaptum.attr.errors import InvalidInput, translated
from adcaptum.attr.facade.answer import run_flow
from adcaptum.attr.facade.captum_call import CaptumCall, Tensors
from adcaptum.engine.vocabulary.endpoints import values_at_site
from adcaptum.engine.vocabulary.flow import Flow, ask


def activations(question: CaptumCall) -> tuple[Tensor, ...]:
    """What the model makes of the inputs at the explained layer.

    All examples go together, since a forward may take them only so.
    """
    with translated():
        return run_flow(question, _reading(question), batch_rows=question.explicand.count)


def like_values(masks: Tensors | None, values: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """Masks of a layer's tensors, laid along their last dimensions as tensors broadcast.

    Raises:
        InvalidInput: If there is not one for each tensor, or one is not of whole numbers.
    """
    if masks is None:
        return None
    each = masks if isinstance(masks, tuple) else (masks,)
    if len(each) != len(values):
        raise InvalidInput(
            "layer_mask", f"{len(each)} of them", f"one per tensor of the layer: {len(values)}"
        )
    for i, mask in enumerate(each):
        if mask.is_floating_point():
            raise InvalidInput(f"layer_mask[{i}]", f"of dtype {mask.dtype}", "an integer dtype")
    return tuple(
        m.detach().to(t.device).long().view(*(1,) * (t.dim() - m.dim()), *m.shape)
        for m, t in zip(each, values, strict=True)
    )


def _reading(question: CaptumCall) -> Flow[tuple[Tensor, ...]]:
    explicand = question.explicand
    reading = yield from ask(values_at_site(explicand, explicand.inputs))
    return reading.activations

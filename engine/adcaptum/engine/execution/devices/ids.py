"""Ids that no embedding has, found before they reach a device.

On a processor a lookup beyond the rows of an embedding raises an error. On an accelerator it fails
an assertion, after which the device is lost to the process.
"""

from __future__ import annotations

from torch import Tensor, nn

from adcaptum.engine.errors import OutOfRange
from adcaptum.engine.vocabulary.explicand import Explicand


def check_ids(model: object, explicand: Explicand) -> None:
    """Checks whole numbers that are explained at the output of an embedding; waits for a device.

    Raises:
        OutOfRange: If one is not the number of a row of it.
    """
    layer = explicand.at.layer
    if isinstance(layer, str) and isinstance(model, nn.Module):
        layer = dict(model.named_modules()).get(layer, "")
    if not isinstance(layer, nn.Embedding):
        return
    rows = layer.num_embeddings
    named = {"inputs": explicand.inputs, "baselines": explicand.baselines or ()}
    for name, tensors in named.items():
        if tensors and not tensors[0].is_floating_point() and tensors[0].numel():
            wrong = _beyond(tensors[0], rows)
            if wrong is not None:
                raise OutOfRange(f"{name}[0]", wrong, f"from 0 to {rows - 1}, a row of {layer}")


def _beyond(ids: Tensor, rows: int) -> int | None:
    least, most = (int(each) for each in ids.aminmax())
    if least < 0:
        return least
    return most if most >= rows else None

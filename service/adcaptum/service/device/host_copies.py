"""Copies of results to the memory of the processor: one for each dtype, and one wait for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor


def in_memory(results: Sequence[Any]) -> list[Any]:
    """Returns results whose tensors are in the memory of the processor.

    Each read of a tensor of CUDA waits for the device. So they are joined there, by dtype, come in
    one copy, and are cut apart again.

    Args:
        results: Tensors, and dataclasses and tuples with tensors in them.
    """
    found: dict[int, Tensor] = {}
    for each in results:
        _find(each, found)
    far = {key: tensor for key, tensor in found.items() if not tensor.is_cpu}
    if not far:
        return [*results]
    near = dict(zip(far, copied([*far.values()]), strict=True))
    return [_replaced(each, near) for each in results]


def copied(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Returns copies of tensors in the memory of the processor, after one wait."""
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for number, tensor in enumerate(tensors):
        groups.setdefault((tensor.device, tensor.dtype), []).append(number)
    made: list[Tensor] = [*tensors]
    joined = []
    for (device, dtype), numbers in groups.items():
        with torch.no_grad():
            whole = torch.cat([tensors[number].detach().reshape(-1) for number in numbers])
        pinned = device.type == "cuda"
        near = torch.empty(whole.shape, dtype=dtype, pin_memory=pinned)
        near.copy_(whole, non_blocking=pinned)
        joined.append((near, numbers))
    for device in {device for device, _ in groups if device.type == "cuda"}:
        torch.cuda.current_stream(device).synchronize()
    for near, numbers in joined:
        parts = near.split([tensors[number].numel() for number in numbers])
        for number, part in zip(numbers, parts, strict=True):
            made[number] = part.view(tensors[number].shape)
    return made


def _find(value: Any, found: dict[int, Tensor]) -> None:
    if isinstance(value, Tensor):
        found[id(value)] = value
    elif isinstance(value, tuple | list):
        for each in value:
            _find(each, found)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            _find(getattr(value, field.name), found)


def _replaced(value: Any, near: dict[int, Tensor]) -> Any:
    if isinstance(value, Tensor):
        return near.get(id(value), value)
    if type(value) in (tuple, list):
        return type(value)(_replaced(each, near) for each in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changed = {}
    for field in fields(value):
        own = getattr(value, field.name)
        new = _replaced(own, near)
        if new is not own and not _same(own, new):
            changed[field.name] = new
    return replace(value, **changed) if changed else value


def _same(own: Any, new: Any) -> bool:
    """Returns whether a copy of a tuple or list has the same items."""
    if not isinstance(own, tuple | list):
        return False
    return all(a is b for a, b in zip(own, new, strict=True))

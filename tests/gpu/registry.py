"""Every method on the device against float64 on the processor, at the inputs or at a layer."""

from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import fields, replace
from typing import Any, Final

import torch
from torch import nn

from adcaptum.engine import METHODS, Explicand, Method, Site, explain
from tests.gpu.subjects import DEVICE, off, tell

SAME: Final = 5e-4
"""Differences of outputs lose digits: on a processor, too, float32 is up to 8e-5 off here."""


def convolutions() -> nn.Module:
    """Returns a small network of smooth operations, so that rounding switches nothing."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.Softplus(), nn.AvgPool2d(2),
        nn.Conv2d(6, 4, 3, padding=1), nn.Softplus(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(16, 3),
    ).eval().requires_grad_(False)  # fmt: skip


def main() -> int:
    """Prints how far each method is off; fails if one is off by more than `SAME`, or raises."""
    network = convolutions()
    torch.manual_seed(2)
    x = torch.randn(3, 2, 6, 6)
    masks = (torch.arange(36).view(6, 6) // 12 + torch.arange(6) // 3 * 3).expand(1, 2, 6, 6)
    bad = []
    for name, kind in METHODS.items():
        method = _small(kind)
        traits = kind.traits
        explicand = Explicand.of(
            x,
            target=[0, 1, 2],
            baselines=0.0,
            feature_mask=masks if traits.feature_masks else None,
            seed=7,
        )
        if traits.layer in {"required", "through"}:
            explicand = replace(explicand, at=Site("3"))
        try:
            truth = explain(deepcopy(network).double(), method, _as(explicand, torch.float64))
            found = explain(deepcopy(network).to(DEVICE), method, _as(explicand, torch.float32))
            distance = max(off(a, b) for a, b in zip(found.values, truth.values, strict=True))
        except Exception as error:  # noqa: BLE001 - a failure is a result here
            tell(method=name, raised=repr(error)[:300])
            bad.append(name)
            continue
        if not distance <= SAME:
            bad.append(name)
        tell(method=name, off=distance, device=str(found.values[0].device))
    tell(worse_than=SAME, methods=bad)
    return len(bad)


def _small(kind: type[Method]) -> Method:
    """A method with few samples and its other parameters by default."""
    own = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    few: dict[str, Any] = {"n_samples": 64, "n_steps": 20, "max_evals": 64}
    chosen = {name: value for name, value in few.items() if name in own}
    if "neuron" in own:
        chosen["neuron"] = (0, 1, 1)
    if "window" in own:
        chosen["window"] = (1, 2, 2)
    return kind(**chosen)


def _as(explicand: Explicand, dtype: torch.dtype) -> Explicand:
    device = torch.device("cpu") if dtype == torch.float64 else DEVICE

    def moved(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            value = value.to(device)
            return value.to(dtype) if value.is_floating_point() else value
        if isinstance(value, tuple):
            return tuple(map(moved, value))
        return value

    return replace(
        explicand,
        inputs=moved(explicand.inputs),
        baselines=moved(explicand.baselines),
        feature_mask=moved(explicand.feature_mask),
    )


if __name__ == "__main__":
    sys.exit(main())

"""The types of Captum's arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from adcaptum.engine.vocabulary.evaluation import Site

Tensors = Tensor | tuple[Tensor, ...]
Index = int | tuple[int | slice, ...]
TargetType = Index | Tensor | list[int] | list[tuple[int, ...]] | None
BaselineType = Tensor | int | float | tuple[Tensor | int | float, ...] | None
Selector = Index | Callable[..., Tensor]
# A site selects one of several calls of a module.
Layer = nn.Module | Site
Layers = Layer | list[nn.Module]
Forward = Callable[..., Any]

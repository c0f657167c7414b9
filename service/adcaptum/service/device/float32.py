"""The precision of float32 products on CUDA: IEEE float32, but for models that declare TF32.

By PyTorch's default cuDNN's convolutions use TF32, which has ten bits of mantissa: rows seem to
depend on those beside them, variants of a model seem to be other functions, and tolerances under
1e-3 are never met. So everything is evaluated in IEEE float32, checks and trials too; a model whose
owner has declared TF32 has a variant that may use it. PyTorch has one setting for all threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from torch import nn

from adcaptum.engine.execution import evaluator
from adcaptum.engine.execution.devices.process_switch import ProcessSwitch
from adcaptum.engine.execution.evaluator import Deduplicate
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.execution.parts import Part
from adcaptum.engine.execution.references.reference_cache import ReferenceMemory


class InTF32(nn.Module):
    """A model whose products of float32 may be rounded to TF32 where the device has it."""

    def __init__(self, module: nn.Module) -> None:
        """Marks a model, whose weights it shares."""
        super().__init__()
        self._module = module

    def forward(self, *arguments: object) -> object:
        """Runs the model."""
        return self._module(*arguments)


def evaluate(
    module: nn.Module,
    slices: Sequence[RowRange],
    *,
    deduplicate: Deduplicate | None = None,
    memory: ReferenceMemory | None = None,
) -> list[Part]:
    """Evaluates a batch in its model's precision; for the arguments see the engine's `evaluate`."""
    if slices[0].evaluation.rows.like[0].is_cpu:
        return evaluator.evaluate(module, slices, deduplicate=deduplicate, memory=memory)
    with _SWITCH.held(on=isinstance(module, InTF32)):
        return evaluator.evaluate(module, slices, deduplicate=deduplicate, memory=memory)


@contextmanager
def _products(tf32: bool) -> Iterator[None]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


_SWITCH: Final = ProcessSwitch(_products)

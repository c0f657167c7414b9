"""The raw limit: rows in a bare loop over the model, at the batch size that suits it best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from time import thread_time
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["forward", "gradient", "layer", "read"]
"""What is done with a row: evaluate it; differentiate it, too; differentiate it at the layer; or
evaluate it as far as the layer."""
Network = Callable[..., Tensor]

_LARGEST = 1024
_LONGEST = 1.0  # seconds: larger batches are not scanned


class _Left(BaseException):
    """The model was run as far as the layer."""


class BareLoop:
    """Evaluates as many rows as one likes and does nothing else: no masks, no paths, no sums.

    Attributes:
        kind: What is done with the rows.
        seconds_by_rows: What a batch took, by its rows: the scan.
    """

    def __init__(
        self,
        network: Network,
        inputs: Sequence[Tensor],
        kind: Kind,
        layer: nn.Module | None = None,
    ) -> None:
        self.kind = kind
        self._network = network
        self._layer = layer
        self._inputs = inputs
        self._batches: dict[int, list[Tensor]] = {}
        self.seconds_by_rows: dict[int, float] = {}
        rows = 1
        while rows <= _LARGEST:
            turns = [self._timed(rows) for _ in range(2)]
            if turns[-1] < 0.05:
                turns += [self._timed(rows) for _ in range(5)]
            self.seconds_by_rows[rows] = min(turns)
            if turns[-1] > _LONGEST:
                break
            rows *= 2

    @property
    def best_rows(self) -> int:
        """The batch size with the most rows per second."""
        return min(self.seconds_by_rows, key=self.seconds_per_row)

    def seconds_per_row(self, rows: int) -> float:
        """What a row costs in batches of that many."""
        return self.seconds_by_rows[rows] / rows

    def cuts(self, rows: int) -> list[int]:
        """The most promising batch sizes for so many rows, at most three."""
        fitting = [size for size in self.seconds_by_rows if size <= rows]
        promising = sorted(fitting, key=self.seconds_per_row)[:2]
        return [*promising, rows] if rows <= 2 * self.best_rows else promising

    def run(self, rows: int, cut: int) -> None:
        """Evaluates rows in equal batches of about `cut`."""
        batches = ceil(rows / cut)
        for i in range(batches):
            self._batch(rows * (i + 1) // batches - rows * i // batches)

    def _timed(self, rows: int) -> float:
        begin = thread_time()
        self._batch(rows)
        return thread_time() - begin

    def _batch(self, rows: int) -> None:
        first, *others = self._rows(rows)
        if self.kind == "forward":
            with torch.inference_mode():
                self._network(first, *others)
        elif self.kind == "read":
            self._read(first, *others)
        elif self.kind == "layer":
            self._differentiate_at_layer(first, *others)
        else:
            leaf = first.detach().requires_grad_()
            torch.autograd.grad(self._network(leaf, *others)[:, 0].sum(), leaf)

    def _read(self, *inputs: Tensor) -> None:
        assert self._layer is not None, "what is read is a layer"

        def leave(_module: nn.Module, _args: object, _output: Tensor) -> None:
            raise _Left

        with torch.inference_mode(), self._layer.register_forward_hook(leave):
            try:
                self._network(*inputs)
            except _Left:
                return

    def _differentiate_at_layer(self, *inputs: Tensor) -> None:
        assert self._layer is not None, "gradients are those at a layer"
        leaves: list[Tensor] = []

        def cut(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
            leaves.append(output.detach().requires_grad_())
            return leaves[0].clone()

        with self._layer.register_forward_hook(cut):
            output = self._network(*inputs)
        torch.autograd.grad(output[:, 0].sum(), leaves)

    def _rows(self, rows: int) -> list[Tensor]:
        if rows not in self._batches:
            self._batches[rows] = [
                t[torch.arange(rows) % len(t)].contiguous() for t in self._inputs
            ]
        return self._batches[rows]

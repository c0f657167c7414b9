"""A model that torch.compile has compiled, for rows like those it was prepared for.

Rules:
1. Nothing is compiled while requests wait, which takes seconds: only what `prepare` ran before is
   run compiled, everything else by the model as it is. That goes by the number of rows, by a row's
   shape and dtype, with gradients and without, and by PyTorch's threads, all of which torch.compile
   bears in mind.
2. On a processor one compiled model serves batches of any number of rows but one, and inputs of any
   of the lengths that the model's declaration leaves open. On CUDA, where
   launching the kernels of a small batch takes longer than running them, they are recorded as CUDA
   graphs, for each power of two: batches are filled up to it by repeating their last row.
3. What a graph gave is overwritten when it runs again, so that it is copied; and graphs run one at
   a time: `turn` is to be held until they have ended.
"""

import warnings
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

MOST_ROWS: Final = 256
"""The largest batch for which graphs are recorded; the kernels of larger ones take long enough."""

MOST_KINDS: Final = 64
"""For how many kinds of batches one model is compiled at most."""


class Compiled(nn.Module):
    """A model, compiled.

    Attributes:
        turn: What to hold while it runs.
    """

    def __init__(
        self, module: nn.Module, device: torch.device, lengths: Sequence[Sequence[int]] = ()
    ) -> None:
        """Wraps a model; `prepare` compiles it.

        Args:
            module: The model, which is not copied.
            device: Where it is.
            lengths: Of each argument the dimensions, beside the rows, that may have any length.
        """
        super().__init__()
        self._lengths = lengths
        self._module = module
        self._graphs = device.type == "cuda"
        self._run: Callable[..., object] | None = None
        self._ready: set[Hashable] = set()
        self._preparing = False
        self.turn: AbstractContextManager[object] = Lock() if self._graphs else nullcontext()

    @property
    def sizes(self) -> Sequence[int]:
        """For which numbers of rows to prepare it, so that batches of any number run compiled."""
        largest = MOST_ROWS.bit_length() - 1
        return [1 << power for power in range(largest + 1)] if self._graphs else (1, 2)

    def prepare(self, run: Callable[[], object]) -> None:
        """Compiles for the batches that something evaluates. Not to be called while others run it.

        Raises:
            Exception: What the compiler raises, if there is one.
        """
        # What the compiler has to say of itself is not for those who load models.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self._run is None:
                self._run = self._compiler()
            # One for each kind of batch, and an error instead of a warning that there are no more.
            limits = torch._dynamo.config.patch(  # noqa: SLF001  # its documented place
                recompile_limit=MOST_KINDS, fail_on_recompile_limit_hit=True
            )
            self._preparing = True
            try:
                with limits:
                    run()
            finally:
                self._preparing = False

    def _compiler(self) -> Callable[..., object]:
        # In this process: a pool of compilers beside the server would outlive its purpose.
        options: dict[str, Any] = {"compile_threads": 1}
        if self._graphs:
            options["triton.cudagraphs"] = True
        dynamic = False if self._graphs else None
        made: Callable[..., object] = torch.compile(self._module, dynamic=dynamic, options=options)
        return made

    def forward(self, *arguments: object) -> object:
        """Does what the model does."""
        tensors = [each for each in arguments if isinstance(each, Tensor)]
        if len(tensors) < len(arguments):
            return self._module(*arguments)
        return self._forward(tensors)

    def _forward(self, arguments: Sequence[Tensor]) -> object:
        rows = len(arguments[0])
        size = _power(rows) if self._graphs else rows
        kind = self._kind(arguments, size)
        if self._run is None or not (self._preparing or kind in self._ready):
            return self._module(*arguments)
        given = [_filled(each.contiguous(), size) for each in arguments]
        if self._graphs:
            given = [_Own.apply(each) for each in given]  # type: ignore[no-untyped-call]
        elif self._preparing:
            for each, dims in zip(given, self._open(arguments), strict=True):
                # A length of 1 is always compiled by itself.
                any_length = [dim for dim in (0, *dims) if each.shape[dim] > 1]
                torch._dynamo.mark_dynamic(each, any_length)  # noqa: SLF001  # its documented place
        output = self._run(*given)
        self._ready.add(kind)
        return tree_map(lambda made: self._own(made, rows), output) if self._graphs else output

    def _own(self, made: object, rows: int) -> object:
        return made[:rows].clone() if isinstance(made, Tensor) else made

    def _open(self, arguments: Sequence[Tensor]) -> Sequence[Sequence[int]]:
        """The dimensions of each argument, beside the rows, that may have any length."""
        return self._lengths if len(self._lengths) == len(arguments) else [()] * len(arguments)

    def _kind(self, arguments: Sequence[Tensor], size: int) -> Hashable:
        """What the compiler bears in mind of a batch."""
        kinds = []
        for each, dims in zip(arguments, self._open(arguments), strict=True):
            shape = [size, *each.shape[1:]]
            if not self._graphs:
                for dim in (0, *dims):
                    shape[dim] = min(shape[dim], 2)
            kinds.append((tuple(shape), each.dtype, each.requires_grad))
        return tuple(kinds), torch.is_grad_enabled(), torch.get_num_threads()


class _Own(torch.autograd.Function):
    """Changes nothing, and copies the gradient into memory that no graph overwrites."""

    @staticmethod
    def forward(_: Any, rows: Tensor) -> Tensor:
        return rows.view_as(rows)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].clone()


def _power(rows: int) -> int:
    """The least power of two that is not less."""
    return 1 << (rows - 1).bit_length()


def _filled(rows: Tensor, size: int) -> Tensor:
    """Repeats the last row, of which no gradient comes back, until there are so many."""
    missing = size - len(rows)
    if missing == 0:
        return rows
    return torch.cat([rows, rows[-1:].detach().expand(missing, *rows.shape[1:])])

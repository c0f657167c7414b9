"""What a model says of single rows, kept while the model serves.

The same examples are explained by one method after another, and compared with the same baselines
by everybody: what the model says of them need not be computed again. Raw outputs serve every
target; where only one output was read, it serves whoever wants that one.

The bytes that are hashed are those of the row itself, and of all that goes into the model beside
it: equal keys are equal rows, whoever sent them.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Final

import torch
from torch import Tensor, nn

from adcaptum.engine.vocabulary.arguments import Arguments, PerExample

MAX_BYTES: Final = 8 << 20
"""How much memory the outputs of one model's rows may take."""

MAX_ROWS: Final = 8192
"""How many there may be."""

ROW_BYTES: Final = 512
"""What an entry takes beside its numbers: its key, its place, the objects of Python and PyTorch."""


class OutputCache:
    """Outputs of rows, bounded in number and memory: those longest not asked for go first.

    Device threads and the event loop share it.

    Attributes:
        nbytes: How much memory they take.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, max_rows: int = MAX_ROWS) -> None:
        """Knows nothing yet.

        Args:
            max_bytes: How much memory it may take.
            max_rows: How many rows it may know.
        """
        self._max_bytes = max_bytes
        self._max_rows = max_rows
        self._outputs: OrderedDict[bytes, Tensor] = OrderedDict()
        self._lock = Lock()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._outputs)

    def get(self, key: bytes) -> Tensor | None:
        """Returns what is known under a key, which nobody may change; it is then the last to go."""
        with self._lock:
            found = self._outputs.get(key)
            if found is not None:
                self._outputs.move_to_end(key)
            return found

    def put(self, key: bytes, outputs: Tensor) -> None:
        """Keeps a copy of some outputs, unless they are larger than all that may be kept."""
        # A row of a batch would keep the whole batch in memory.
        own = outputs.detach().clone()
        size = own.nbytes + ROW_BYTES
        if size > self._max_bytes:
            return
        with self._lock:
            before = self._outputs.pop(key, None)
            if before is not None:
                self.nbytes -= before.nbytes + ROW_BYTES
            self._outputs[key] = own
            self.nbytes += size
            while self.nbytes > self._max_bytes or len(self._outputs) > self._max_rows:
                _, oldest = self._outputs.popitem(last=False)
                self.nbytes -= oldest.nbytes + ROW_BYTES


def row_key(
    module: nn.Module, tensors: Sequence[Tensor], arguments: Arguments, example: int
) -> bytes | None:
    """Returns the key of what a module says of a row; None where it cannot be told.

    Args:
        module: What is evaluated: copies of a model differ in their last digits.
        tensors: The row, `(*features)` each.
        arguments: What the module is given beside it.
        example: The example that the row is of, among those that the arguments are for.
    """
    whole = [*tensors]
    scalars: list[object] = []
    for place, argument in enumerate(arguments.values):
        if isinstance(argument, PerExample):
            whole.append(argument.tensor[example])
        elif argument.value is None or isinstance(argument.value, bool | int | float | str):
            scalars.append((place, argument.value))
        else:
            return None
    # Shapes and kinds first, so that no byte can move from one tensor to the next.
    forms = [f"{t.dtype}{[*t.shape]}" for t in whole]
    digest = hashlib.blake2b(f"{id(module)}{forms}{scalars}".encode(), digest_size=32)
    for t in whole:
        digest.update(_bytes(t.detach()))
    return digest.digest()


def _bytes(t: Tensor) -> memoryview | bytes:
    try:
        array = t.numpy()
    except TypeError:
        # numpy has no such type.
        array = t.reshape(-1).contiguous().view(torch.uint8).numpy()
    return array.data if array.flags.c_contiguous else array.tobytes()


def chosen(outputs: Tensor, column: tuple[int, ...]) -> Tensor | None:
    """Returns one of a row's outputs, `()`; None if there is none of that index."""
    if len(column) == outputs.ndim:
        inside = all(0 <= i < size for i, size in zip(column, outputs.shape, strict=True))
        return outputs[column] if inside else None
    # A single output needs no index, however many dimensions it has.
    return outputs.reshape(()) if outputs.numel() == 1 and not any(column) else None

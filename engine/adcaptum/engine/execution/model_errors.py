"""Conversion of errors of a model's forward to errors of the request.

Rules:
1. Exceptions pass unchanged, except an index beyond the rows of an embedding, whose error names the
   input.
2. `SystemExit` and its like end a process that serves many callers: they become `ForwardExited`.
3. An exception that a signal raises passes: it is meant for the process (Ctrl-C in a notebook, a
   timeout). Python runs signal handlers in the main thread only. The default handler of SIGINT is
   no Python code, so that the interrupted frame is not at a `raise`; another handler is a frame of
   the traceback.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Collection, Sequence
from dis import opmap
from types import CodeType, FrameType, TracebackType
from typing import Final, TypeGuard

import torch
from torch import Tensor
from torch.nn import functional

from adcaptum.engine.errors import EngineError, ForwardExited, OutOfRange

_RAISE: Final = opmap["RAISE_VARARGS"]
_LOOKUPS: Final = {functional.embedding.__code__, functional.embedding_bag.__code__}


def model_error(error: BaseException, arguments: Sequence[object], inputs: int) -> Exception | None:
    """Returns the error to raise instead of a model's; None: let it pass.

    Args:
        error: The exception that the forward raised.
        arguments: The arguments of the forward.
        inputs: The number of explained inputs among them; they come first.
    """
    if isinstance(error, IndexError | RuntimeError):
        return _beyond_an_embedding(error, arguments, inputs)
    if isinstance(error, Exception) or _is_of_a_signal(error):
        return None
    said = f": {error}" if str(error) else ""
    return ForwardExited(f"the model's forward raised {type(error).__name__}{said}")


def passed_through(error: BaseException, codes: Collection[CodeType]) -> bool:
    """Returns whether an exception that is not the engine's own has passed through a function.

    `ForwardExited` has: it stands for an exception of the model's.

    Args:
        error: The exception, as it was caught.
        codes: The code of the functions.
    """
    if isinstance(error, EngineError):
        return isinstance(error, ForwardExited)
    return any(frame.f_code in codes for frame, _ in _frames(error.__traceback__))


def _beyond_an_embedding(
    error: Exception, arguments: Sequence[object], inputs: int
) -> OutOfRange | None:
    """Returns the error of an id beyond an embedding, if an argument holds that id; else None."""
    for frame, _ in _frames(error.__traceback__):
        if frame.f_code not in _LOOKUPS:
            continue
        ids, weight = frame.f_locals.get("input"), frame.f_locals.get("weight")
        if not isinstance(weight, Tensor) or not _whole(ids):
            continue
        rows = weight.shape[0]
        beyond = ids[(ids < 0) | (ids >= rows)]
        number = _holder(ids, beyond, arguments)
        if number is None:
            continue
        beside = number - inputs
        field = f"inputs[{number}]" if beside < 0 else f"additional_forward_args[{beside}]"
        allowed = f"from 0 to {rows - 1}: the model looks it up in an embedding of {rows} rows"
        return OutOfRange(field, int(beyond[0]), f"{allowed}; baselines too")
    return None


def _holder(ids: Tensor, beyond: Tensor, arguments: Sequence[object]) -> int | None:
    """Returns the number of the argument that (most likely) holds ids beyond an embedding."""
    found: int | None = None
    for number, argument in enumerate(arguments):
        if not beyond.numel() or not _whole(argument) or not bool((argument == beyond[0]).any()):
            continue
        if argument.data_ptr() == ids.data_ptr():
            return number
        found = number if found is None else found
    return found


def _whole(value: object) -> TypeGuard[Tensor]:
    """Returns whether a value is a tensor of whole numbers that can be read.

    After a failed assertion on an accelerator no tensor on it can.
    """
    if not isinstance(value, Tensor) or value.device.type != "cpu":
        return False
    return value.dtype in {torch.int32, torch.int64}


def _is_of_a_signal(error: BaseException) -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False
    frames = _frames(error.__traceback__)
    if any(frame.f_code in _handlers() for frame, _ in frames):
        return True
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not isinstance(error, KeyboardInterrupt) or not default or not frames:
        return False
    frame, at = frames[-1]
    return frame.f_code.co_code[at] != _RAISE


def _handlers() -> set[CodeType]:
    """Returns the Python functions that handle signals."""
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = [getattr(handler, "__code__", None) for handler in handlers]
    return {code for code in codes if isinstance(code, CodeType)}


def _frames(traceback: TracebackType | None) -> list[tuple[FrameType, int]]:
    """Returns the frames of a traceback, outermost first, each with its current instruction."""
    steps: list[tuple[FrameType, int]] = []
    while traceback is not None:
        steps.append((traceback.tb_frame, traceback.tb_lasti))
        traceback = traceback.tb_next
    return steps

"""Python's garbage collection around models, which are loaded for long and have many objects."""

import gc

import torch

from adcaptum.service.device import allocator


def freeze() -> None:
    """Takes everything loaded so far out of garbage collection.

    Each full collection would otherwise stop the event loop for tenths of a second.
    """
    gc.collect()
    gc.freeze()


def collect(*, frozen: bool) -> None:
    """Collects everything, what `freeze` took out included: it holds Python's lock for long.

    Args:
        frozen: Whether `freeze` is to be called again.
    """
    if not frozen:
        gc.collect()
        return
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Returns freed memory to the system and to the device; takes milliseconds."""
    allocator.trim()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()

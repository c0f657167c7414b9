"""Fingerprints of rows, by which equal rows of different batches are recognised."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

Fingerprint = bytes

_SIZE = 16


def fingerprints(tensors: Sequence[Tensor]) -> tuple[Fingerprint, ...]:
    """A hash of 128 bits for each row of tensors, (rows, *features) each.

    Rows of other shapes or types may have the same one. On an accelerator it waits for the rows.
    """
    rows = len(tensors[0])
    flat = [
        t.detach().cpu().contiguous().reshape(rows, -1).view(torch.uint8).numpy() for t in tensors
    ]
    if len(flat) == 1:
        return tuple([blake2b(row, digest_size=_SIZE).digest() for row in flat[0]])
    prints = []
    for row in range(rows):
        made = blake2b(digest_size=_SIZE)
        for values in flat:
            made.update(values[row])
        prints.append(made.digest())
    return tuple(prints)

"""Tensors beside a model's weights: baselines, background sets and examples."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import safetensors.torch
import torch
from torch import Tensor

from adcaptum.service.models.declaration import (
    Declaration,
    DeclarationError,
    FileBaseline,
    InputDeclaration,
    NumberBaseline,
)
from adcaptum.service.models.texts import TextReader
from adcaptum.service.nearest import did_you_mean
from adcaptum.service.wire.tensors import DATATYPES

Baseline = float | int | Tensor
"""A number everywhere, a token's id, or a tensor with a batch of one."""

EXAMPLE_TEXTS: Final = ("An example.", "Not one.")
"""Examples of a text model that declares none."""

ANY_LENGTH: Final = 16
"""The length of random examples where the declaration allows any."""


def background(declared: InputDeclaration, device: torch.device) -> Tensor | None:
    """Reads an input's background rows; None without any.

    Raises:
        DeclarationError: The file is not what the declaration says.
    """
    if declared.background is None:
        return None
    return _rows(declared.background, declared.name, declared).to(device)


def baselines(
    declared: InputDeclaration, text: TextReader | None, device: torch.device
) -> Mapping[str, Baseline]:
    """Reads an input's named baselines.

    Raises:
        DeclarationError: A file is not what the declaration says, or a token does not exist.
    """
    found: dict[str, Baseline] = {}
    for name, baseline in declared.baselines.items():
        if isinstance(baseline, NumberBaseline):
            found[name] = baseline.value
        elif isinstance(baseline, FileBaseline):
            rows = _rows(baseline.path, baseline.key, declared)
            if len(rows) != 1:
                raise DeclarationError(
                    f"{baseline.path.name}: {baseline.key} has a batch of {len(rows)}, not of 1"
                )
            found[name] = rows.to(device)
        elif text is None:
            raise DeclarationError(
                f"baseline {name!r} of {declared.name!r} is a token, but the input is not a text"
            )
        else:
            found[name] = text.token_id(baseline.token)
    return MappingProxyType(found)


def examples(
    declaration: Declaration, text: TextReader | None, device: torch.device
) -> tuple[Tensor, ...]:
    """Returns example arguments of the forward method, each `(rows, ...)`, a text's mask last.

    They are the declared examples, else background rows, else random numbers.

    Raises:
        DeclarationError: A file is not what the declaration says.
    """
    made, masks = [], []
    for declared in declaration.inputs:
        if declared.kind == "text" and text is not None:
            read = text.tokenise(list(declaration.example_texts or EXAMPLE_TEXTS))
            rows = read.ids
            masks.append(read.mask.to(device))
        elif declaration.examples is not None:
            rows = _rows(declaration.examples, declared.name, declared)
        elif declared.background is not None:
            rows = _rows(declared.background, declared.name, declared)
        else:
            rows = _random(declared)
        made.append(rows.to(device))
    made += masks
    most = min(len(rows) for rows in made)
    return tuple(rows[:most] for rows in made)


def _random(declared: InputDeclaration) -> Tensor:
    shape = (4, *(ANY_LENGTH if length == -1 else length for length in declared.shape[1:]))
    generator = torch.Generator().manual_seed(0)
    dtype = DATATYPES[declared.datatype] or torch.float32
    if dtype.is_floating_point:
        return torch.rand(shape, generator=generator).to(dtype)
    return torch.randint(0, 2, shape, generator=generator).to(dtype)


def _rows(path: Path, key: str, declared: InputDeclaration) -> Tensor:
    try:
        tensors = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise DeclarationError(f"{path.name}: {error}") from error
    if key not in tensors:
        raise DeclarationError(f"{path.name}: no tensor {key!r}. {did_you_mean(key, tensors)}")
    rows = tensors[key]
    wanted, shape = list(declared.shape), list(rows.shape)
    if shape == wanted[1:] and -1 not in shape:
        raise DeclarationError(
            f"{path.name}: {key}: shape {shape} has no batch dimension; make it {[1, *shape]} "
            "with unsqueeze(0)"
        )
    fits = len(shape) == len(wanted) and all(
        want in (-1, have) for have, want in zip(shape, wanted, strict=True)
    )
    if not fits or len(rows) == 0 or rows.dtype != DATATYPES[declared.datatype]:
        raise DeclarationError(
            f"{path.name}: {key}: {rows.dtype} of shape {shape}; input {declared.name!r} takes "
            f"{declared.datatype} of shape {wanted}, -1 for any length"
        )
    return rows

"""Brings a version of a model into memory."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import cast

import safetensors.torch
import torch
from torch import Tensor, nn

from adcaptum.service.models.declaration import (
    Declaration,
    DeclarationError,
    FileBaseline,
    InputDeclaration,
    NumberBaseline,
)
from adcaptum.service.models.repository import StoredModel, Version
from adcaptum.service.models.texts import TextReader
from adcaptum.service.nearest import did_you_mean
from adcaptum.service.wire.tensors import DATATYPES

Baseline = float | int | Tensor
"""A number everywhere, a token's id, or a tensor with a batch of one."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A version of a model in memory.

    Attributes:
        declaration: What `model.toml` says.
        version: The version's name.
        digest: Of everything that decides its answers.
        module: In evaluation mode, no parameter asking for gradients.
        device: Where it is.
        baselines: By input, by name. For text inputs, the id of the token.
        backgrounds: Rows of the background set, by input.
        examples: What the forward method takes, `(rows, ...)` each.
        text: Reads the text input, if there is one.
    """

    declaration: Declaration
    version: str
    digest: str
    module: nn.Module
    device: torch.device
    baselines: Mapping[str, Mapping[str, Baseline]]
    backgrounds: Mapping[str, Tensor]
    examples: tuple[Tensor, ...]
    text: TextReader | None


def load(stored: StoredModel, version: Version, device: torch.device) -> LoadedModel:
    """Loads a version's weights and the files beside them.

    Raises:
        DeclarationError: The factory is not there, the weights do not fit the module, or a file is
            not what the declaration says.
        Exception: What the model's factory raises.
    """
    declaration = stored.declaration
    module = build(declaration)
    try:
        weights = safetensors.torch.load_file(version.weights)
        module.load_state_dict(weights, strict=True)
    except (safetensors.SafetensorError, RuntimeError) as error:
        raise DeclarationError(f"{version.weights}: {error}") from error
    module = module.to(device).eval().requires_grad_(requires_grad=False)
    _check_layers(declaration, module)
    first = declaration.inputs[0]
    text = TextReader(first) if first.kind == "text" else None
    backgrounds = {
        each.name: _rows(each.background, each.name, each).to(device)
        for each in declaration.inputs
        if each.background is not None
    }
    return LoadedModel(
        declaration=declaration,
        version=version.name,
        digest=stored.digest(version),
        module=module,
        device=device,
        baselines=MappingProxyType(
            {each.name: _baselines(each, text, device) for each in declaration.inputs}
        ),
        backgrounds=MappingProxyType(backgrounds),
        examples=_examples(declaration, text, device),
        text=text,
    )


def build(declaration: Declaration) -> nn.Module:
    """Calls the factory.

    Raises:
        DeclarationError: There is none, or what it returns is not a module.
    """
    where, _, name = declaration.factory.partition(":")
    try:
        factory = vars(importlib.import_module(where))[name]
    except (ImportError, KeyError) as error:
        raise DeclarationError(
            f"{declaration.name}: factory {declaration.factory}: {error}"
        ) from error
    module = cast("Callable[..., object]", factory)(**declaration.arguments)
    if not isinstance(module, nn.Module):
        raise DeclarationError(
            f"{declaration.name}: factory {declaration.factory} returned {type(module).__name__}, "
            "not an nn.Module"
        )
    return module


def _check_layers(declaration: Declaration, module: nn.Module) -> None:
    modules = dict(module.named_modules())
    named = {f"layers.{alias}": name for alias, name in declaration.layers.items()}
    named |= {f"inputs.{i.name}.embedding": i.embedding for i in declaration.inputs if i.embedding}
    for field, name in named.items():
        if name not in modules:
            hint = did_you_mean(name, (known for known in modules if known))
            raise DeclarationError(f"{declaration.name}: {field}: no module {name!r}. {hint}")


def _baselines(
    declared: InputDeclaration, text: TextReader | None, device: torch.device
) -> Mapping[str, Baseline]:
    found: dict[str, Baseline] = {}
    for name, baseline in declared.baselines.items():
        if isinstance(baseline, NumberBaseline):
            found[name] = baseline.value
        elif isinstance(baseline, FileBaseline):
            rows = _rows(baseline.path, baseline.key, declared)
            if len(rows) != 1:
                raise DeclarationError(
                    f"{baseline.path}: {baseline.key} has a batch of {len(rows)}, not of 1"
                )
            found[name] = rows.to(device)
        elif text is None:
            raise DeclarationError(
                f"baseline {name!r} of {declared.name!r}: a token, but it is not a text"
            )
        else:
            found[name] = text.token_id(baseline.token)
    return MappingProxyType(found)


def _examples(
    declaration: Declaration, text: TextReader | None, device: torch.device
) -> tuple[Tensor, ...]:
    if text is not None:
        read = text.tokenise(list(declaration.example_texts) or ["An example.", "Not one."])
        return read.ids.to(device), read.mask.to(device)
    made = []
    for declared in declaration.inputs:
        if declaration.examples is not None:
            rows = _rows(declaration.examples, declared.name, declared)
        elif declared.background is not None:
            rows = _rows(declared.background, declared.name, declared)
        else:
            rows = _random(declared)
        made.append(rows.to(device))
    most = min(len(rows) for rows in made)
    return tuple(rows[:most] for rows in made)


def _random(declared: InputDeclaration) -> Tensor:
    # -1 says any length, and nothing which lengths the model thrives on.
    shape = (4, *(16 if length == -1 else length for length in declared.shape[1:]))
    generator = torch.Generator().manual_seed(0)
    dtype = DATATYPES[declared.datatype] or torch.float32
    if dtype.is_floating_point:
        return torch.rand(shape, generator=generator).to(dtype)
    return torch.randint(0, 2, shape, generator=generator).to(dtype)


def _rows(path: Path, key: str, declared: InputDeclaration) -> Tensor:
    try:
        tensors = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise DeclarationError(f"{path}: {error}") from error
    if key not in tensors:
        raise DeclarationError(f"{path}: no tensor {key!r}. {did_you_mean(key, tensors)}")
    rows = tensors[key]
    fits = len(rows.shape) == len(declared.shape) and all(
        want in (-1, have) for have, want in zip(rows.shape, declared.shape, strict=True)
    )
    if not fits or len(rows) == 0 or rows.dtype != DATATYPES[declared.datatype]:
        raise DeclarationError(
            f"{path}: {key}: {rows.dtype} of shape {list(rows.shape)}; input {declared.name!r} "
            f"takes {declared.datatype} of shape {list(declared.shape)}"
        )
    return rows

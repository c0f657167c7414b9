"""The entry of a Hugging Face model: its files, and a declaration from its configuration."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from torch import nn

from adcaptum.service.authoring.errors import AuthoringError
from adcaptum.service.authoring.model_folder import VERSION, ModelFolder
from adcaptum.service.models.declaration import Declaration, DeclarationError
from adcaptum.service.models.loaders.hugging_face import (
    CLASSES,
    IMAGES,
    PREPROCESSING,
    TEXTS,
    TOKENS,
    HuggingFace,
)
from adcaptum.service.models.loaders.loader import Source

KEPT: Final = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer.json",
    PREPROCESSING,
)
"""The files that the server reads."""

ENDS: Final = {"ForImageClassification": IMAGES, "ForSequenceClassification": TEXTS}
"""The task of an architecture by the end of its name."""

MOST_TOKENS: Final = 512

RESERVED: Final = 2
"""Positions that some models keep for themselves."""


def read(folder: Path, name: str, task: str | None) -> ModelFolder:
    """Loads a model's folder and describes it.

    Args:
        folder: The folder.
        name: The name of the entry.
        task: The task; None: that of its architecture.

    Raises:
        AuthoringError: It is no such folder, or lacks a file.
    """
    config = _json(folder / "config.json")
    if config is None:
        raise AuthoringError(f"{folder}: there is no config.json in it")
    if not any(folder.glob("*.safetensors")):
        raise AuthoringError(
            f"{folder}: there is no safetensors file in it; model.save_pretrained writes one"
        )
    chosen = task or _task(config)
    if chosen not in CLASSES:
        raise AuthoringError(f"task: {chosen!r} is not one of {', '.join(map(repr, CLASSES))}")
    model = _load(folder, name, chosen)
    tables = _image(folder, config) if chosen == IMAGES else _text(folder, config, chosen, model)
    return ModelFolder(
        name=name,
        configuration={
            "description": f"{config.get('model_type', 'A model')}, {chosen}.",
            "loader": HuggingFace.name,
            "arguments": {"task": chosen},
            **tables,
        },
        weights={},
        files={f"{VERSION}/{path.name}": path for path in _files(folder)},
    )


def _load(folder: Path, name: str, task: str) -> nn.Module:
    declaration = Declaration(
        name, "", "", (), (), loader=HuggingFace.name, arguments={"task": task}
    )
    try:
        return HuggingFace().load(Source(declaration, folder, folder / "config.json"))
    except DeclarationError as error:
        raise AuthoringError(str(error)) from error


def _files(folder: Path) -> Iterator[Path]:
    for pattern in KEPT:
        yield from sorted(folder.glob(pattern))


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        read: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AuthoringError(f"{path}: {error}") from error
    return read


def _task(config: Mapping[str, Any]) -> str:
    for architecture in config.get("architectures") or ():
        for end, task in ENDS.items():
            if architecture.endswith(end):
                return task
        if architecture.endswith("Model"):
            return TOKENS
    raise AuthoringError(
        f"task: that of {config.get('architectures')} is not known; must be one of "
        f"{', '.join(map(repr, CLASSES))}"
    )


def _text(folder: Path, config: Mapping[str, Any], task: str, model: nn.Module) -> dict[str, Any]:
    if not (folder / "tokenizer.json").is_file():
        raise AuthoringError(
            f"{folder}: there is no tokenizer.json in it; save_pretrained of a fast tokenizer "
            "writes one"
        )
    inner: Any = model.model
    table = inner.get_input_embeddings()
    embedding = next(key for key, part in model.named_modules() if part is table)
    pad = _pad_token(folder, config)
    text: dict[str, Any] = {
        "name": "text",
        "kind": "text",
        "shape": [-1, -1],
        "tokenizer": f"{VERSION}/tokenizer.json",
        "max_tokens": _most_tokens(config),
        "embedding": embedding,
        "pad_token": pad,
        "baselines": {"pad": {"token": pad}},
    }
    if task == TOKENS:
        output = {"name": "embeddings", "shape": [-1, -1, int(config["hidden_size"])]}
        return {"inputs": [text], "outputs": [output]}
    return {"inputs": [text], "outputs": [_classes(config)]}


def _image(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    preprocessing = _json(folder / PREPROCESSING) or {}
    height, width = _size(preprocessing, config)
    image: dict[str, Any] = {
        "name": "image",
        "kind": "image",
        "shape": [-1, int(config.get("num_channels", 3)), height, width],
        "resize": _shorter_side(preprocessing, min(height, width)),
    }
    return {"inputs": [image], "outputs": [_classes(config)]}


def _classes(config: Mapping[str, Any]) -> dict[str, Any]:
    named = {int(key): str(label) for key, label in (config.get("id2label") or {}).items()}
    labels = [named[index] for index in sorted(named)]
    regression = config.get("problem_type") == "regression"
    output: dict[str, Any] = {"name": "logits", "shape": [-1, len(labels) or -1]}
    if not regression:
        output |= {"kind": "logits", "labels": labels}
    return output


def _size(preprocessing: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[int, int]:
    size = preprocessing.get("crop_size") or preprocessing.get("size") or config.get("image_size")
    if isinstance(size, Mapping):
        side = size.get("shortest_edge", 0)
        return int(size.get("height", side)), int(size.get("width", side))
    if isinstance(size, list) and len(size) == 2:
        return int(size[0]), int(size[1])
    if isinstance(size, int):
        return size, size
    raise AuthoringError("neither config.json nor preprocessor_config.json has the images' size")


def _shorter_side(preprocessing: Mapping[str, Any], side: int) -> int:
    size = preprocessing.get("size")
    if isinstance(size, Mapping) and "shortest_edge" in size:
        return max(side, int(size["shortest_edge"]))
    return side


def _most_tokens(config: Mapping[str, Any]) -> int:
    positions = config.get("max_position_embeddings")
    return min(MOST_TOKENS, int(positions) - RESERVED) if positions else MOST_TOKENS


def _pad_token(folder: Path, config: Mapping[str, Any]) -> str:
    settings = _json(folder / "tokenizer_config.json") or {}
    named = settings.get("pad_token")
    if isinstance(named, Mapping):
        named = named.get("content")
    if isinstance(named, str):
        return named
    # Else the token of the number that the model was trained with.
    tokens = ((_json(folder / "tokenizer.json") or {}).get("model") or {}).get("vocab") or {}
    number = config.get("pad_token_id")
    found = [token for token, index in _pairs(tokens) if index == number]
    return found[0] if found else "[PAD]"


def _pairs(tokens: Any) -> Iterator[tuple[str, int]]:
    """Yields tokens and numbers: Unigram's vocabulary is a list, others are tables."""
    if isinstance(tokens, Mapping):
        yield from tokens.items()
    else:
        yield from ((entry[0], index) for index, entry in enumerate(tokens))

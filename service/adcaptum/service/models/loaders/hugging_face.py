"""Folders of Hugging Face models: `config.json` and safetensors, read offline."""

import json
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from adcaptum.service.models.loaders.loader import Source

IMAGES: Final = "image-classification"
TEXTS: Final = "text-classification"
TOKENS: Final = "token-embeddings"

CLASSES: Final = {
    IMAGES: "AutoModelForImageClassification",
    TEXTS: "AutoModelForSequenceClassification",
    TOKENS: "AutoModel",
}
"""The class of transformers that reads a model of a task."""

POOLINGS: Final = ("none", "mean")
"""The reduction of a text's token embeddings: none, or to their mean."""

PREPROCESSING: Final = "preprocessor_config.json"


class TextModel(nn.Module):
    """A model of token ids and an attention mask."""

    def __init__(self, model: nn.Module, task: str, pooling: str) -> None:
        super().__init__()
        self.model = model
        self._task = task
        self._pooling = pooling

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Returns logits, embeddings of tokens (zero at padding), or the mean of these."""
        output: Any = self.model(input_ids=token_ids, attention_mask=attention_mask)
        if self._task == TEXTS:
            logits: Tensor = output.logits
            return logits
        mask = attention_mask.unsqueeze(-1).to(output.last_hidden_state.dtype)
        embedded: Tensor = output.last_hidden_state * mask
        return embedded.sum(1) / mask.sum(1).clamp(min=1) if self._pooling == "mean" else embedded


class ImageModel(nn.Module):
    """A classifier of images from 0 to 1, which it normalises as its preprocessing says."""

    def __init__(self, model: nn.Module, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.mean: Tensor
        self.deviation: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits."""
        output: Any = self.model(pixel_values=(images - self.mean) / self.deviation)
        logits: Tensor = output.logits
        return logits


class HuggingFace:
    """A Hugging Face model for a task; it needs the extra `hf`."""

    name: ClassVar[str] = "hugging_face"
    file: ClassVar[str] = "config.json"
    # Neither pickles nor code of the folder are read.
    runs_code: ClassVar[bool] = False
    opaque: ClassVar[bool] = False

    def load(self, source: Source) -> nn.Module:
        """Returns the model with its weights."""
        arguments = source.arguments(("task", "pooling"))
        task = _choice(source, "task", arguments.get("task"), tuple(CLASSES))
        pooling = _choice(source, "pooling", arguments.get("pooling", "none"), POOLINGS)
        if task != TOKENS and pooling != "none":
            raise source.error(f"arguments.pooling: only the task {TOKENS!r} has it, not {task!r}")
        model = _pretrained(source, task)
        if task == IMAGES:
            return ImageModel(model, *normalisation(source))
        return TextModel(model, task, pooling)


def normalisation(source: Source) -> tuple[Tensor, Tensor]:
    """Reads the mean and the deviation of each channel, `(channels, 1, 1)`; else 0 and 1."""
    path = source.file.parent / PREPROCESSING
    read: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    used = read.get("do_normalize", True)
    mean = read.get("image_mean", [0.0]) if used else [0.0]
    deviation = read.get("image_std", [1.0]) if used else [1.0]
    return torch.tensor(mean).view(-1, 1, 1), torch.tensor(deviation).view(-1, 1, 1)


def _choice(source: Source, key: str, value: object, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in known:
        allowed = ", ".join(map(repr, known))
        raise source.error(f"arguments.{key}: {value!r} is not one of {allowed}")
    return value


def _pretrained(source: Source, task: str) -> nn.Module:
    try:
        import transformers  # noqa: PLC0415 - the extra may be missing
    except ImportError as error:
        raise source.error(
            f"a Hugging Face model needs transformers: pip install 'adcaptum[hf]' ({error})"
        ) from error
    # Weights of a head that the task does not use are no news, and bars no lines of a log.
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        model, info = getattr(transformers, CLASSES[task]).from_pretrained(
            source.file.parent,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            # Rules on operations know its products and softmax, gradients are the same.
            attn_implementation="eager",
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise source.error(f"transformers cannot load it: {error}") from error
    # A pooler's output is not read where embeddings of tokens are.
    missing = [key for key in info["missing_keys"] if task != TOKENS or "pooler" not in key]
    if missing:
        raise source.error(
            f"its weights lack {', '.join(map(repr, sorted(missing)[:3]))}, which {task} needs"
        )
    made: nn.Module = model
    return made

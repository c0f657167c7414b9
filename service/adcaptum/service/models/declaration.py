"""What a model's `model.toml` declares."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

Kind = Literal["image", "text", "tabular", "tensor"]
OutputKind = Literal["logits", "probabilities", "values"]
Precision = Literal["as loaded", "float32", "bfloat16", "float16"]
MemoryFormat = Literal["auto", "as loaded", "channels last"]
Value = str | int | float | bool | tuple[int, ...]

ZERO: Final = "zero"
"""The named baseline that every model has."""


class DeclarationError(ValueError):
    """A `model.toml`, or a file that it names, is not as it must be."""


@dataclass(frozen=True, slots=True)
class NumberBaseline:
    """The same number everywhere."""

    value: float


@dataclass(frozen=True, slots=True)
class FileBaseline:
    """A tensor in a safetensors file, with a batch of one."""

    path: Path
    key: str


@dataclass(frozen=True, slots=True)
class TokenBaseline:
    """The text with each token that is not special replaced by this one."""

    token: str


NamedBaseline = NumberBaseline | FileBaseline | TokenBaseline


@dataclass(frozen=True, slots=True)
class InputDeclaration:
    """One input as callers see it.

    Attributes:
        name: What requests call it.
        kind: What it is.
        datatype: What the forward method takes.
        shape: -1 stands for any length; the first is the batch.
        default_baseline: The baseline where a request names none.
        baselines: By name, `zero` always among them.
        features: Tabular: the name of each.
        units: Tabular: the unit of each, or nothing.
        background: A safetensors file of background rows, under the input's name.
        resize: Image: the length of the shorter side before the centre is cropped, in pixels.
        tokenizer: Text: the tokenizer's file.
        max_tokens: Text: longer texts are cut.
        embedding: Text: the module at whose output tokens are explained.
        pad_token: Text: what short texts are filled up with.
    """

    name: str
    kind: Kind
    datatype: str
    shape: tuple[int, ...]
    default_baseline: str = ZERO
    baselines: Mapping[str, NamedBaseline] = field(
        default_factory=lambda: MappingProxyType({ZERO: NumberBaseline(0.0)})
    )
    features: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    background: Path | None = None
    resize: int | None = None
    tokenizer: Path | None = None
    max_tokens: int = 0
    embedding: str = ""
    pad_token: str = ""


@dataclass(frozen=True, slots=True)
class OutputDeclaration:
    """One output as callers see it.

    Attributes:
        name: What replies call it.
        datatype: What the forward method returns.
        shape: -1 stands for any length; the first is the batch.
        kind: What the numbers are.
        labels: The name of each class, or nothing.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    kind: OutputKind = "values"
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Runtime:
    """How the model may be arranged for evaluations of its inputs and outputs.

    Attributes:
        precision: What it computes with there. Another one than the model's own is the owner's
            choice, because the numbers change.
        memory_format: Where the channels of images stand in memory; `auto`: wherever is faster.
        fold_batch_norm: Whether batch norms may be folded into the layers before them, where that
            is faster.
    """

    precision: Precision = "as loaded"
    memory_format: MemoryFormat = "auto"
    fold_batch_norm: bool = True


@dataclass(frozen=True, slots=True)
class Declaration:
    """A whole `model.toml`.

    Attributes:
        name: The folder's.
        description: For people.
        factory: `module:callable` that returns an `nn.Module` in evaluation mode.
        arguments: The factory's keyword arguments.
        default_version: The version where a request names none; empty: the highest.
        aliases: Alias to version.
        accuracy: Held-out, as the builder measured it.
        source: Where data and weights come from, and their licences.
        inputs: In the order of the forward method's arguments.
        outputs: The first is the one explained.
        layers: Alias to qualified module name.
        default_method: The method where a request names none.
        default_params: Its parameters.
        max_rows: The most rows in one explanation.
        max_examples: The most examples in one request.
        examples: A safetensors file of examples, by input name.
        example_texts: Examples of text inputs.
        runtime: How it may be arranged for speed.
    """

    name: str
    description: str
    factory: str
    inputs: tuple[InputDeclaration, ...]
    outputs: tuple[OutputDeclaration, ...]
    arguments: Mapping[str, object] = field(default_factory=dict)
    default_version: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    accuracy: float | None = None
    source: str = ""
    layers: Mapping[str, str] = field(default_factory=dict)
    default_method: str = "integrated_gradients"
    default_params: Mapping[str, Value] = field(default_factory=dict)
    max_rows: int = 100_000
    max_examples: int = 64
    examples: Path | None = None
    example_texts: tuple[str, ...] = ()
    runtime: Runtime = Runtime()

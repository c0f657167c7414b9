"""The declaration of a model: the content of `model.toml`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from adcaptum.service.placement.terms import ANYWHERE, Terms
from adcaptum.v1 import explain_spec_pb2

Kind = Literal["image", "text", "tabular", "tensor"]
OutputKind = Literal["logits", "probabilities", "values"]
Precision = Literal["as loaded", "float32", "tf32", "bfloat16", "float16"]
MemoryFormat = Literal["auto", "as loaded", "channels last"]

ZERO: Final = "zero"
"""The named baseline that every model has."""

DEFAULT_PRESET: Final = "default"
"""The preset of requests that name none."""


class DeclarationError(ValueError):
    """A fault of a `model.toml`, of a file that it names, or of the model behind it."""


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
        name: The name in requests.
        kind: The kind of data.
        datatype: The datatype that the forward method takes.
        shape: -1 stands for any length; the first is the batch.
        default_baseline: The baseline of requests that name none: its name, or a number.
        baselines: Baselines by name; `zero` is one of them, except for texts.
        features: Tabular: the name of each feature.
        units: Tabular: the unit of each feature; empty if unknown.
        categories: Tabular: the names of the values 0, 1, … of a feature, by the feature's name.
        background: A safetensors file of background rows, under the input's name.
        resize: Image: the length of the shorter side before the centre is cropped, in pixels.
        tokenizer: Text: the tokenizer's file. The forward method takes token ids in the place of
            the text, and an attention mask (1 for a token, 0 for padding) after all inputs, both
            `(batch, tokens)` of INT64.
        max_tokens: Text: the tokens after which a text is cut.
        embedding: Text or whole numbers: the module at whose output they are explained.
        pad_token: Text: the token that fills up short texts.
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
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
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
        name: The name in replies.
        datatype: The datatype that the forward method returns.
        shape: -1 stands for any length; the first is the batch.
        kind: The meaning of the numbers.
        labels: The name of each class; empty if unknown.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    kind: OutputKind = "values"
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Runtime:
    """The variants of the model that may evaluate its inputs and outputs.

    Attributes:
        precision: The precision to compute with. Another one than the model's own changes the
            numbers and is therefore the owner's choice. With `tf32` the weights stay in float32,
            and CUDA may round products to TF32; elsewhere it is the model as loaded.
        memory_format: The place of images' channels in memory; `auto`: the faster one.
        fold_batch_norm: Permission to fold batch norms into the layers before them, where that is
            faster.
    """

    precision: Precision = "as loaded"
    memory_format: MemoryFormat = "auto"
    fold_batch_norm: bool = True


@dataclass(frozen=True, slots=True)
class Declaration:
    """The content of a `model.toml`.

    Attributes:
        name: The name of the model's folder.
        description: A text for people.
        factory: `module:callable` that returns an `nn.Module`, of the model's `code/` folder or a
            package that the operator allows. Required with the loader `factory`.
        loader: The kind of model, as [Write a loader](../how-to/write-a-loader.md) lists them.
        arguments: The keyword arguments of the factory, or of another loader.
        trusted: The SHA-256 of files whose loading may run code, by their path in the folder, such
            as `"1/model.pt2"`.
        default_version: The version of requests that name none; empty: the highest.
        aliases: Versions by alias.
        accuracy: The held-out accuracy that the builder measured.
        source: The origin of data and weights, and their licences.
        inputs: The inputs in the order of the forward method's arguments.
        outputs: The outputs, of which the first is explained.
        layers: Qualified module names by alias.
        presets: Questions by name, those that the owner wrote.
        max_rows: The most rows in one explanation.
        max_examples: The most examples in one request.
        examples: A safetensors file of examples, by input name.
        example_texts: Examples of a text input.
        runtime: The precision, and the transforms that may make the model faster.
        placement: The workers on which it wants to be.
    """

    name: str
    description: str
    factory: str
    inputs: tuple[InputDeclaration, ...]
    outputs: tuple[OutputDeclaration, ...]
    loader: str = "factory"
    arguments: Mapping[str, object] = field(default_factory=dict)
    trusted: Mapping[str, str] = field(default_factory=dict)
    default_version: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    accuracy: float | None = None
    source: str = ""
    layers: Mapping[str, str] = field(default_factory=dict)
    presets: Mapping[str, explain_spec_pb2.Preset] = field(default_factory=dict)
    max_rows: int = 100_000
    max_examples: int = 64
    examples: Path | None = None
    example_texts: tuple[str, ...] = ()
    runtime: Runtime = Runtime()
    placement: Terms = ANYWHERE

    @property
    def text(self) -> int | None:
        """The place of the text among the inputs; None without one."""
        texts = [place for place, each in enumerate(self.inputs) if each.kind == "text"]
        return texts[0] if texts else None

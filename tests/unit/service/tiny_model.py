"""A served model that needs no repository."""

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor, nn

from adcaptum.service.models import checks
from adcaptum.service.models.declaration import (
    DEFAULT_PRESET,
    Declaration,
    InputDeclaration,
    OutputDeclaration,
)
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.served_model import ServedModel
from adcaptum.v1 import explain_spec_pb2, method_pb2

FEATURES = 3
CLASSES = 2
SALIENCY = MappingProxyType(
    {
        DEFAULT_PRESET: explain_spec_pb2.Preset(
            name=DEFAULT_PRESET,
            spec=explain_spec_pb2.ExplainSpec(methods=[method_pb2.MethodSpec(name="saliency")]),
        )
    }
)
IDS = torch.tensor([[1, 4, 7], [2, 2, 5]])


class Watched(nn.Module):
    """A linear model that shows every batch to whoever watches, who may raise.

    Attributes:
        watch: Called with the rows of each batch.
        batches: How many rows each batch had.
    """

    def __init__(self) -> None:
        super().__init__()
        self.watch: Callable[[Tensor], None] = lambda _: None
        self.batches: list[int] = []
        weight = torch.arange(float(FEATURES * CLASSES)).view(CLASSES, FEATURES)
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Maps `(rows, 3)` to `(rows, 2)`."""
        self.batches.append(len(rows))
        self.watch(rows.detach())
        return torch.nn.functional.linear(rows, self.weight) ** 2


def served() -> tuple[ServedModel, Watched]:
    """Makes a model, and what it is made of."""
    module = Watched().eval()
    declaration = Declaration(
        name="tiny",
        description="",
        factory="tiny:build",
        inputs=(InputDeclaration("x", "tensor", "FP32", (-1, FEATURES)),),
        outputs=(OutputDeclaration("y", "FP32", (-1, CLASSES), "logits", ("no", "yes")),),
        presets=SALIENCY,
    )
    loaded = LoadedModel(
        declaration=declaration,
        version="1",
        digest="0",
        module=module,
        device=torch.device("cpu"),
        baselines=MappingProxyType({"x": MappingProxyType({"zero": 0.0})}),
        backgrounds=MappingProxyType({"x": torch.eye(FEATURES)}),
        examples=(torch.eye(FEATURES),),
        text=None,
    )
    model = ServedModel.of(loaded, checks.check(loaded))
    module.batches.clear()
    return model, module


class Tokens(nn.Module):
    """Token ids to two numbers, by their embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.hidden = nn.Linear(6, 5)
        self.classify = nn.Linear(5, 2)

    def forward(self, ids: Tensor) -> Tensor:
        """Maps `(rows, tokens)` to `(rows, 2)`."""
        return self.classify(torch.relu(self.hidden(self.embedding(ids).mean(1))))


def tokens() -> ServedModel:
    """Makes a model of whole numbers, which are explained at their embeddings."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Tokens().eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    declaration = Declaration(
        name="tokens",
        description="",
        factory="tokens:build",
        inputs=(InputDeclaration("ids", "tensor", "INT64", (-1, -1), embedding="embedding"),),
        outputs=(OutputDeclaration("y", "FP32", (-1, 2), "logits"),),
        presets=SALIENCY,
        layers=MappingProxyType({"middle": "hidden"}),
    )
    loaded = LoadedModel(
        declaration=declaration,
        version="1",
        digest="0",
        module=module,
        device=torch.device("cpu"),
        baselines=MappingProxyType({"ids": MappingProxyType({"zero": 0.0})}),
        backgrounds=MappingProxyType({}),
        examples=(IDS,),
        text=None,
    )
    return ServedModel.of(loaded, checks.check(loaded))


class Layered(nn.Module):
    """Rows of numbers to two numbers, by a hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(FEATURES, 5)
        self.classify = nn.Linear(5, CLASSES)

    def forward(self, rows: Tensor) -> Tensor:
        """Maps `(rows, 3)` to `(rows, 2)`."""
        return self.classify(torch.tanh(self.hidden(rows)))


def layered() -> ServedModel:
    """Makes a model of numbers with layers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Layered().eval()
    model = served()[0]
    declaration = replace(
        model.loaded.declaration, name="layered", layers=MappingProxyType({"middle": "hidden"})
    )
    loaded = replace(model.loaded, declaration=declaration, module=module)
    return ServedModel.of(loaded, checks.check(loaded))

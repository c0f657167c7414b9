"""The networks that are explained most: ResNet-50, ViT-S, a small BERT and a network for tables.

Their weights are random: what is checked is arithmetic. Where timm or transformers is missing, and
on a processor, the small networks of `subjects` stand in for them.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn

from adcaptum.engine import Site
from adcaptum.service.models.declaration import (
    Declaration,
    InputDeclaration,
    OutputDeclaration,
    Runtime,
)
from adcaptum.service.models.loading import LoadedModel
from tests.gpu.subjects import DEVICE, ON_GPU, mlp, networks, rows_of

EMBEDDINGS: Final = {"encoder": "embedding", "bert": "bert.bert.embeddings.word_embeddings"}
"""The module at whose output each network of token ids is explained."""


class Bert(nn.Module):
    """A small BERT over token ids, (rows, tokens)."""

    def __init__(self, transformers: Any) -> None:
        super().__init__()
        config = transformers.BertConfig(
            vocab_size=1000, hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
            intermediate_size=1024, num_labels=5,
        )  # fmt: skip
        self.bert = transformers.BertForSequenceClassification(config)

    def forward(self, ids: Tensor) -> Tensor:
        """Maps ids to logits, (rows, 5)."""
        logits: Tensor = self.bert(ids).logits
        return logits


def usual_networks() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Returns networks on the processor in float32, with the shape of a row."""
    small = networks()
    if not ON_GPU:
        return small
    torch.manual_seed(0)
    made: dict[str, tuple[nn.Module, tuple[int, ...]]] = {"mlp": (mlp(), (30,))}
    try:
        timm: Any = import_module("timm")
    except ImportError:
        made["resnet"] = small["resnet"]
    else:
        made["resnet50"] = (timm.create_model("resnet50"), (3, 224, 224))
        made["vit_s"] = (timm.create_model("vit_small_patch16_224"), (3, 224, 224))
    try:
        transformers: Any = import_module("transformers")
    except ImportError:
        made["encoder"] = small["encoder"]
    else:
        made["bert"] = (Bert(transformers), (64,))
    for network, _ in made.values():
        network.eval().requires_grad_(False)
    return made


def site_of(name: str) -> Site | None:
    """Returns the site at which a network's gradients are taken; None: its input."""
    return Site(EMBEDDINGS[name]) if name in EMBEDDINGS else None


def loaded(
    name: str, network: nn.Module, shape: tuple[int, ...], runtime: Runtime | None = None
) -> LoadedModel:
    """Returns a network on the device as the service has it in memory."""
    examples = rows_of(shape, 6).to(DEVICE)
    network = network.to(DEVICE)
    embedding = EMBEDDINGS.get(name, "")
    classes = network(examples[:1]).shape[1]
    datatype = "INT64" if embedding else "FP32"
    declaration = Declaration(
        name=name,
        description="",
        factory="tests:build",
        inputs=(InputDeclaration("x", "tensor", datatype, (-1, *shape), embedding=embedding),),
        outputs=(OutputDeclaration("y", "FP32", (-1, classes), "logits"),),
        runtime=runtime or Runtime(),
    )
    return LoadedModel(
        declaration=declaration,
        version="1",
        digest="0",
        module=network,
        device=DEVICE,
        baselines=MappingProxyType({"x": MappingProxyType({"zero": 0.0})}),
        backgrounds=MappingProxyType({}),
        examples=(examples,),
        text=None,
    )

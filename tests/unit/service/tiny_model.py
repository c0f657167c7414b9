"""A served model that needs no repository."""

from collections.abc import Callable
from types import MappingProxyType

import torch
from torch import Tensor, nn

from adcaptum.service import checks
from adcaptum.service.declaration import Declaration, InputDeclaration, OutputDeclaration
from adcaptum.service.loading import LoadedModel
from adcaptum.service.served_model import ServedModel

FEATURES = 3
CLASSES = 2


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
        default_method="saliency",
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

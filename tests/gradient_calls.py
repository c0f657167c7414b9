"""How each gradient method of the facade is called, for tests of all of them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from adcaptum import attr
from tests.captum_oracle import ours
from tests.models import numbers


@dataclass(frozen=True)
class Call:
    """How a class is called for a model with a layer "1" of 16 tanh neurons."""

    layer: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)

    def construct(self, model: nn.Module) -> tuple[Any, ...]:
        return (model, model.get_submodule("1")) if self.layer else (model,)


TARGET = {"target": [0, 2, 1]}
BASELINES = {"baselines": 0.3}
ONE_ROW = {"baselines": torch.full((1, 8), 0.3, dtype=torch.float64)}
NEURON = {"neuron_selector": 5}
CALLS = {
    "Saliency": Call(False, TARGET),
    "InputXGradient": Call(False, TARGET),
    "IntegratedGradients": Call(False, TARGET | BASELINES),
    "GradientShap": Call(False, TARGET | ONE_ROW),
    "LayerActivation": Call(True),
    "LayerGradientXActivation": Call(True, TARGET),
    "LayerGradCam": Call(True, TARGET),
    "LayerConductance": Call(True, TARGET | BASELINES),
    "InternalInfluence": Call(True, TARGET | BASELINES),
    "LayerIntegratedGradients": Call(True, TARGET | BASELINES),
    "LayerGradientShap": Call(True, TARGET | ONE_ROW),
    "NeuronGradient": Call(True, NEURON),
    "NeuronIntegratedGradients": Call(True, NEURON | BASELINES),
    "NeuronConductance": Call(True, NEURON | TARGET | BASELINES),
    "NeuronGradientShap": Call(True, NEURON | ONE_ROW),
}
RANDOM = {"GradientShap", "LayerGradientShap", "NeuronGradientShap"}
AT_LAYERS = {name for name, call in CALLS.items() if call.layer}
WITH_BATCHES = [
    name
    for name in CALLS
    if "internal_batch_size" in inspect.signature(getattr(attr, name).attribute).parameters
]
X = numbers(3, 8)


def explain(name: str, model: nn.Module, x: Tensor = X, **more: Any) -> Any:
    call = CALLS[name]
    if name in RANDOM:
        torch.manual_seed(5)
    return ours(name, call.construct(model), x, **call.arguments, **more)

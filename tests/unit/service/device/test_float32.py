"""Products of float32: IEEE, unless a model has declared TF32.

Tensors of the device `meta` have no numbers, but the settings are those of a device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.service.device.float32 import InTF32, evaluate
from adcaptum.service.models.declaration import Runtime
from adcaptum.service.models.layouts.transforms import TransformOptions, Transforms


class Told(nn.Module):
    """A model that notes whether it may use TF32."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.told: list[tuple[bool, bool]] = []

    def forward(self, rows: Tensor) -> Tensor:
        cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        self.told.append((cuda.allow_tf32, cudnn.allow_tf32))
        return rows[:, :2]


def batch(device: str = "meta") -> list[RowRange]:
    return [RowRange(Evaluation(Given((torch.zeros(2, 3, device=device),))), 0, 2)]


def test_tf32_is_off_but_for_models_that_declare_it() -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    model = Told()
    evaluate(model, batch())
    evaluate(InTF32(model), batch())
    evaluate(model, batch())
    assert model.told == [(False, False), (True, True), (False, False)]
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_a_processor_has_no_tf32_to_switch() -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    model = Told()
    evaluate(InTF32(model), batch("cpu"))
    assert model.told == [before]


def test_tf32_is_a_variant_on_cuda_and_the_model_as_loaded_elsewhere() -> None:
    runtime, model = Runtime(precision="tf32"), Told()
    on_cuda = TransformOptions.of(runtime, model, torch.device("cuda", 1))
    assert on_cuda.precision == "tf32"
    assert on_cuda.demanding
    assert [each.name for each in on_cuda.transforms(foldable=False)] == ["tf32"]
    assert TransformOptions.of(runtime, model, torch.device("cpu")).precision == ""
    assert TransformOptions.of(runtime, model.double(), torch.device("cuda")).precision == ""


def test_the_variant_shares_the_weights() -> None:
    model = Told()
    made = Transforms(precision="tf32").apply(model, [])
    assert isinstance(made, InTF32)
    assert next(iter(made.parameters())) is model.weight

"""Independence of rows, chosen variants and distances from float64, with TF32 on and off."""

from __future__ import annotations

import sys
from copy import deepcopy
from typing import Final

import torch
from torch import Tensor, nn

from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.service.device.float32 import InTF32, evaluate
from adcaptum.service.models import checks
from adcaptum.service.models.declaration import Runtime
from adcaptum.service.models.layouts import choice
from tests.gpu.subjects import DEVICE, ON_GPU, off, rows_of, tell
from tests.gpu.usual import loaded, usual_networks

ROWS: Final = 16


def main() -> int:
    """Prints them for each network; fails if the rows of one seem to depend on each other."""
    dependent = []
    for name, (network, shape) in usual_networks().items():
        rows = rows_of(shape, ROWS)
        with torch.no_grad():
            truth = deepcopy(network).double()(rows.double() if rows.is_floating_point() else rows)
        for precision in ("as loaded", "tf32"):
            model = loaded(name, network, shape, Runtime(precision=precision))
            checked = checks.check(model)
            variant = choice.choose(model, checked, 0.025)
            if not checked.independent:
                dependent.append(name)
            tell(
                network=name,
                precision=precision,
                independent=checked.independent,
                dependence=checked.dependence,
                differentiable=checked.differentiable,
                variant=variant.name,
                distance=variant.distance._asdict(),
                rounding=variant.trials.rounding._asdict(),
                rows_per_second=dict(variant.trials.rows_per_second),
                refused=dict(variant.trials.failures),
            )
        for module in (network, InTF32(network)):
            found = _outputs(module, rows)
            alone = torch.cat([_outputs(module, rows[i : i + 1]) for i in range(4)])
            tell(
                network=name,
                tf32=isinstance(module, InTF32) and ON_GPU,
                outputs_off=off(found, truth),
                alone_against_batch=off(alone, found[:4]),
            )
        network.cpu()
    tell(dependent=dependent)
    return len(dependent)


def _outputs(module: nn.Module, rows: Tensor) -> Tensor:
    whole = Evaluation(Given((rows.to(DEVICE),)))
    return evaluate(module, [RowRange(whole, 0, len(rows))])[0].values


if __name__ == "__main__":
    sys.exit(main())

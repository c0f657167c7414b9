"""Independence of rows, and distances from float64 on the processor, with TF32 on and off."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from tests.gpu.subjects import DEVICE, networks, off, rows_of, tell


def main() -> None:
    """Prints them for each network."""
    for name, (network, shape) in networks().items():
        rows = rows_of(shape, 33)
        truth = _answers(deepcopy(network).double(), rows, torch.device("cpu"))
        own = deepcopy(network).to(DEVICE)
        for tf32 in (False, True):
            torch.backends.cuda.matmul.allow_tf32 = tf32
            torch.backends.cudnn.allow_tf32 = tf32
            outputs, gradients = _answers(own, rows, DEVICE)
            alone = torch.cat([_answers(own, rows[i : i + 1], DEVICE)[0] for i in range(5)])
            tell(
                network=name,
                tf32=tf32,
                outputs_off=off(outputs, truth[0]),
                gradients_off=off(gradients, truth[1]),
                alone_against_batch=off(alone, outputs[:5]),
            )


def _answers(network: nn.Module, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """The outputs, and the gradients of the first with respect to the first parameters' input."""
    dtype = next(network.parameters()).dtype
    x = rows.to(device)
    seen: list[Tensor] = []
    if rows.is_floating_point():
        x = x.to(dtype).requires_grad_()
        outputs = network(x)
        return outputs.detach(), torch.autograd.grad(outputs[:, 0].sum(), x)[0]

    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1]

    handle = network.get_submodule("embedding").register_forward_hook(keep)
    outputs = network(x)
    handle.remove()
    return outputs.detach(), torch.autograd.grad(outputs[:, 0].sum(), seen[0])[0]


if __name__ == "__main__":
    main()

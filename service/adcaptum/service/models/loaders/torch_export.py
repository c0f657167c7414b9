"""Programs of `torch.export`: `.pt2` files."""

from typing import ClassVar

import torch
from torch import nn
from torch.export import ExportedProgram

from adcaptum.service.models.loaders.loader import Source


class TorchExport:
    """A program of `torch.export`, unflattened, so that it has the layers it was exported from.

    What is explained at inputs or layers, or by rules on operations, is explained as on the module.
    """

    name: ClassVar[str] = "torch_export"
    file: ClassVar[str] = "model.pt2"
    # torch.export.load unpickles parts of the file.
    runs_code: ClassVar[bool] = True
    opaque: ClassVar[bool] = False

    def load(self, source: Source) -> nn.Module:
        """Returns the program's module."""
        source.arguments()
        try:
            program = torch.export.load(source.trusted)
        except Exception as error:  # torch raises nothing more precise
            raise source.error(f"torch.export cannot load it: {error}") from error
        for name, shape in input_shapes(program).items():
            if shape and isinstance(shape[0], int):
                raise source.error(
                    f"its input {name!r} has the fixed shape {list(shape)}; the first dimension "
                    "is the batch and must be dynamic: export it with dynamic_shapes, such as "
                    '({0: torch.export.Dim("batch")},)'
                )
        return torch.export.unflatten(program)


def input_shapes(program: ExportedProgram) -> dict[str, tuple[int | torch.SymInt, ...]]:
    """Returns the shape of each tensor that the program takes; a dynamic length is a symbol."""
    named = set(program.graph_signature.user_inputs)
    values = {
        node.name: node.meta.get("val")
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in named
    }
    return {
        name: tuple(value.shape)
        for name, value in values.items()
        if isinstance(value, torch.Tensor)
    }

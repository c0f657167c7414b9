"""A model each of whose inputs is the output of a layer of its own."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import TypeVar

from torch import nn

from adcaptum.attr.errors import InvalidInput

T = TypeVar("T")


class InputIdentity(nn.Module):
    """A layer that passes an argument on.

    Attributes:
        input_name: The argument's name.
    """

    def __init__(self, input_name: str) -> None:
        super().__init__()
        self.input_name = input_name

    def forward(self, x: T) -> T:
        """Returns the argument."""
        return x


class ModelInputWrapper(nn.Module):
    """A model whose inputs can be explained like layers, beside layers within it.

    Integrated gradients of a text's embedding and of an image at once:
    `LayerIntegratedGradients(wrapped, [wrapped.input_maps["image"], wrapped.module.embedding])`.

    Attributes:
        module: The model.
        arg_name_list: The names of its forward's arguments.
        input_maps: The layer of each argument by its name.
    """

    def __init__(self, module_to_wrap: nn.Module) -> None:
        super().__init__()
        self.module = module_to_wrap
        parameters = signature(module_to_wrap.forward).parameters.values()
        several = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        self.arg_name_list = [p.name for p in parameters if p.kind not in several]
        self.input_maps = nn.ModuleDict()
        for name in self.arg_name_list:
            if hasattr(self.input_maps, name):
                raise InvalidInput(
                    "module_to_wrap",
                    f"a model with an argument {name!r}",
                    "one without names of attributes of torch.nn.ModuleDict: rename the argument",
                )
            self.input_maps[name] = InputIdentity(name)

    def forward(self, *args: object, **kwargs: object) -> object:
        """Calls the model with each argument passed through its layer."""
        known = self.arg_name_list[: len(args)]
        passed = [self._passed(name, value) for name, value in zip(known, args, strict=False)]
        named = {name: self._passed(name, value) for name, value in kwargs.items()}
        return self.module(*passed, *args[len(known) :], **named)

    def _passed(self, name: str, value: object) -> object:
        return self.input_maps[name](value) if name in self.input_maps else value

"""The modules of a model: all of them, or one by its name."""

from __future__ import annotations

from torch import nn

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.vocabulary.site import Layer


def every_module(model: nn.Module) -> list[nn.Module]:
    """Returns the model and all modules in it, in a fifth of the time of `modules`.

    Some may come twice.
    """
    found, containers = [model], set[nn.Module]()
    for module in found:  # which grows meanwhile
        below = module._modules  # noqa: SLF001
        if below and module not in containers:
            containers.add(module)
            found.extend([each for each in below.values() if each is not None])
    return found


def find_layer(model: object, layer: Layer) -> nn.Module:
    """Returns a module of the model by its qualified name; a module itself unchanged.

    Raises:
        InvalidArgument: If the model has none.
    """
    if isinstance(layer, nn.Module):
        return layer
    assert isinstance(model, nn.Module), "names are looked up in modules"
    try:
        return model.get_submodule(layer)
    except AttributeError as error:
        raise InvalidArgument(
            "layer", repr(layer), "the qualified name of a module, as named_modules() gives it"
        ) from error

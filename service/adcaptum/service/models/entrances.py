"""Sites at which the inputs of a model are explained with gradients.

Whole numbers have no gradients: token ids are explained at the output of their embedding. A model
that has other inputs beside them is explained at several places at once. Its floating-point inputs
need a module of their own for that: an entrance, through which they pass unchanged.
"""

from collections.abc import Sequence
from typing import Final

from torch import Tensor, nn

from adcaptum.engine.vocabulary.site import Layer, Site
from adcaptum.service.models.declaration import Declaration, DeclarationError, InputDeclaration
from adcaptum.service.wire.tensors import DATATYPES

PREFIX: Final = "adcaptum_entrance_"
"""The beginning of the names of entrances, which no layer of a model has."""


def explained(declaration: Declaration) -> tuple[int, ...]:
    """Returns the inputs that are explained together with gradients, by their places.

    All inputs, where none has an embedding; else those that have one, or are floating-point.
    """
    inputs = declaration.inputs
    if not any(each.embedding for each in inputs):
        return tuple(range(len(inputs)))
    return tuple(place for place, each in enumerate(inputs) if each.embedding or _is_real(each))


def site(declaration: Declaration) -> Site | None:
    """Returns the site of the explained inputs; None: the inputs themselves."""
    inputs = declaration.inputs
    if not any(each.embedding for each in inputs):
        return None
    places = explained(declaration)
    layers: list[Layer] = [inputs[place].embedding or f"{PREFIX}{place}" for place in places]
    return Site(layers[0] if len(layers) == 1 else tuple(layers))


def add(module: nn.Module, declaration: Declaration) -> None:
    """Adds entrances to a module, for floating-point inputs beside embedded ones.

    Raises:
        DeclarationError: The module cannot have any.
    """
    inputs = declaration.inputs
    if site(declaration) is None or not any(map(_is_real, inputs)):
        return
    places = tuple(place for place, each in enumerate(inputs) if _is_real(each))
    kind = type(module)
    if not isinstance(kind.forward, type(add)):
        raise DeclarationError(
            f"{declaration.name}: inputs of several kinds need a module whose forward is Python"
        )

    def forward(self: nn.Module, *arguments: Tensor) -> object:
        return kind.forward(self, *_entered(self, arguments, places))

    for place in places:
        module.add_module(f"{PREFIX}{place}", nn.Identity())
    module.__class__ = type(kind.__name__, (kind,), {"forward": forward})


def _entered(module: nn.Module, arguments: Sequence[Tensor], places: Sequence[int]) -> list[Tensor]:
    passed = list(arguments)
    for place in places:
        passed[place] = module.get_submodule(f"{PREFIX}{place}")(passed[place])
    return passed


def _is_real(declared: InputDeclaration) -> bool:
    """True if an input is floating-point and not embedded."""
    dtype = DATATYPES[declared.datatype]
    return not declared.embedding and dtype is not None and dtype.is_floating_point

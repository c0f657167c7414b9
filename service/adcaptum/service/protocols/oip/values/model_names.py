"""Names of models in the protocol: those of the repository, and virtual ones that explain.

`cells:explain:saliency` explains `cells` by a method, `cells:explain:quick` by a preset. No name of
a model has a colon, and no preset has a method's name.
"""

from typing import Final, NamedTuple

from adcaptum.v1 import model_pb2

SEPARATOR: Final = ":explain:"

ALIAS: Final = "@"
"""The character before an alias where the protocol has a version."""


class ModelName(NamedTuple):
    """A name of a model.

    Attributes:
        model: The model of the repository.
        explained_by: A method or a preset; empty for predictions.
    """

    model: str
    explained_by: str = ""

    def __str__(self) -> str:
        return f"{self.model}{SEPARATOR}{self.explained_by}" if self.explained_by else self.model


def parsed(name: str) -> ModelName:
    """Reads a name."""
    model, found, explained_by = name.partition(SEPARATOR)
    # Without a method or preset it is the name of no model, and so it stays.
    return ModelName(model, explained_by) if found and explained_by else ModelName(name)


def reference(model: str, version: str) -> model_pb2.ModelRef:
    """Returns the reference to a model.

    Args:
        model: Its name in the repository.
        version: Its version; an alias after `ALIAS`; empty for the default version.
    """
    if version.startswith(ALIAS):
        return model_pb2.ModelRef(name=model, alias=version.removeprefix(ALIAS))
    if version:
        return model_pb2.ModelRef(name=model, version=version)
    return model_pb2.ModelRef(name=model)

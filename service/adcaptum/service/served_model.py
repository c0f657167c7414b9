"""A version of a model that answers requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from adcaptum.engine.evaluation import INPUT, Site
from adcaptum.service.checks import Checks
from adcaptum.service.errors import NotFound
from adcaptum.service.loading import LoadedModel
from adcaptum.v1 import model_pb2


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """What is kept at hand so that a request costs little.

    Attributes:
        name: The model's.
        loaded: The module and the files beside it.
        checks: What was found out about it.
        identity: Sent with every reply.
        modules: The class of each module by qualified name.
        label_index: A class's index by its name.
        embedding: Where integer inputs are explained; None: directly.
    """

    name: str
    loaded: LoadedModel
    checks: Checks
    identity: model_pb2.ModelIdentity
    modules: Mapping[str, str]
    label_index: Mapping[str, int]
    embedding: Site | None

    @classmethod
    def of(cls, loaded: LoadedModel, checks: Checks) -> Self:
        """Prepares a loaded and checked model."""
        declaration = loaded.declaration
        modules = {
            name: type(part).__name__ for name, part in loaded.module.named_modules() if name
        }
        # A class may be named twice: ImageNet has two cranes. The first answers to the name.
        labels: dict[str, int] = {}
        for index, label in enumerate(declaration.outputs[0].labels):
            labels.setdefault(label, index)
        embedding = declaration.inputs[0].embedding
        return cls(
            name=declaration.name,
            loaded=loaded,
            checks=checks,
            identity=model_pb2.ModelIdentity(
                name=declaration.name, version=loaded.version, digest=loaded.digest
            ),
            modules=MappingProxyType(modules),
            label_index=MappingProxyType(labels),
            embedding=Site(embedding) if embedding else None,
        )

    def layer(self, name: str) -> str:
        """Returns the qualified name of a layer or alias.

        Raises:
            NotFound: There is none.
        """
        aliases = self.loaded.declaration.layers
        qualified = aliases.get(name, name)
        if qualified not in self.modules:
            raise NotFound("layer", name, [*aliases, *self.modules])
        return qualified

    def site(self, *, gradient: bool) -> Site:
        """Returns where inputs are explained: token ids have no gradient, their embeddings do."""
        return self.embedding if gradient and self.embedding is not None else INPUT

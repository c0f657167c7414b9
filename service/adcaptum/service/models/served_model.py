"""A version of a model that answers requests."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from torch import Tensor, nn

from adcaptum.engine.execution.reference_cache import MOST_BYTES, ReferenceMemory
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation, Site
from adcaptum.engine.vocabulary.method import needs_layer
from adcaptum.service.errors import NotFound
from adcaptum.service.models.checks import Checks
from adcaptum.service.models.declaration import Declaration, DeclarationError
from adcaptum.service.models.layouts.choice import Layout
from adcaptum.service.models.layouts.variants import AS_LOADED
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.output_cache import OutputCache
from adcaptum.service.models.row_forecasts import RowForecasts
from adcaptum.service.wire import method_specs
from adcaptum.service.wire.method_specs import ResolvedMethod
from adcaptum.v1 import model_pb2


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """What is kept at hand so that a request costs little.

    Attributes:
        name: The model's.
        loaded: The module and the files beside it.
        checks: What was found out about it.
        layout: How its weights are arranged for speed.
        identity: Sent with every reply.
        modules: The class of each module by qualified name.
        label_index: A class's index by its name.
        embedding: Where integer inputs are explained; None: directly.
        scales: What counts as one unit of noise: the range of each feature in the background set,
            because a table's features are of all sizes; None: the range of each example's values.
        default_method: The method where a request names none.
        known: What it says of rows that may be asked for again.
        references: What it makes of rows that others are compared with; None: that is not kept.
        row_ratios: How many rows its explanations to a tolerance take.
    """

    name: str
    loaded: LoadedModel
    checks: Checks
    layout: Layout
    identity: model_pb2.ModelIdentity
    modules: Mapping[str, str]
    label_index: Mapping[str, int]
    embedding: Site | None
    scales: tuple[Tensor, ...] | None
    default_method: ResolvedMethod
    known: OutputCache = field(default_factory=OutputCache)
    references: ReferenceMemory | None = field(default_factory=ReferenceMemory)
    row_ratios: RowForecasts = field(default_factory=RowForecasts)

    @classmethod
    def of(
        cls,
        loaded: LoadedModel,
        checks: Checks,
        layout: Layout | None = None,
        *,
        reference_bytes: int = MOST_BYTES,
    ) -> Self:
        """Prepares a loaded and checked model.

        Args:
            loaded: The model.
            checks: What was found out about it.
            layout: How it is arranged; None: as it was loaded.
            reference_bytes: What is kept of rows that others are compared with takes at most so
                many bytes. Nothing is where rows depend on others of their batch.

        Raises:
            DeclarationError: Its default method is not one.
        """
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
            layout=layout or Layout(AS_LOADED, loaded.module),
            identity=model_pb2.ModelIdentity(
                name=declaration.name, version=loaded.version, digest=loaded.digest
            ),
            modules=MappingProxyType(modules),
            label_index=MappingProxyType(labels),
            embedding=Site(embedding) if embedding else None,
            scales=_scales(loaded),
            default_method=_default_method(declaration),
            references=(
                ReferenceMemory(reference_bytes, independent=True)
                if reference_bytes and checks.independent
                else None
            ),
        )

    def module(self, evaluation: Evaluation) -> nn.Module:
        """Returns what is to be evaluated: the arrangement that is fastest, or the model itself.

        Layers and rules on operations are those of the model itself, and bits that must not change
        shall not depend on which arrangement was the fastest when the server started.
        """
        at_ends = evaluation.at_ends and evaluation.forward_rows is None
        return self.layout.module if at_ends else self.loaded.module

    def turn(self, module: nn.Module) -> AbstractContextManager[object]:
        """Returns what to hold while a batch of what `module` gave runs."""
        return self.layout.turn if module is self.layout.module else nullcontext()

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

    def some_layers(self, most: int = 8) -> str:
        """Names some of the layers, those with an alias first, by it."""
        aliases = self.loaded.declaration.layers
        named = [*aliases, *(each for each in self.modules if each not in aliases.values())]
        more = " and others" if len(named) > most else ""
        return ", ".join(map(repr, named[:most])) + more

    def site(self, *, gradient: bool) -> Site:
        """Returns where inputs are explained: token ids have no gradient, their embeddings do."""
        return self.embedding if gradient and self.embedding is not None else INPUT


def _scales(loaded: LoadedModel) -> tuple[Tensor, ...] | None:
    inputs = loaded.declaration.inputs
    rows = [loaded.backgrounds.get(each.name) for each in inputs if each.kind == "tabular"]
    known = [each for each in rows if each is not None]
    if len(known) != len(inputs):
        return None
    return tuple((each.amax(0) - each.amin(0)).unsqueeze(0) for each in known)


def _default_method(declaration: Declaration) -> ResolvedMethod:
    try:
        method = method_specs.by_name(declaration.default_method, declaration.default_params)
    except (NotFound, ValueError) as error:
        raise DeclarationError(f"{declaration.name}: defaults: {error}") from error
    if needs_layer(method.abilities.layer):
        raise DeclarationError(
            f"{declaration.name}: defaults: {declaration.default_method} needs a layer, and "
            "requests that name no method need name none"
        )
    return method

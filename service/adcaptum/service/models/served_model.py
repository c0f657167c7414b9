"""A version of a model that answers requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self

from torch import Tensor, nn

from adcaptum.engine.execution.references.reference_cache import MOST_BYTES, ReferenceMemory
from adcaptum.engine.vocabulary.evaluation import INPUT, Evaluation, Site
from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.models import entrances, feature_statistics
from adcaptum.service.models.checks import Checks
from adcaptum.service.models.declaration import DEFAULT_PRESET
from adcaptum.service.models.feature_statistics import FeatureStatistics
from adcaptum.service.models.layouts.variants import ModelVariant
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.row_forecasts import RowForecasts
from adcaptum.v1 import explain_spec_pb2, method_pb2, model_pb2

IMPLIED_METHODS: Final = ("integrated_gradients", "kernel_shap")
"""The default preset's method where the owner names none: with gradients, and without."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ServedModel:
    """A version of a model with everything that requests look up, computed once.

    Attributes:
        name: The model's name.
        loaded: The module and the files beside it.
        checks: The facts found about it at load.
        variant: The module that evaluates rows at its inputs and outputs.
        identity: Name, version and digest, sent with every reply.
        modules: The class of each module by qualified name.
        label_index: A class's index by its name.
        embedding: The site at which the inputs are explained with gradients, because some are whole
            numbers; None: the input.
        scales: One unit of noise for each feature: its range in the background set, because a
            table's features have all magnitudes; None: the range of each example's values.
        statistics: By tabular input with a background set, the statistics of each column.
        presets: Questions by name; `default` is that of requests that name none.
        references: Traces of baseline rows; None: nothing is kept.
        row_forecasts: The rows that its explanations to a tolerance take.
    """

    name: str
    loaded: LoadedModel
    checks: Checks
    variant: ModelVariant
    identity: model_pb2.ModelIdentity
    modules: Mapping[str, str]
    label_index: Mapping[str, int]
    embedding: Site | None
    scales: tuple[Tensor, ...] | None
    statistics: Mapping[str, tuple[FeatureStatistics | None, ...]]
    presets: Mapping[str, explain_spec_pb2.ExplainSpec]
    references: ReferenceMemory | None = field(default_factory=ReferenceMemory)
    row_forecasts: RowForecasts = field(default_factory=RowForecasts)

    @classmethod
    def of(
        cls,
        loaded: LoadedModel,
        checks: Checks,
        variant: ModelVariant | None = None,
        *,
        reference_bytes: int = MOST_BYTES,
    ) -> Self:
        """Prepares a loaded and checked model.

        Args:
            loaded: The model.
            checks: The facts found about it.
            variant: Its chosen variant; None: the module as loaded.
            reference_bytes: The most bytes of memory that traces of baseline rows take. Nothing
                is kept where rows depend on others of their batch.
        """
        declaration = loaded.declaration
        modules = {
            name: type(part).__name__ for name, part in loaded.module.named_modules() if name
        }
        # A class may be named twice: ImageNet has two cranes. The first answers to the name.
        labels: dict[str, int] = {}
        for index, label in enumerate(declaration.outputs[0].labels):
            labels.setdefault(label, index)
        return cls(
            name=declaration.name,
            loaded=loaded,
            checks=checks,
            variant=variant or ModelVariant(loaded.module),
            identity=model_pb2.ModelIdentity(
                name=declaration.name, version=loaded.version, digest=loaded.digest
            ),
            modules=MappingProxyType(modules),
            label_index=MappingProxyType(labels),
            embedding=entrances.site(declaration),
            scales=_scales(loaded),
            statistics=MappingProxyType(
                {
                    each.name: feature_statistics.of_columns(loaded.backgrounds[each.name])
                    for each in declaration.inputs
                    if each.kind == "tabular" and each.name in loaded.backgrounds
                }
            ),
            presets=MappingProxyType(_presets(loaded, checks)),
            references=(
                ReferenceMemory(reference_bytes, independent=True)
                if reference_bytes and checks.independent
                else None
            ),
        )

    def module(self, evaluation: Evaluation) -> nn.Module:
        """Returns the module to evaluate: the fastest variant, or the model as loaded.

        Layers and rules on operations are those of the model as loaded, and deterministic answers
        must not depend on the variant that was fastest when the server started.
        """
        at_ends = evaluation.at_ends and evaluation.forward_rows is None
        return self.variant.module if at_ends else self.loaded.module

    def layer(self, name: str, field: str = "spec.site.layer") -> str:
        """Returns the qualified name of a layer or alias.

        Args:
            name: The name in the request.
            field: The field that has it.

        Raises:
            InvalidRequest: There is none.
        """
        aliases = self.loaded.declaration.layers
        qualified = aliases.get(name, name)
        if qualified not in self.modules:
            known = [*aliases, *self.modules]
            raise InvalidRequest.unknown(field, name, known, Reason.LAYER_UNKNOWN)
        return qualified

    def some_layers(self, most: int = 8) -> str:
        """Returns the names of some layers for a message, aliases first."""
        aliases = self.loaded.declaration.layers
        named = [*aliases, *(each for each in self.modules if each not in aliases.values())]
        more = " and others" if len(named) > most else ""
        return ", ".join(map(repr, named[:most])) + more

    def site(self, *, gradient: bool) -> Site:
        """Returns the site of inputs: for gradients of token ids, their embedding."""
        return self.embedding if gradient and self.embedding is not None else INPUT

    def inputs_at(self, site: Site) -> tuple[int, ...]:
        """Returns the places of the inputs that are explained at a site of inputs."""
        declaration = self.loaded.declaration
        if site == INPUT:
            return tuple(range(len(declaration.inputs)))
        return entrances.explained(declaration)


def _scales(loaded: LoadedModel) -> tuple[Tensor, ...] | None:
    inputs = loaded.declaration.inputs
    rows = [loaded.backgrounds.get(each.name) for each in inputs if each.kind == "tabular"]
    known = [each for each in rows if each is not None]
    if len(known) != len(inputs):
        return None
    return tuple((each.amax(0) - each.amin(0)).unsqueeze(0) for each in known)


def _presets(loaded: LoadedModel, checks: Checks) -> dict[str, explain_spec_pb2.ExplainSpec]:
    """Returns the declared presets, and a default where the owner wrote none or no method."""
    presets = {DEFAULT_PRESET: explain_spec_pb2.ExplainSpec()}
    for name, preset in loaded.declaration.presets.items():
        presets[name] = preset.spec
    if not presets[DEFAULT_PRESET].methods:
        default = explain_spec_pb2.ExplainSpec()
        default.CopyFrom(presets[DEFAULT_PRESET])
        implied = IMPLIED_METHODS[0] if checks.differentiable else IMPLIED_METHODS[1]
        default.methods.append(method_pb2.MethodSpec(name=implied))
        presets[DEFAULT_PRESET] = default
    return presets

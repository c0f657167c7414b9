"""The question of a command line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from adcaptum.client import ExplainOptions, InputKind, ModelInfo, Spec
from adcaptum.service.cli.arguments import (
    parse_baselines,
    parse_masks,
    parse_methods,
    parse_neuron,
    parse_site,
    parse_targets,
)

# The fields of a question that replace a preset's as a whole, as OutputOptions.
_OUTPUT: Final = (
    "channel_reduction",
    "max_features",
    "datatype",
    "return_inputs",
    "return_outputs",
    "return_predictions",
    "return_features",
    "max_labels",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionOptions:
    """The options of a command line that make up a question.

    Attributes:
        preset: The name of a question of the model.
        targets: Targets, see `parse_target`.
        neurons: Neurons to explain instead of outputs.
        methods: Names of methods.
        params: Parameters of the only method.
        baselines: Baselines, with the names of their inputs or for all.
        feature_masks: Feature masks, likewise.
        layer: The layer to explain.
        layer_baselines: The layer's baselines.
        layer_masks: The files of the layer's feature masks.
        through: The neuron through which the output is explained.
        max_rows: Most rows.
        tolerance: Largest relative error.
        channel_reduction: Combination of an image's channels.
        max_features: Most features.
        max_labels: Most labels of a prediction, which then comes.
        seed: The seed.
        deterministic: Whether the bits must be the same each time.
        drawn: Whether the answer is drawn, for which the inputs have to come back.
    """

    preset: str | None
    targets: Sequence[str]
    neurons: Sequence[str]
    methods: Sequence[str]
    params: Sequence[str]
    baselines: Sequence[str]
    feature_masks: Sequence[str]
    layer: str | None
    layer_baselines: Sequence[str]
    layer_masks: Sequence[Path]
    through: str | None
    max_rows: int | None
    tolerance: float | None
    channel_reduction: Literal["none", "sum"] | None
    max_features: int | None
    max_labels: int | None
    seed: int | None
    deterministic: bool
    drawn: bool

    def read(self, describe: Callable[[], ModelInfo]) -> ExplainOptions:
        """Read the options.

        Args:
            describe: Fetches the model's description; called where the preset has to be known.

        Raises:
            typer.BadParameter: An option cannot be read.
        """
        asked = ExplainOptions(
            preset=self.preset,
            targets=parse_targets(self.targets, self.neurons),
            baselines=parse_baselines(self.baselines),
            feature_masks=parse_masks(self.feature_masks),
            site=parse_site(self.layer, self.layer_baselines, self.layer_masks),
            through=None if self.through is None else parse_neuron(self.through, "--through"),
            max_rows=self.max_rows,
            tolerance=self.tolerance,
            channel_reduction=self.channel_reduction,
            max_features=self.max_features,
            max_labels=self.max_labels,
            return_predictions=None if self.max_labels is None else True,
            seed=self.seed,
            deterministic=self.deterministic or None,
        )
        own_method = bool(self.params) and not self.methods
        own_output = self.drawn and all(asked.get(name) is None for name in _OUTPUT)
        preset = self._preset(describe) if own_method or own_output else None
        asked["methods"] = parse_methods(self.methods, self.params, preset)
        if own_output and preset is not None:
            # The request's output replaces the preset's as a whole.
            asked["spec"] = Spec(**{name: getattr(preset, name) for name in _OUTPUT})
        if self.drawn:
            asked["return_inputs"] = True
            if asked.get("channel_reduction") is None and _embeds_ids(describe()):
                # Bars of tokens, not of the components of their embeddings.
                asked["channel_reduction"] = "sum"
        return asked

    def _preset(self, describe: Callable[[], ModelInfo]) -> Spec | None:
        """Return the question of the preset; None if the model has none of its name."""
        try:
            return describe().default.preset(self.preset).spec
        except LookupError:
            # The server names the nearest ones.
            return None


def _embeds_ids(model: ModelInfo) -> bool:
    """True if whole numbers are explained at an embedding, and no image has channels to keep."""
    if not model.versions:
        return False
    kinds = {each.kind for each in model.default.inputs}
    embedded = any(each.embedding_layer for each in model.default.inputs)
    return embedded and InputKind.TENSOR in kinds and InputKind.IMAGE not in kinds

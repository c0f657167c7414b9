"""A question to a model, apart from the model and its inputs."""

from dataclasses import dataclass, fields
from typing import Literal, TypeAlias, TypedDict

from adcaptum.client.baseline import Baselines
from adcaptum.client.mask import Masks
from adcaptum.client.method import Methods
from adcaptum.client.neuron import Neuron
from adcaptum.client.site import Site
from adcaptum.client.target import Targets

ChannelReduction: TypeAlias = Literal["none", "sum"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Spec:
    """A question as a value: all that decides an answer beside the model and its inputs.

    ``client.explain("cells", x, spec=Spec(methods="saliency", targets=0))`` asks the same as
    ``client.explain("cells", x, methods="saliency", targets=0)``. Fields that are None come from
    the request's preset. Two groups replace the preset's fields as a whole: max_rows and tolerance;
    and those of the reply's content, from channel_reduction to max_labels.

    Attributes:
        methods: One or several methods, by name or as ``Method``.
        targets: The explained numbers of each example, one or several in a list: a class's number
            or label, the tuple of an output's index, ``TopK(k)``, ``AllTargets()``, ``Argmax()``,
            a ``Neuron``, or an array with the output of each example. By default the largest.
        baselines: References, for all inputs or by input: a number, an array of one row or of one
            per example, the name of a baseline of the model, ``Blur``, ``Background`` or
            ``Distribution``.
        feature_masks: Groups of elements that are one feature, for all inputs or by input: arrays
            of whole numbers, or ``FeatureMask``.
        site: The layer whose values are explained instead of the inputs; its name, or ``Site``.
        through: The neuron through which the output is explained, for methods whose
            ``MethodInfo.accepts_neuron`` is true.
        max_rows: Most rows (evaluations of the model on one example) of the request.
        tolerance: Largest relative error of an explanation: the sum of the errors of its values
            over the sum of their magnitudes. Methods continue until they meet it or have used
            max_rows.
        channel_reduction: ``sum`` adds up attributions over the channels of an image, ``none``
            keeps one per channel.
        max_features: Most features per attribution, largest magnitude first; of interactions, those
            whose contributions have the largest sum of magnitudes.
        datatype: Datatype of attributions: FP32 (the default), FP64 or FP16.
        return_inputs: Also return the inputs after preprocessing.
        return_outputs: Also return the model's outputs.
        return_predictions: Return predictions, for models with labels; by default, if they need no
            further row.
        return_features: Return the names of the features; by default true.
        max_labels: Most labels of a prediction; by default 5.
        seed: Seed of all sampling, at least 0; equal seeds give equal answers.
        deterministic: Give the same bits each time, whatever else runs; slower.
    """

    methods: Methods | None = None
    targets: Targets | None = None
    baselines: Baselines | None = None
    feature_masks: Masks | None = None
    site: str | Site | None = None
    through: Neuron | None = None
    max_rows: int | None = None
    tolerance: float | None = None
    channel_reduction: ChannelReduction | None = None
    max_features: int | None = None
    datatype: str | None = None
    return_inputs: bool | None = None
    return_outputs: bool | None = None
    return_predictions: bool | None = None
    return_features: bool | None = None
    max_labels: int | None = None
    seed: int | None = None
    deterministic: bool | None = None

    def __repr__(self) -> str:
        """The fields that are given, as they are written in Python."""
        given = (
            f"{each.name}={value!r}"
            for each in fields(self)
            if (value := getattr(self, each.name)) is not None
        )
        return f"Spec({', '.join(given)})"


class ExplainOptions(TypedDict, total=False):
    """Options of an explanation: who answers, how it runs, and each field of ``Spec`` by its name.

    Options that are absent or None are not sent: they come from ``spec``, then from the preset.

    Attributes:
        version: The version that answers; by default the model's default version.
        alias: The alias of the version that answers.
        preset: The name of a question that the model's owner declares; by default the model's
            default preset. Options of ``Spec`` replace its fields.
        spec: The question as a value.
        on_deadline: The answer at the timeout: ``fail``, or ``partial`` for the best estimates so
            far. By default ``partial`` in streams and with a tolerance, else ``fail``.
        priority: ``interactive`` (the default), or ``batch``: uses only what other requests leave.
        cache: ``use`` (the default): the answer may be shared with equal requests; or ``bypass``.
    """

    version: str | None
    alias: str | None
    preset: str | None
    spec: Spec | None
    on_deadline: Literal["fail", "partial"] | None
    priority: Literal["interactive", "batch"] | None
    cache: Literal["use", "bypass"] | None
    methods: Methods | None
    targets: Targets | None
    baselines: Baselines | None
    feature_masks: Masks | None
    site: str | Site | None
    through: Neuron | None
    max_rows: int | None
    tolerance: float | None
    channel_reduction: ChannelReduction | None
    max_features: int | None
    datatype: str | None
    return_inputs: bool | None
    return_outputs: bool | None
    return_predictions: bool | None
    return_features: bool | None
    max_labels: int | None
    seed: int | None
    deterministic: bool | None

"""A question to a model: resolved, and checked as far as that needs no inputs."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from adcaptum.engine.vocabulary.evaluation import Neuron, Site
from adcaptum.service.errors import InvalidRequest, ServiceError, Unsupported
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests import budgets
from adcaptum.service.requests.budgets import Budget
from adcaptum.service.requests.questions import output_options, sites, suitability, targets
from adcaptum.service.requests.questions.preparations import Preparations
from adcaptum.service.requests.questions.targets import Targets
from adcaptum.service.wire import method_specs
from adcaptum.service.wire.method_specs import ResolvedMethod
from adcaptum.v1 import explain_spec_pb2

MOST_METHODS = 32


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Question:
    """A question to a model, without what depends on the inputs.

    It holds no reference to the model, and is the same for all requests that ask it.

    Attributes:
        spec: The question's message, which must not be changed. It has the baselines and masks,
            whose tensors are read with the inputs.
        methods: The methods.
        failures: By their place, the methods that the model cannot run; at least one can.
        targets: The explained numbers of each example.
        layer: The layer at which attributions are taken; None: the inputs.
        through: The neuron through which outputs are explained; None: outputs as a whole.
        budget: The bounds of the cost.
        output: The content of the reply, with its datatype.
        seed: The seed of all sampling.
        deterministic: Whether the answer has to be the same to the last bit each time.
        preparations: The results of reading that follow from the shapes of the inputs; None where
            baselines depend on their values, or tensors are read.
        digest: A digest of all of it but tensors: equal for equal questions, whatever presets they
            come from and whichever default values they write out.
    """

    spec: explain_spec_pb2.ExplainSpec
    methods: tuple[ResolvedMethod, ...]
    failures: Mapping[int, ServiceError]
    targets: Targets
    layer: Site | None
    through: Neuron | None
    budget: Budget
    output: explain_spec_pb2.OutputOptions
    seed: int
    deterministic: bool
    preparations: Preparations | None
    digest: bytes


def resolve(spec: explain_spec_pb2.ExplainSpec, model: ServedModel) -> Question:
    """Resolves and checks a question.

    Args:
        spec: The question, with its preset's fields.
        model: The model that is asked.

    Raises:
        InvalidRequest: Something in it is not allowed.
        Unsupported: The model can run none of its methods.
    """
    methods = _methods(spec)
    failures = _failures(methods, model)
    layer = sites.read(spec.site, model) if spec.HasField("site") else None
    through = None
    if spec.HasField("through"):
        through = sites.neuron(spec.through, model, "spec.through")
    for each in methods:
        suitability.check_site(each.abilities, layer, model)
        suitability.check_through(each.abilities, through, model)
    if layer is not None and spec.site.baselines and spec.baselines:
        raise InvalidRequest(
            "spec.site.baselines", "given beside spec.baselines; must be one of the two"
        )
    if spec.feature_masks and any(_at_layer(each, layer) for each in methods):
        raise InvalidRequest(
            "spec.feature_masks",
            "given though attributions are taken at a layer; must be in spec.site.feature_masks",
        )
    if spec.seed < 0:
        raise InvalidRequest("spec.seed", f"{spec.seed}; must be at least 0")
    output = output_options.read(spec.output)
    chosen = targets.read(spec.targets, model)
    budget = budgets.read(spec.budget, methods, model.loaded.declaration.max_rows)
    if len(failures) == len(methods):
        # Last: what is wrong in the question itself is wrong for every model.
        raise failures[0]
    return Question(
        spec=spec,
        methods=tuple(suitability.through(through, each) for each in methods)
        if through is not None
        else methods,
        failures=failures,
        targets=chosen,
        layer=layer,
        through=through,
        budget=budget,
        output=output,
        seed=spec.seed,
        deterministic=spec.deterministic,
        preparations=None if _needs_values(spec, model) else Preparations(),
        digest=_digest(spec, methods, output),
    )


def has_tensors(spec: explain_spec_pb2.ExplainSpec) -> bool:
    """Returns True if a question has tensors: its size is then unbounded."""
    if not spec.baselines and not spec.feature_masks and not spec.HasField("site"):
        return False
    if spec.feature_masks or spec.site.feature_masks:
        return True
    return any(
        each.WhichOneof("kind") in ("tensor", "distribution")
        for each in (*spec.baselines, *spec.site.baselines)
    )


def _needs_values(spec: explain_spec_pb2.ExplainSpec, model: ServedModel) -> bool:
    """Returns whether baselines or planned rows depend on more than the shapes of the inputs."""
    blurred = any(each.HasField("blur") for each in spec.baselines)
    at_layer = spec.HasField("site") and len(spec.site.baselines) > 0
    return blurred or at_layer or model.loaded.text is not None or has_tensors(spec)


def _methods(spec: explain_spec_pb2.ExplainSpec) -> tuple[ResolvedMethod, ...]:
    count = len(spec.methods)
    if not 1 <= count <= MOST_METHODS:
        raise InvalidRequest("spec.methods", f"{count} methods; must be from 1 to {MOST_METHODS}")
    return tuple(
        method_specs.read(each, f"spec.methods[{index}]") for index, each in enumerate(spec.methods)
    )


def _failures(
    methods: tuple[ResolvedMethod, ...], model: ServedModel
) -> Mapping[int, ServiceError]:
    found: dict[int, ServiceError] = {}
    for index, method in enumerate(methods):
        reason = suitability.obstacle(method.abilities, model)
        if reason:
            found[index] = Unsupported(
                f"Model {model.name!r} cannot run {method.spec.name}: {reason}.",
                subject=model.name,
            )
    return found


def _at_layer(method: ResolvedMethod, layer: Site | None) -> bool:
    return layer is not None and not method.abilities.of_inputs


def _digest(
    spec: explain_spec_pb2.ExplainSpec,
    methods: tuple[ResolvedMethod, ...],
    output: explain_spec_pb2.OutputOptions,
) -> bytes:
    """Returns the digest of a question without its tensors.

    A field that is added later is in it, too: at worst, equal requests are answered separately.
    """
    asked = explain_spec_pb2.ExplainSpec()
    if has_tensors(spec):
        for field, value in spec.ListFields():
            if field.name in ("baselines", "feature_masks", "site"):
                continue
            if field.is_repeated:
                getattr(asked, field.name).extend(value)
            elif field.message_type is not None:
                getattr(asked, field.name).CopyFrom(value)
            else:
                setattr(asked, field.name, value)
        if spec.HasField("site"):
            asked.site.layer = spec.site.layer
            asked.site.at_input = spec.site.at_input
    else:
        asked.CopyFrom(spec)
    del asked.methods[:]
    asked.methods.extend([each.spec for each in methods])
    asked.output.CopyFrom(output)
    asked.seed = spec.seed
    asked.deterministic = spec.deterministic
    if not asked.targets:
        asked.targets.add()
    for target in asked.targets:
        if target.WhichOneof("kind") is None:
            target.argmax.SetInParent()
    return hashlib.blake2b(asked.SerializeToString(deterministic=True), digest_size=32).digest()

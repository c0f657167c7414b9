"""The dry run: explanations of a model's own example before the model serves.

Its presets, and two methods as far as the model can run them: one that needs gradients and one that
does not. Each goes through the reading of a request, the plan, the engine's flow and the
writing of the answer. A question whose rows take too long is not answered to its end.
"""

from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

import torch

from adcaptum.engine.execution.flow_run import FlowRun
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.execution.pending import Pending
from adcaptum.service.answers import results as method_results, statuses
from adcaptum.service.device.float32 import evaluate
from adcaptum.service.errors import InvalidRequest, ServiceError, Unsupported
from adcaptum.service.handlers.plans import ExplanationPlan
from adcaptum.service.models.curves import Curve, best_rows
from adcaptum.service.models.declaration import DEFAULT_PRESET, DeclarationError
from adcaptum.service.models.repository import declaration_file
from adcaptum.service.models.repository.stored_tensors import EXAMPLE_TEXTS
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests import parsed_request
from adcaptum.service.requests.questions import question
from adcaptum.service.requests.reading import Reading
from adcaptum.service.runtime.planned_flow import PlannedFlow
from adcaptum.service.wire import tensor_writer
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb, method_pb2, tensor_pb2

DRY_METHODS: Final = ("saliency", "feature_ablation")
"""A method that needs gradients, and one that does not."""

MASKED: Final = "feature_ablation"
"""The method that gets masks: an image has too many pixels to ablate each."""

SECONDS: Final = 1.0
"""Seconds for which one question runs at most."""

PRESET_SECONDS: Final = 0.25
"""The same, of a preset beside the default, of which a model may have many."""

MOST_PIXELS: Final = 1 << 62
"""No limit: the examples are the owner's."""


def explain(served: ServedModel, curves: Mapping[str, Curve]) -> None:
    """Explains the first example.

    Args:
        served: The model.
        curves: The measured seconds of its batches, which say how many rows a batch has.

    Raises:
        DeclarationError: A preset is no question to this model, or an explanation fails.
    """
    for name, spec in served.presets.items():
        seconds = SECONDS if name == DEFAULT_PRESET else PRESET_SECONDS
        try:
            _Trial(served, curves, spec, seconds).run()
        except Exception as error:
            raise _of_preset(served, name, error) from error
    for name in DRY_METHODS:
        method = method_pb2.MethodSpec(name=name)
        masks = _masks(served) if name == MASKED else ()
        spec = explain_spec_pb2.ExplainSpec(methods=[method], feature_masks=masks)
        try:
            _Trial(served, curves, spec, SECONDS).run()
        except Unsupported:
            continue
        except Exception as error:
            raise _fails(served, f"{name} (a dry run)", error) from error


def _of_preset(served: ServedModel, name: str, error: Exception) -> DeclarationError:
    """Returns the error of a preset; with the key of `model.toml` that is wrong, if one is."""
    known = statuses.as_service_error(error)
    table = "defaults" if name == DEFAULT_PRESET else f"presets.{name}"
    where = f"{served.name}/{declaration_file.FILE}: {table}"
    if isinstance(known, InvalidRequest) and known.violations[0].field.startswith("spec."):
        (violation,) = known.violations
        return DeclarationError(
            f"{where}{violation.field.removeprefix('spec')}: {violation.description}"
        )
    if isinstance(known, Unsupported):
        return DeclarationError(f"{where}.methods: {known.message}")
    return _fails(served, f"the preset {name!r}", error)


def _fails(served: ServedModel, by: str, error: Exception) -> DeclarationError:
    text = error.message if isinstance(error, ServiceError) else f"{type(error).__name__}: {error}"
    return DeclarationError(f"{served.name}: explaining its first example by {by} fails: {text}")


def _masks(served: ServedModel) -> list[explain_spec_pb2.FeatureMask]:
    """Returns masks of two features an input; none for texts, which take none."""
    loaded = served.loaded
    made = []
    # A text's mask comes after the inputs.
    for index, (each, rows) in enumerate(
        zip(loaded.declaration.inputs, loaded.examples, strict=False)
    ):
        if each.kind == "text":
            continue
        numbers = torch.arange(rows[0].numel()).view(1, *rows.shape[1:])
        halves = (2 * numbers >= rows[0].numel()).long() + 2 * index
        mask = explain_spec_pb2.FeatureMask(input=each.name, tensor=tensor_writer.encode(halves))
        made.append(mask)
    return made


class _Trial:
    """The answer to one question about the first example."""

    def __init__(
        self,
        served: ServedModel,
        curves: Mapping[str, Curve],
        spec: explain_spec_pb2.ExplainSpec,
        seconds: float,
    ) -> None:
        self._served = served
        self._question = question.resolve(spec, served)
        gradient = any(method.abilities.gradient for method in self._question.methods)
        self._batch_rows = best_rows(curves.get("gradient" if gradient else "forward", {1: 0.0}))
        self._end = monotonic() + seconds

    def run(self) -> None:
        for index, failure in self._question.failures.items():
            raise InvalidRequest(f"spec.methods[{index}]", failure.message)
        request = pb.ExplainRequest(inputs=self._inputs())
        parsed = parsed_request.read(request, self._served, self._question, Reading(MOST_PIXELS))
        plan = ExplanationPlan(parsed)
        flows = plan.first()
        results: list[Any] = []
        while flows:
            results = []
            for flow in flows:
                result = self._result(flow)
                if result is None:
                    return
                results.append(result)
            flows = plan.following(results)
        method_results.write(pb.ExplainResponse(), parsed, plan.outcome(results), "", ended=True)

    def _inputs(self) -> list[tensor_pb2.Tensor]:
        loaded = self._served.loaded
        declared = loaded.declaration.inputs
        texts = loaded.declaration.example_texts or EXAMPLE_TEXTS
        return [
            tensor_writer.encode_bytes([texts[0].encode()], each.name)
            if each.kind == "text"
            else tensor_writer.encode(rows[:1], each.name)
            for each, rows in zip(declared, loaded.examples, strict=False)
        ]

    def _result(self, planned: PlannedFlow) -> Any:
        """Runs a flow; None if the time is up before it ends."""
        run = FlowRun(planned.flow, max_rows=planned.max_rows)
        try:
            round_ = run.start()
            while not run.done:
                if monotonic() > self._end:
                    return None
                for pending in round_:
                    if not self._evaluate(pending):
                        return None
                round_ = run.advance()
            return run.result
        finally:
            run.close()

    def _evaluate(self, pending: Pending) -> bool:
        """Evaluates all rows of an evaluation; False if the time is up before."""
        evaluation = pending.evaluation
        module = self._served.module(evaluation)
        rows = pending.rows
        for start in range(0, rows, self._batch_rows):
            if start and monotonic() > self._end:
                return False
            stop = min(rows, start + self._batch_rows)
            (part,) = evaluate(module, [RowRange(evaluation, start, stop)])
            pending.add(start, stop, part)
        return True

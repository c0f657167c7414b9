"""The dry run: explanations of a model's own example before the model serves.

Three methods, as far as the model can run them: its default method, one that needs gradients and
one that does not. Each goes through the reading of a request, the plan, the engine's flow and the
writing of the answer. A method whose rows take longer than `SECONDS` is not run to its end.
"""

from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

import torch

from adcaptum.engine.execution.evaluator import evaluate
from adcaptum.engine.execution.flow_run import FlowRun
from adcaptum.engine.execution.packing import RowRange
from adcaptum.engine.execution.pending import Pending
from adcaptum.service.errors import ServiceError
from adcaptum.service.handlers.plans import Explanation
from adcaptum.service.models.curves import Curve, best_rows
from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.models.repository.stored_tensors import EXAMPLE_TEXTS
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests import answers, parsed_request
from adcaptum.service.requests.reading import Reading
from adcaptum.service.requests.suitability import obstacle
from adcaptum.service.runtime.planned_flow import PlannedFlow
from adcaptum.service.wire import method_specs, tensor_writer
from adcaptum.service.wire.method_specs import ResolvedMethod
from adcaptum.v1 import explanation_service_pb2 as pb, model_pb2, tensor_pb2

GRADIENT: Final = method_specs.by_name("saliency", {})
FORWARD: Final = method_specs.by_name("feature_ablation", {})

SECONDS: Final = 1.0
"""Seconds for which one method runs at most."""

MOST_PIXELS: Final = 1 << 62
"""No limit: the examples are the owner's."""


def explain(served: ServedModel, curves: Mapping[str, Curve]) -> None:
    """Explains the first example.

    Args:
        served: The model.
        curves: The measured seconds of its batches, which say how many rows a batch has.

    Raises:
        DeclarationError: A method fails.
    """
    for method in dict.fromkeys((served.default_method, GRADIENT, FORWARD)):
        if obstacle(method.abilities, served):
            continue
        try:
            _Trial(served, curves, method).run()
        except Exception as error:
            kind = "the default method" if method is served.default_method else "a dry run"
            text = error.message if isinstance(error, ServiceError) else _typed(error)
            raise DeclarationError(
                f"{served.name}: explaining its first example by {method.spec.name} ({kind}) "
                f"fails: {text}"
            ) from error


class _Trial:
    """One method's explanation of the first example."""

    def __init__(
        self, served: ServedModel, curves: Mapping[str, Curve], method: ResolvedMethod
    ) -> None:
        self._served = served
        curve = curves.get("gradient" if method.abilities.gradient else "forward", {1: 0.0})
        self._batch_rows = best_rows(curve)
        self._method = method
        self._end = monotonic() + SECONDS

    def run(self) -> None:
        parsed = parsed_request.read(self._request(), self._served, Reading(MOST_PIXELS))
        plan = Explanation(parsed)
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
        answers.explanations(parsed, plan.answered(results))

    def _request(self) -> pb.ExplainRequest:
        served = self._served
        return pb.ExplainRequest(
            model=model_pb2.ModelRef(name=served.name),
            inputs=self._inputs(),
            methods=[self._method.spec],
            feature_masks=self._masks() if self._method is FORWARD else [],
        )

    def _masks(self) -> list[tensor_pb2.Tensor]:
        """Returns masks of two features an input: an image has too many pixels to ablate each."""
        loaded = self._served.loaded
        if loaded.text is not None:
            return []
        made = []
        for index, (each, rows) in enumerate(
            zip(loaded.declaration.inputs, loaded.examples, strict=True)
        ):
            numbers = torch.arange(rows[0].numel()).view(1, *rows.shape[1:])
            halves = (2 * numbers >= rows[0].numel()).long() + 2 * index
            made.append(tensor_writer.encode(halves, each.name))
        return made

    def _inputs(self) -> list[tensor_pb2.Tensor]:
        loaded = self._served.loaded
        declared = loaded.declaration.inputs
        if loaded.text is not None:
            texts = loaded.declaration.example_texts or EXAMPLE_TEXTS
            return [tensor_writer.encode_bytes([texts[0].encode()], declared[0].name)]
        return [
            tensor_writer.encode(rows[:1], each.name)
            for each, rows in zip(declared, loaded.examples, strict=True)
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


def _typed(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"

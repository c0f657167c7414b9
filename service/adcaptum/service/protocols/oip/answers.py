"""Our own answers -> replies of the protocol."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from adcaptum.service.errors import InvalidRequest, Reason, ServiceError
from adcaptum.service.nearest import did_you_mean, shortened
from adcaptum.service.protocols.oip.grids import Grid, Place
from adcaptum.service.protocols.oip.values import output_names as names
from adcaptum.service.protocols.oip.values.infer_reply import InferReply
from adcaptum.service.protocols.oip.values.infer_request import InferRequest, Parameter
from adcaptum.service.protocols.oip.values.model_names import ALIAS
from adcaptum.service.protocols.oip.values.tensor import OipTensor
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb, tensor_pb2

STOP: Final = "STOP_REASON_"
CACHE: Final = "CACHE_STATUS_"

Cells = dict[Place, explanation_pb2.Explanation]


class MethodFailed(ServiceError):
    """One of several methods of a question failed."""

    def __init__(self, failure: explanation_pb2.Failure) -> None:
        ServiceError.__init__(self, failure.message)
        self.reason = Reason(failure.reason)


def prediction(request: InferRequest, answer: pb.PredictResponse) -> InferReply:
    """Returns the reply to a request for a prediction.

    Raises:
        InvalidRequest: It asks for an output that there is not.
    """
    parameters: dict[str, Parameter] = {}
    if answer.warnings:
        parameters["warnings"] = "; ".join(answer.warnings)
    outputs = [_own(each, each.name) for each in answer.outputs]
    chosen = _chosen(outputs, request.outputs)
    version = answer.model.version
    return InferReply(request.model_name, version, request.id, parameters, chosen)


class ExplanationReader:
    """Makes the replies to one request for explanations."""

    def __init__(self, request: InferRequest) -> None:
        """Prepares it."""
        self._request = request
        # The first event with explanations has them, the others have not.
        self._features: Sequence[explanation_pb2.InputFeatures] = ()

    def progress(self, progress: pb.Progress) -> InferReply | None:
        """Returns the reply with what is known on the way; None if nothing is."""
        self._features = progress.features or self._features
        if not any(result.explanations for result in progress.results):
            return None
        version = self._request.model_version
        facts: dict[str, Parameter] = {
            "rows_done": progress.rows_done,
            "expected_rows": progress.expected_rows,
        }
        known = "" if version.startswith(ALIAS) else version
        return self._reply(progress.results, known, facts, is_final=False)

    def result(self, answer: pb.ExplainResponse) -> InferReply:
        """Returns the reply with the answer.

        Raises:
            InvalidRequest: The request asks for an output that there is not.
            MethodFailed: One of its methods failed; the protocol has no answers in part.
        """
        self._features = answer.features or self._features
        facts: dict[str, Parameter] = {
            "seed": answer.seed,
            "cache": pb_name(explanation_pb2.CacheStatus.Name(answer.cache), CACHE),
            "request_id": answer.request_id,
        }
        if answer.warnings:
            facts["warnings"] = "; ".join(answer.warnings)
        own = [_own(each, f"{names.PREDICTION}{each.name}") for each in answer.outputs]
        return self._reply(answer.results, answer.model.version, facts, own, is_final=True)

    def _reply(
        self,
        results: Sequence[explanation_pb2.MethodResult],
        version: str,
        facts: dict[str, Parameter],
        own: Sequence[OipTensor] = (),
        *,
        is_final: bool,
    ) -> InferReply:
        outputs: list[OipTensor] = []
        seen: dict[str, int] = {}
        for result in results:
            if is_final and result.HasField("failure"):
                raise MethodFailed(result.failure)
            count = seen[result.method.name] = seen.get(result.method.name, 0) + 1
            begin = prefix(result.method.name, count, len(results))
            outputs += self._of_method(result, begin)
            facts[f"{begin}method"] = result.method.name
            if result.HasField("rows_used"):
                facts[f"{begin}rows_used"] = result.rows_used
            if result.stop_reason:
                reason = explanation_pb2.StopReason.Name(result.stop_reason)
                facts[f"{begin}stop_reason"] = pb_name(reason, STOP)
        outputs += own
        outputs += self._tokens()
        request = self._request
        # What is known on the way may lack what the answer has.
        chosen = _chosen(outputs, request.outputs, complete=is_final)
        return InferReply(request.model_name, version, request.id, facts, chosen, is_final)

    @property
    def _examples(self) -> int:
        shape = self._request.inputs[0].shape if self._request.inputs else ()
        return shape[0] if shape else 1

    def _of_method(self, result: explanation_pb2.MethodResult, begin: str) -> Iterator[OipTensor]:
        cells = {(each.example, each.target): each for each in result.explanations}
        if not cells:
            return
        grid = Grid(self._examples, 1 + max(target for _, target in cells))
        inputs = {each.name for each in self._request.inputs}
        parts = dict[tuple[str, int], dict[Place, explanation_pb2.Attribution]]()
        for place, cell in cells.items():
            for each in cell.attributions:
                parts.setdefault((each.name, each.part), {})[place] = each
        found: list[OipTensor | None] = []
        for (name, part), given in parts.items():
            suffix = f".{part}" if part else ""
            of_layer = name not in inputs
            title = names.LAYER + suffix if of_layer else f"{names.ATTRIBUTIONS}{name}{suffix}"
            values = {place: each.values for place, each in given.items()}
            found.append(grid.tensors(begin + title, values))
            kept = {place: each.indices for place, each in given.items() if each.indices}
            if kept:
                found.append(grid.indices(f"{begin}{names.INDICES}{name}{suffix}", kept))
            errors = {
                place: each.standard_errors
                for place, each in given.items()
                if each.HasField("standard_errors")
            }
            found.append(grid.tensors(f"{begin}{names.STANDARD_ERRORS}{name}{suffix}", errors))
        found += _interactions(grid, begin, cells)
        found += _targets(grid, begin, cells, self._request.outputs)
        yield from (each for each in found if each is not None)

    def _tokens(self) -> Iterator[OipTensor]:
        by_input = dict[str, dict[Place, Sequence[str]]]()
        for each in self._features:
            if each.HasField("example"):
                by_input.setdefault(each.input, {})[each.example, 0] = each.names
        grid = Grid(self._examples, 1)
        for name, values in by_input.items():
            tokens = grid.text_lists(f"{names.TOKENS}{name}", values)
            if tokens is not None:
                yield tokens


def prefix(method: str, count: int, methods: int) -> str:
    """Returns the begin of the names of a method's outputs: none where there is one method.

    Args:
        method: Its name.
        count: How often it has come so far, this time included.
        methods: The number of methods.
    """
    if methods == 1:
        return ""
    return f"{method}." if count == 1 else f"{method}.{count}."


def pb_name(name: str, begin: str) -> str:
    """Returns the name of a value of an enum in lower case, without the enum's own name."""
    return name.removeprefix(begin).lower()


def _interactions(grid: Grid, begin: str, cells: Cells) -> Iterator[OipTensor | None]:
    given = {
        place: each.interactions for place, each in cells.items() if each.HasField("interactions")
    }
    values = {place: each.values for place, each in given.items()}
    yield grid.tensors(begin + names.INTERACTIONS, values)
    features = {place: each.features for place, each in given.items()}
    yield grid.text_lists(begin + names.FEATURES, features)


def _targets(
    grid: Grid, begin: str, cells: Cells, wanted: Sequence[str]
) -> Iterator[OipTensor | None]:
    index = grid.indices(begin + names.INDEX, {at: each.index for at, each in cells.items()})
    # Of outputs with one dimension beside the batch, the usual ones, it is a number.
    yield replace(index, shape=index.shape[:-1]) if index.shape[-1] == 1 else index
    yield grid.texts(begin + names.LABEL, {place: each.label for place, each in cells.items()})
    for name, field in (
        (names.OUTPUT, "output"),
        (names.BASELINE_OUTPUT, "baseline_output"),
    ):
        values = {place: _known(each, field) for place, each in cells.items()}
        yield grid.numbers(begin + name, values, wanted)
    for name, field in (
        (names.COMPLETENESS, "completeness"),
        (names.STANDARD_ERROR, "standard_error"),
        (names.RELATIVE, "relative"),
    ):
        of_errors = {place: _known(each.error, field) for place, each in cells.items()}
        yield grid.numbers(begin + name, of_errors, wanted)


def _known(message: Any, field: str) -> float | None:
    return float(getattr(message, field)) if message.HasField(field) else None


def _own(tensor: tensor_pb2.Tensor, name: str) -> OipTensor:
    return OipTensor(name, tensor.datatype, tuple(tensor.shape), tensor.data)


def _chosen(
    outputs: Sequence[OipTensor], wanted: Sequence[str], *, complete: bool = True
) -> Sequence[OipTensor]:
    """Returns the outputs that are wanted, in the request's order; else the usual ones.

    Raises:
        InvalidRequest: There is no such output, and these are all.
    """
    if not wanted:
        return [each for each in outputs if not _on_request(each.name)]
    by_name = {each.name: each for each in outputs}
    for index, name in enumerate(wanted):
        if name not in by_name and complete:
            raise InvalidRequest(
                f"outputs[{index}].name",
                f"the model has no output {shortened(name)}. {did_you_mean(name, by_name)}",
            )
    return [by_name[name] for name in wanted if name in by_name]


def _on_request(name: str) -> bool:
    return any(f".{name}".find(f".{begin}") >= 0 for begin in names.ON_REQUEST)

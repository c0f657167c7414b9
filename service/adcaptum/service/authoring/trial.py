"""The trial of a model: Predict and every method, asked of a real server on its own example."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch

from adcaptum.client import (
    AdcaptumError,
    Client,
    DeadlineExceeded,
    FailedPrecondition,
    InputInfo,
    InputKind,
    InvalidRequest,
    LayerInfo,
    Method,
    MethodInfo,
    ModelInfo,
    Neuron,
    ResourceExhausted,
    SiteUse,
)
from adcaptum.engine import METHODS
from adcaptum.service.authoring.errors import AuthoringError
from adcaptum.service.authoring.in_process import serving_folder
from adcaptum.service.models.repository import stored_models, stored_tensors
from adcaptum.service.models.repository.stored_tensors import EXAMPLE_TEXTS
from adcaptum.service.models.texts import TextReader
from adcaptum.service.nearest import did_you_mean

Verdict: TypeAlias = Literal["ok", "no", "slow", "failed"]
Report: TypeAlias = Callable[[str, int, int], None]
"""Called with the name of what is tried next, its number and the number of all."""

GROUPS: Final = 8
"""Features that are asked about where the single elements are too many."""

FEW: Final = 32
"""The most elements that are features each by themselves."""

WINDOWS: Final = 6
"""Windows of occlusion along each dimension of a picture."""

PAIR: Final = "with two examples"

MOST_LAYERS: Final = 3
"""The most layers that are tried for one method."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one question.

    Attributes:
        name: Predict, or the method.
        verdict: `ok`; `no`: the model cannot run it; `slow`: it takes longer than allowed;
            `failed`: it should run and did not.
        seconds: The time of the answer; None without one.
        rows: The rows that it took; None without an answer.
        note: The reason, or what was asked beside the defaults.
    """

    name: str
    verdict: Verdict
    seconds: float | None = None
    rows: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """The trial of a model.

    Attributes:
        model: Its description by the server; None if it does not load.
        reason: The reason for which it does not load.
        load_seconds: The time until the server was ready.
        outcomes: Predict, then each method.
    """

    model: ModelInfo | None
    reason: str = ""
    load_seconds: float = 0.0
    outcomes: Sequence[Outcome] = field(default_factory=tuple)

    @property
    def passed(self) -> bool:
        """True if the model loads, predicts, and fails at nothing that it should do."""
        return self.model is not None and all(o.verdict != "failed" for o in self.outcomes)


def trial(
    folder: Path,
    *,
    seconds: float,
    report: Report,
    settings: Mapping[str, object],
    methods: Collection[str] = (),
) -> Trial:
    """Serves a model and asks it Predict and every method about its first example.

    Args:
        folder: The model's folder.
        seconds: The most time for each answer.
        report: Called before each question.
        settings: Settings of the server, such as `device`.
        methods: The methods to ask; none: every one.

    Raises:
        AuthoringError: The server cannot start, or there is no such method.
    """
    for name in methods:
        if name not in METHODS:
            raise AuthoringError(f"there is no method {name!r}. {did_you_mean(name, METHODS)}")
    folder = folder.resolve()
    if not folder.is_dir():
        raise AuthoringError(f"{folder}: there is no such folder")
    if not (folder / "model.toml").is_file():
        raise AuthoringError(f"{folder}: there is no model.toml in it, so it is no model's folder")
    begin = perf_counter()
    report("loading", 0, 1)
    with serving_folder(folder, **settings) as serving:
        loaded = perf_counter() - begin
        if reason := serving.failures.get(folder.name, ""):
            return Trial(None, reason, loaded)
        with Client(serving.address, max_attempts=1) as client:
            model = client.model(folder.name)
            questions = _Questions(client, model, _examples(folder), seconds)
            return Trial(model, "", loaded, tuple(questions.outcomes(report, methods)))


def _examples(folder: Path) -> dict[str, Any]:
    """Returns the examples as requests have them: an array for each input, or texts."""
    declaration = stored_models.open_model(folder).declaration
    place = declaration.text
    text = None if place is None else TextReader(declaration.inputs[place])
    # The mask of a text comes after the inputs.
    tensors = stored_tensors.examples(declaration, text, torch.device("cpu"))
    texts = list(declaration.example_texts or EXAMPLE_TEXTS)
    return {
        each.name: texts[: len(rows)] if each.kind == "text" else _array(rows)
        for each, rows in zip(declaration.inputs, tensors, strict=False)
    }


def _array(rows: torch.Tensor) -> np.ndarray[Any, Any]:
    # NumPy has no bfloat16; the server converts.
    return (rows.float() if rows.dtype == torch.bfloat16 else rows).numpy()


def _first(examples: dict[str, Any], rows: int) -> dict[str, Any]:
    return {name: each[:rows] for name, each in examples.items()}


class _Questions:
    """The questions to a model about one example."""

    def __init__(
        self,
        client: Client,
        model: ModelInfo,
        examples: dict[str, Any],
        seconds: float,
    ) -> None:
        self._client = client
        self._name = model.name
        self._version = model.default
        self._seconds = seconds
        self._example = _first(examples, 1)
        texts = any(isinstance(each, list) for each in examples.values())
        several = min(map(len, examples.values())) > 1 and not texts
        self._pair = _first(examples, 2) if several else None

    def outcomes(self, report: Report, names: Collection[str]) -> Iterator[Outcome]:
        methods = self._client.methods(self._name)
        if names:
            methods = tuple(each for each in methods if each.name in names)
        count = len(methods) + 1
        report("Predict", 0, count)
        yield self._ask("Predict", self._predict, "")
        for index, method in enumerate(methods, 1):
            report(method.name, index, count)
            yield self._method(method)

    def _predict(self) -> int:
        self._client.predict(self._name, self._example, timeout=self._seconds)
        return 1

    def _method(self, method: MethodInfo) -> Outcome:
        """Asks in the simplest way first; the last refusal counts."""
        if method.available is False:
            return Outcome(method.name, "no", note=method.reason)
        outcome = Outcome(method.name, "no", note="there is no layer of a shape that it takes")
        options: dict[str, Any] = {"methods": method.name}
        for options, note in self._ways(method):
            outcome = self._ask(method.name, partial(self._explain, self._example, options), note)
            if outcome.verdict == "ok":
                return outcome
        if outcome.verdict == "no" and self._pair is not None:
            # Some methods compare examples with each other.
            asked = self._ask(method.name, partial(self._explain, self._pair, options), PAIR)
            return asked if asked.verdict == "ok" else outcome
        return outcome

    def _explain(self, example: Any, options: dict[str, Any]) -> int:
        result = self._client.explain(
            self._name, example, timeout=self._seconds, cache="bypass", **options
        )
        (one,) = result.results
        return one.rows_used or 0

    def _ask(self, name: str, ask: Callable[[], int], note: str) -> Outcome:
        begin = perf_counter()
        try:
            rows = ask()
        except (DeadlineExceeded, ResourceExhausted) as error:
            return Outcome(name, "slow", note=_joined(note, str(error)))
        except (FailedPrecondition, InvalidRequest) as error:
            # A method may refuse a model; Predict may not.
            verdict: Verdict = "failed" if name == "Predict" else "no"
            return Outcome(name, verdict, note=_joined(note, str(error)))
        except AdcaptumError as error:
            return Outcome(name, "failed", note=_joined(note, str(error)))
        return Outcome(name, "ok", perf_counter() - begin, rows, note)

    def _ways(self, method: MethodInfo) -> Iterator[tuple[dict[str, Any], str]]:
        """Yields the options of a question, and a note of those that are not defaults."""
        inputs = self._version.inputs
        asked: dict[str, Any] = {"methods": self._configured(method)}
        note = "" if isinstance(asked["methods"], str) else "with windows that do not overlap"
        layered = method.site_use in {SiteUse.LAYER_REQUIRED, SiteUse.INPUTS_WITH_LAYER}
        if layered or method.accepts_neuron:
            for layer in self._layers():
                named = layer.alias or layer.name
                place = (
                    {"through": Neuron(named, tuple(length // 2 for length in layer.shape))}
                    if method.accepts_neuron
                    else {"site": named}
                )
                yield asked | place, f"at {named}"
            return
        # Each token of a text is a feature.
        masks = {each.name: self._mask(each) for each in inputs if each.kind is not InputKind.TEXT}
        few = all(mask.size <= FEW for mask in masks.values())
        if few or not method.accepts_feature_masks or not isinstance(asked["methods"], str):
            yield asked, note
        if method.accepts_feature_masks and masks:
            yield (
                asked | {"methods": method.name, "feature_masks": masks},
                f"with {GROUPS} groups of elements",
            )

    def _mask(self, declared: InputInfo) -> np.ndarray[Any, np.dtype[np.int64]]:
        shape = self._example[declared.name].shape
        count = prod(shape[1:])
        groups = np.arange(count) * min(GROUPS, count) // max(count, 1)
        return groups.astype(np.int64).reshape(1, *shape[1:])

    def _configured(self, method: MethodInfo) -> str | Method:
        """Returns the method, with windows if it needs them."""
        windows = "sliding_window_shapes"
        (first, *others) = self._version.inputs
        known = windows in (each.name for each in method.parameters)
        # Windows of one form do not fit several inputs.
        if not known or others or first.kind is InputKind.TEXT:
            return method.name
        shape = self._example[first.name].shape[1:]
        if not shape:
            return method.name
        keep = len(shape) == 3
        sizes = [
            length if keep and place == 0 else max(1, length // WINDOWS)
            for place, length in enumerate(shape)
        ]
        return Method(method.name, **{windows: sizes, "strides": sizes})

    def _layers(self) -> list[LayerInfo]:
        """Returns some layers: those with a readable name first, then the deepest."""
        found = [layer for layer in self._version.layers if layer.shape]
        named = [layer for layer in found if layer.alias]
        maps = [layer for layer in found if len(layer.shape) == 3]
        others = maps[::-1] or found[-2::-1] or found
        return list({each.name: each for each in (*named, *others)}.values())[:MOST_LAYERS]


def _joined(note: str, reason: str) -> str:
    return f"{note}: {reason}" if note else reason

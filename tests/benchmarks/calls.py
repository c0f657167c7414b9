"""Calls of methods that take one row an example, on small models, against Captum.

There the rows cost less than what surrounds them: the question, the flow, the batch, the answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, NamedTuple

import torch
from captum import attr as captum
from torch import Tensor, nn

from adcaptum import attr
from adcaptum.engine import METHODS, Explicand, Site, explain
from tests.benchmarks.race import settle, turns
from tests.benchmarks.subjects import load_subject
from tests.benchmarks.tables import CONSOLE, duration, ratio, table

NAMES: Final = ("mlp", "cells", "digits")


class Call(NamedTuple):
    """A call that both libraries have.

    Attributes:
        name: The class of Captum, and of `adcaptum.attr`.
        method: The method of the engine.
        layered: Whether it takes a layer.
        compared: Whether it takes a baseline.
    """

    name: str
    method: str
    layered: bool = False
    compared: bool = False


CALLS: Final = (
    Call("Saliency", "saliency"),
    Call("InputXGradient", "input_x_gradient"),
    Call("LayerActivation", "activation", layered=True),
    Call("LayerGradCam", "grad_cam", layered=True),
    Call("GuidedBackprop", "guided_backprop"),
    Call("Deconvolution", "deconvolution"),
    Call("DeepLift", "deep_lift", compared=True),
)


@dataclass(frozen=True, slots=True)
class Small:
    """A small model to explain.

    Attributes:
        model: The model.
        inputs: Its inputs, (16, *features).
        baseline: The baseline, (1, *features).
        layer: A module near its end, and its qualified name.
    """

    model: nn.Module
    inputs: Tensor
    baseline: Tensor
    layer: tuple[nn.Module, str]


def small(name: str) -> Small:
    """Builds the table model of 30-128-128-2, "mlp", or loads a bundled model."""
    if name == "mlp":
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = (nn.Linear(30, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
            model = nn.Sequential(*layers, nn.Linear(128, 2)).eval()
            inputs = torch.randn(16, 30)
        return Small(model, inputs, torch.zeros(1, 30), (model[3], "3"))
    subject = load_subject(name)
    view = subject.inside
    assert isinstance(view.at.layer, str), "benchmarks name their layers"
    return Small(view.model, view.inputs, view.baseline, (view.layer, view.at.layer))


class Calls:
    """The section.

    Args:
        quick: Whether to time briefly.
    """

    def __init__(self, *, quick: bool) -> None:
        self._seconds = 0.3 if quick else 1.5

    def run(self, names: tuple[str, ...] = (), methods: tuple[str, ...] = ()) -> None:
        """Times and prints, model by model.

        Args:
            names: The models; empty: all.
            methods: The methods, by the engine's names; empty: all.
        """
        torch.set_num_threads(1)
        for name in names or NAMES:
            for count in (1, 16):
                columns = ("method", "Captum", "attr", "engine", "attr/Captum", "engine/Captum")
                made = table(f"{name}, {count} input{'s' if count > 1 else ''}", columns)
                for call in CALLS:
                    if not methods or call.method in methods:
                        seconds = self._race(small(name), count, call)
                        times = [duration(median(each)) for each in seconds.values()]
                        ratios = [ratio(over(seconds, k)) for k in ("attr", "engine")]
                        made.add_row(call.method, *times, *ratios)
                CONSOLE.print(made)

    def _race(self, what: Small, count: int, call: Call) -> dict[str, list[float]]:
        contenders = contenders_of(what, count, call)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for run in contenders.values():
                settle(run, self._seconds)
            return turns(contenders, self._seconds)


def over(seconds: dict[str, list[float]], name: str) -> float:
    """Returns the median of the ratios of a contender's turns to Captum's beside them."""
    pairs = zip(seconds[name], seconds["captum"], strict=True)
    return median([own / other for own, other in pairs])


def contenders_of(what: Small, count: int, call: Call) -> dict[str, Callable[[], object]]:
    """Returns the same call of Captum, of `adcaptum.attr` and of the engine."""
    inputs = what.inputs[:count].clone()
    targets = 1 if count == 1 else torch.arange(count) % 2
    arguments: dict[str, Any] = {} if call.method == "activation" else {"target": targets}
    if call.compared:
        arguments["baselines"] = what.baseline

    def of(library: Any) -> Callable[[], object]:
        places = (what.layer[0],) if call.layered else ()
        attribute = getattr(library, call.name)(what.model, *places).attribute
        return lambda: attribute(inputs, **arguments)

    at: dict[str, Any] = {"at": Site(what.layer[1])} if call.layered else {}
    own = METHODS[call.method]()

    def engine() -> object:
        return explain(what.model, own, Explicand.of(inputs, **arguments, **at))

    return {"captum": of(captum), "attr": of(attr), "engine": engine}

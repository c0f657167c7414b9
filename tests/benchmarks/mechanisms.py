"""With and without: what each optional mechanism of the engine and the service brings.

In process: processor time of a call. Served: processor time of the server for an answer, from two
servers, one of them without the mechanism, which take the same load in turns. Below 1 it helps.
`python -m tests.benchmarks.mechanisms serve ...` is a server that never looks for equal rows.
"""

from __future__ import annotations

import gc
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from random import Random
from statistics import median
from time import thread_time
from typing import Any, Final
from unittest.mock import patch

import torch

from adcaptum.engine import METHODS, Explicand, Neuron, Site, explain
from adcaptum.engine.execution.references.reference_cache import ReferenceMemory
from adcaptum.engine.execution.taps import Taps
from adcaptum.service.cli import main as run_command_line
from adcaptum.service.runtime.batches.equal_rows import EqualRowsByModel
from adcaptum.service.wire import tensor_writer
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb, method_pb2, model_pb2
from tests.benchmarks.load import Load
from tests.benchmarks.processes import (
    Server,
    finish_load,
    model_repository,
    our_server,
    start_load,
)
from tests.benchmarks.subjects import load_subject
from tests.benchmarks.tables import CONSOLE, table

PATH: Final = "/adcaptum.v1.ExplanationService/Explain"
EARLY: Final = {"cnn": "stem", "digits": "block_1", "reviews": "encoder.layers.0"}
SERVED: Final[tuple[tuple[str, str, str, dict[str, int]], ...]] = (
    ("equal rows of a batch once", "digits", "shapley_value_sampling", {"n_samples": 6}),
    ("equal rows of a batch once", "digits", "occlusion", {}),
    ("equal rows of a batch once", "digits", "kernel_shap", {}),
    ("reference rows from batch to batch", "digits", "deep_lift", {}),
    ("reference rows from batch to batch", "cnn", "deep_lift", {}),
    ("the allocator keeps what is freed", "cnn", "integrated_gradients", {"n_steps": 50}),
)

Runner = Callable[[], object]


class Mechanisms:
    """The section."""

    def __init__(self, *, quick: bool) -> None:
        self._turns = 3 if quick else 9
        self._seconds = 0.5 if quick else 2.0

    def run(self) -> None:
        """Times and prints."""
        torch.set_num_threads(1)
        made = table(
            "With and without (median and quartiles of paired ratios; below 1 it helps)",
            ("mechanism and load", "with / without", "quartiles"),
        )
        for title, ratios in (*self._in_process(), *self._served()):
            ordered = sorted(ratios)
            low, high = ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]
            made.add_row(title, f"{median(ordered):.2f}", f"{low:.2f} to {high:.2f}")
        CONSOLE.print(made)

    def _in_process(self) -> Iterator[tuple[str, list[float]]]:
        for name, layer in EARLY.items():
            view = load_subject(name).plain
            inside = replace(view.explicand(1, None), at=Site(layer), feature_mask=None)
            run = partial(explain, view.model, METHODS["activation"](), inside)
            yield (
                f"a model is left once all is seen: activation at {name}'s {layer}",
                self._paired(run, _to_the_end(run)),
            )
        view = load_subject("digits").smooth
        shape = explain(
            view.model,
            METHODS["activation"](),
            Explicand.of(view.model_inputs[:1], target=0, at=Site("block_1")),
        ).values[0].shape[1:]  # fmt: skip
        neuron = Explicand.of(
            view.model_inputs[:1], target=Neuron(Site("block_1"), (0,) * len(shape)), baselines=0.0
        )
        run = partial(explain, view.model, METHODS["integrated_gradients"](), neuron)
        yield (
            "a model is left once all is seen: integrated gradients of an early neuron of digits",
            self._paired(run, _to_the_end(run)),
        )
        for name in ("cells", "digits", "cnn", "reviews"):
            view = load_subject(name).smooth
            for count in (1, 4):
                alone = partial(
                    explain, view.model, METHODS["deep_lift"](), view.explicand(count, None)
                )
                known = partial(alone, memory=ReferenceMemory(independent=True))
                yield (
                    f"reference rows from call to call: DeepLIFT of {count} input(s) of {name}",
                    self._paired(known, alone),
                )

    def _paired(self, on: Runner, off: Runner) -> list[float]:
        """Ratios of processor times, in turns."""
        for _ in range(4):
            on()
            off()
        repeats = max(1, int(self._seconds / 100 / max(_spent(on, 1), 1e-6)))
        gc.collect()
        gc.disable()
        try:
            ratios = []
            for turn in range(self._turns):
                first, second = (on, off) if turn % 2 else (off, on)
                times = {id(run): _spent(run, repeats) for run in (first, second)}
                ratios.append(times[id(on)] / times[id(off)])
        finally:
            gc.enable()
        return ratios

    def _served(self) -> Iterator[tuple[str, list[float]]]:
        without = {
            "equal rows of a batch once": ({}, "tests.benchmarks.mechanisms"),
            "reference rows from batch to batch": (
                {"ADCAPTUM_REFERENCE_BYTES": "0"},
                "adcaptum.service.cli",
            ),
            "the allocator keeps what is freed": (
                {"MALLOC_ARENA_TEST": "8"},
                "adcaptum.service.cli",
            ),
        }
        with ExitStack() as stack:
            repository = stack.enter_context(model_repository())
            whole = stack.enter_context(our_server(repository))
            for mechanism, (environment, module) in without.items():
                with our_server(repository, module=module, **environment) as lacking:
                    for named, model, method, params in SERVED:
                        if named == mechanism:
                            ratios = [
                                self._cost(whole, model, method, params)
                                / self._cost(lacking, model, method, params)
                                for _ in range(self._turns)
                            ]
                            yield f"{mechanism}: {method} of {model}, 8 clients", ratios

    def _cost(self, server: Server, model: str, method: str, params: Mapping[str, int]) -> float:
        """The server's processor seconds for an answer."""
        load = Load(server.address, PATH, _requests(model, method, params), 8, 0.0, self._seconds)
        begin = server.cpu_seconds()
        calls = finish_load(start_load(load)).calls
        return (server.cpu_seconds() - begin) / calls


def _requests(model: str, method: str, params: Mapping[str, int]) -> list[str]:
    """Distinct inputs: the bundled examples with some noise, whose zeros stay zeros."""
    inputs = load_subject(model).smooth.inputs
    generator = torch.Generator().manual_seed(Random().randrange(1 << 30))
    made = []
    spec = method_pb2.MethodSpec(name=method)
    for name, value in params.items():
        spec.params[name].number_value = value
    for number in range(256):
        row = inputs[number % len(inputs)][None]
        noisy = row * (1 + 0.02 * torch.randn(row.shape, generator=generator))
        request = pb.ExplainRequest(
            model=model_pb2.ModelRef(name=model),
            inputs=[tensor_writer.encode(noisy)],
            spec=explain_spec_pb2.ExplainSpec(methods=[spec]),
            cache=pb.CACHE_POLICY_BYPASS,
        )
        made.append(b64encode(request.SerializeToString()).decode())
    return made


def _spent(run: Runner, repeats: int) -> float:
    begin = thread_time()
    for _ in range(repeats):
        run()
    return (thread_time() - begin) / repeats


def _to_the_end(run: Runner) -> Runner:
    """The same call with forwards that always run to their end."""
    opened = Taps.open

    @contextmanager
    def whole(self: Taps, *arguments: Any, **named: Any) -> Iterator[None]:
        with opened(self, *arguments, **{**named, "enough": False, "watch": False}):
            yield

    def call() -> object:
        with patch.object(Taps, "open", whole):
            return run()

    return call


if __name__ == "__main__":
    EqualRowsByModel.search = lambda *_: None  # type: ignore[method-assign]
    run_command_line()
    sys.exit()

"""Backward rules: DeepLIFT against Captum's and the plain gradient, LRP against zennit and Captum.

All inputs share one baseline; "known" is with what it gives recorded before, as the service has it
from the third request on. `python -m tests.benchmarks.rules MODEL CONTENDER ROWS` prints what a
contender holds at most, in MiB above what the process held before.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import torch
from captum import attr as captum

from adcaptum import attr
from adcaptum.engine import METHODS, explain
from adcaptum.engine.execution.references.reference_cache import ReferenceMemory
from adcaptum.engine.rules.lrp.composites import composite
from tests import zennit_oracle as zennit
from tests.benchmarks.bare import BareLoop
from tests.benchmarks.high_water import high_water, reset
from tests.benchmarks.race import race, settle
from tests.benchmarks.subjects import View, load_subject
from tests.benchmarks.tables import CONSOLE, duration, ratio, table

NAMES: Final = ("cells", "digits", "cnn", "reviews")
QUICK: Final = ("cells",)
COUNTS: Final = (1, 16)
OURS: Final = ("deep_lift", "known", "lrp_epsilon", "lrp_epsilon_plus")
MEMORY: Final = ("gradient", "deep_lift", "captum_deep_lift", *OURS[2:], "zennit_epsilon",
                 "zennit_epsilon_plus", "captum_lrp")  # fmt: skip

Runner = Callable[[], object]


def contenders(view: View, count: int) -> dict[str, Runner]:
    """Who explains the first inputs, by name."""
    network: Any = view.network
    x, targets = view.inputs[:count], view.targets[:count]
    arguments: dict[str, Any] = {"target": targets}
    if view.extra:
        arguments["additional_forward_args"] = tuple(e[:count] for e in view.extra)
    base = {"baselines": view.baseline, **arguments}
    plus = composite("epsilon_plus")
    # Captum leaves its rules on the modules of a model that it refuses.
    other = copy.deepcopy(network)
    made: dict[str, Runner] = {
        "gradient": partial(attr.InputXGradient(network).attribute, x, **arguments),
        "deep_lift": partial(attr.DeepLift(network).attribute, x, **base),
        "known": partial(
            explain,
            view.model,
            METHODS["deep_lift"](),
            view.explicand(count, None),
            memory=ReferenceMemory(),
        ),
        "captum_deep_lift": partial(captum.DeepLift(other).attribute, x, **base),
        "lrp_epsilon": partial(attr.LRP(network).attribute, x, **arguments),
        "lrp_epsilon_plus": partial(attr.LRP(network, composite=plus).attribute, x, **arguments),
        "captum_lrp": partial(captum.LRP(other).attribute, x, **arguments),
    }
    if not view.extra:
        wanted = targets.tolist()
        for name, theirs in (
            ("zennit_epsilon", _epsilon),
            ("zennit_epsilon_plus", zennit.composites.EpsilonPlus),
        ):
            made[name] = partial(zennit.relevance, network, theirs(), x, wanted)
    return made


class Rules:
    """The section."""

    def __init__(self, *, quick: bool, seconds: float = 0.6) -> None:
        self._names = QUICK if quick else NAMES
        self._seconds = seconds / 4 if quick else seconds

    def run(self, names: tuple[str, ...] = ()) -> None:
        """Times and prints; then the memory."""
        torch.set_num_threads(1)
        for title, print_row, columns in (
            ("DeepLIFT", self._deep_lift, ("ours", "known", "known/ours", "Captum", "ours/Captum",
                                           "plain gradient", "ours/plain")),
            ("LRP", self._relevance, ("epsilon", "/zennit", "/Captum", "epsilon_plus", "/zennit")),
        ):  # fmt: skip
            made = table(title, ("model", "inputs", *columns))
            for name in names or self._names:
                view = load_subject(name).smooth
                for count in COUNTS:
                    made.add_row(name, str(count), *print_row(view, count))
            CONSOLE.print(made)
        made = table(
            "Peak memory above idle (MiB; 64 inputs, a fresh process each)", ("model", *MEMORY)
        )
        for name in names or self._names:
            made.add_row(name, *(_peak(name, contender) for contender in MEMORY))
        CONSOLE.print(made)

    def _timed(self, view: View, count: int, wanted: tuple[str, ...]) -> Mapping[str, float]:
        every = contenders(view, count).items()
        runners = {name: run for name, run in every if name in wanted and _works(run)}
        for name, run in runners.items():
            if name in OURS:
                settle(run, self._seconds)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return race(runners, self._seconds)

    def _deep_lift(self, view: View, count: int) -> tuple[str, ...]:
        seconds = self._timed(view, count, ("deep_lift", "known", "captum_deep_lift"))
        # The same rows with nothing between: the inputs and the baseline, in one batch.
        loop = BareLoop(view.network, (view.inputs, *view.extra), "gradient")
        plain = race({"plain": partial(loop.run, count + 1, count + 1)}, self._seconds)["plain"]
        ours, theirs = seconds["deep_lift"], seconds.get("captum_deep_lift")
        return (
            duration(ours),
            duration(seconds["known"]),
            ratio(seconds["known"] / ours),
            "-" if theirs is None else duration(theirs),
            ratio(theirs and ours / theirs),
            duration(plain),
            ratio(ours / plain),
        )

    def _relevance(self, view: View, count: int) -> tuple[str, ...]:
        wanted = ("lrp_epsilon", "lrp_epsilon_plus", "zennit_epsilon", "zennit_epsilon_plus",
                  "captum_lrp")  # fmt: skip
        seconds = self._timed(view, count, wanted)

        def over(ours: str, theirs: str) -> str:
            other = seconds.get(theirs)
            return ratio(other and seconds[ours] / other)

        return (
            duration(seconds["lrp_epsilon"]),
            over("lrp_epsilon", "zennit_epsilon"),
            over("lrp_epsilon", "captum_lrp"),
            duration(seconds["lrp_epsilon_plus"]),
            over("lrp_epsilon_plus", "zennit_epsilon_plus"),
        )


def _epsilon() -> Any:
    """zennit's Epsilon for every layer."""
    from zennit.types import AvgPool, Linear

    layers = [(Linear, zennit.rules.Epsilon()), (AvgPool, zennit.rules.Norm())]
    return zennit.composites.LayerMapComposite(layer_map=layers)


def _works(run: Runner) -> bool:
    """Whether a contender can explain the model at all."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run()
    except Exception:  # noqa: BLE001 - whatever it is, it is no answer
        return False
    return True


def _peak(model: str, contender: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.rules", model, contender, "64"],
        check=True,
        capture_output=True,
        text=True,
    )
    above = json.loads(done.stdout)
    return "-" if above is None else f"{above:.0f}"


def _print_peak() -> None:
    name, contender, rows = sys.argv[1:]
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    view = load_subject(name).smooth
    # Whatever is loaded at first use is loaded now, for one input.
    small = contenders(view, 1).get(contender)
    if small is None or not _works(small):
        print("null")
        return
    many = torch.arange(int(rows)) % len(view.inputs)
    large = View(
        view.network, view.inputs[many], view.baseline, tuple(e[many] for e in view.extra),
        view.targets[many], view.model, view.model_inputs[many], view.model_baseline, view.at,
    )  # fmt: skip
    run = contenders(large, int(rows))[contender]
    reset()
    before = high_water()
    run()
    print(json.dumps(high_water() - before))


if __name__ == "__main__":
    _print_peak()

"""In process: every method against Captum and against the rows alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch

from adcaptum.engine import INPUT, METHODS, InvalidArgument, ModelError, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.benchmarks.bare import BareLoop, Kind
from tests.benchmarks.captum_calls import CaptumCall, captum_call
from tests.benchmarks.counted import count_rows
from tests.benchmarks.race import race, settle
from tests.benchmarks.settings import SETTINGS, Settings
from tests.benchmarks.subjects import Subject, load_subject
from tests.benchmarks.tables import CONSOLE, duration, ratio, table

NAMES: Final = ("cells", "digits", "cnn", "reviews", "photos")
QUICK: Final = ("cells", "digits")
AIM_ROW: Final = 50e-6
AIM_RATIO: Final = 1.15
NOISE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Cell:
    """What was measured of one method, model and number of inputs, in seconds.

    Attributes:
        rows: How many rows the engine evaluated.
        ours: The engine's time.
        lean: The engine's time without the rows that tell output and error, which Captum does not
            evaluate; the same where there are none.
        raw: The time of the rows alone.
        default: Captum's; None: it has no such method.
        tuned: Captum's at its best setting.
        setting: That setting.
    """

    method: str
    rows: int
    ours: float
    lean: float
    raw: float
    default: float | None
    tuned: float | None
    setting: str

    @property
    def over_raw(self) -> float:
        """How many times the rows alone the method takes."""
        return self.ours / self.raw

    @property
    def verdict(self) -> str:
        """Which aims were missed."""
        missed = []
        if self.raw / self.rows > AIM_ROW and self.over_raw > AIM_RATIO:
            missed.append("raw")
        if self.tuned is not None and self.tuned < self.lean * (1 - NOISE):
            missed.append("tuned")
        return ", ".join(missed)


class InProcess:
    """The section.

    Args:
        quick: Whether to time two models only, and briefly.
        seconds: How long each cell is timed.
    """

    def __init__(self, *, quick: bool, seconds: float = 0.6) -> None:
        self._names = QUICK if quick else NAMES
        self._seconds = seconds / 4 if quick else seconds

    def run(self, names: tuple[str, ...] = (), methods: tuple[str, ...] = ()) -> None:
        """Times and prints, model by model.

        Args:
            names: The models; empty: all.
            methods: The methods; empty: all.
        """
        torch.set_num_threads(1)
        for name in names or self._names:
            subject = load_subject(name)
            loops = Loops(subject)
            for count in (1, 16):
                self._print(subject, count, loops, methods)
            CONSOLE.print(_scan(name, loops))

    def _print(
        self,
        subject: Subject,
        count: int,
        loops: Loops,
        methods: tuple[str, ...],
    ) -> None:
        settings = SETTINGS[subject.name, count]
        columns = (
            "method", "rows", "ours", "raw", "raw/row", "ours/raw", "default/ours", "tuned/ours",
            "tuned/lean", "tuned with", "missed",
        )  # fmt: skip
        made = table(f"{subject.name}, {count} input{'s' if count > 1 else ''}", columns)
        for method in METHODS:
            if (settings.only and method not in settings.only) or (
                methods and method not in methods
            ):
                continue
            try:
                cell = self._cell(method, subject, count, settings, loops)
            except (InvalidArgument, ModelError) as error:
                made.add_row(method, *[""] * (len(columns) - 2), f"not on this model: {error}"[:60])
                continue
            made.add_row(
                cell.method,
                str(cell.rows),
                duration(cell.ours),
                duration(cell.raw),
                duration(cell.raw / cell.rows),
                ratio(cell.over_raw),
                ratio(cell.default and cell.default / cell.ours),
                ratio(cell.tuned and cell.tuned / cell.ours),
                ratio(cell.tuned and cell.tuned / cell.lean),
                cell.setting,
                cell.verdict,
            )
        CONSOLE.print(made)

    def _cell(
        self,
        name: str,
        subject: Subject,
        count: int,
        settings: Settings,
        loops: Loops,
    ) -> Cell:
        method = resolve(METHODS[name], settings.parameters(name))
        view = subject.view(METHODS[name])
        mask = settings.mask(name, view.model_inputs)

        def ours() -> object:
            return explain(view.model, method, view.explicand(count, mask))

        def lean() -> object:
            return explain(view.model, method, view.explicand(count, mask, with_error=False))

        counts = count_rows(view, method, view.explicand(count, mask))
        settle(ours, self._seconds)
        runners: dict[str, Callable[[], object]] = {"ours": ours}
        frugal = view.explicand(count, mask, with_error=False)
        if method.rows(frugal) < method.rows(view.explicand(count, mask)):
            runners["lean"] = lean
        for kind, rows in counts.items():
            for cut in loops[kind].cuts(rows):
                runners[f"{kind} {cut}"] = partial(loops[kind].run, rows, cut)
        call = captum_call(name, view, count, settings)
        best: int | None = None
        refused = "" if call is None else _refusal(call)
        if call is not None and not refused:
            runners["default"] = call.run
            best = _tune(call, self._seconds)
            if best is not None:
                runners["tuned"] = partial(call.run, best)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seconds = race(runners, self._seconds)
        raw = sum(
            min(seconds[f"{kind} {cut}"] for cut in loops[kind].cuts(rows))
            for kind, rows in counts.items()
        )
        default, tuned = seconds.get("default"), seconds.get("tuned", seconds.get("default"))
        setting = refused or (
            "no such method" if call is None else "default" if call.knob else "no knob"
        )
        if tuned is not None and default is not None and tuned < default:
            assert call is not None
            setting = f"{call.knob}={best}"
        elif default is not None:
            tuned = default
        mine = seconds["ours"]
        lean_seconds = seconds.get("lean", mine)
        return Cell(name, counts.total(), mine, lean_seconds, raw, default, tuned, setting)


class Loops:
    """The raw loops over a subject, each made when it is first wanted."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.made: dict[Kind, BareLoop] = {}

    def __getitem__(self, kind: Kind) -> BareLoop:
        if kind not in self.made:
            self.made[kind] = self._make(kind)
        return self.made[kind]

    def _make(self, kind: Kind) -> BareLoop:
        view = self._subject.smooth if kind == "gradient" else self._subject.plain
        layer = None
        if kind in {"layer", "read"}:
            # What is read is read at the embeddings of a text, else at a layer near the end.
            text = kind == "read" and self._subject.smooth.at != INPUT
            layer = (self._subject.smooth if text else self._subject.inside).layer
        return BareLoop(view.network, (view.inputs, *view.extra), kind, layer)


def _scan(name: str, loops: Loops) -> Any:
    sizes = sorted({size for loop in loops.made.values() for size in loop.seconds_by_rows})
    made = table(f"{name}: raw rows/s by batch size", ("kind", *map(str, sizes)))
    for kind, loop in loops.made.items():
        known = loop.seconds_by_rows
        made.add_row(kind, *(f"{s / known[s]:.0f}" if s in known else "-" for s in sizes))
    return made


def _refusal(call: CaptumCall) -> str:
    """What Captum raises, if it cannot explain this model; else nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is Captum's answer
        return f"raises {type(error).__name__}"
    return ""


def _tune(call: CaptumCall, seconds: float) -> int | None:
    """The best setting of Captum's knob; None: its default, or it has no knob."""
    runners = {str(size): partial(call.run, size) for size in call.sizes}
    if not runners:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        times = race(runners, seconds / 4)
    return int(min(times, key=lambda size: times[size]))

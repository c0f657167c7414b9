"""Contenders timed side by side, turn by turn, so that whatever slows the machine slows all."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from math import ceil
from time import perf_counter, thread_time

Runner = Callable[[], object]

_SHORTEST = 0.01  # seconds: shorter calls are timed several at a time, after one that is not
_FEWEST_TURNS = 3


def race(runners: Mapping[str, Runner], seconds: float) -> dict[str, float]:
    """Times contenders in turns: A B C A B C ...

    Times are CPU seconds of the calling thread, so that other processes hardly count; the least of
    all turns, because what disturbs only ever adds. With one intra-op thread torch computes in the
    calling thread alone, backward passes included.

    Args:
        runners: The contenders by name.
        seconds: How long the race may take, about. Who takes longer than that for a single call
            is timed once.

    Returns:
        The seconds of one call, by name.
    """
    best: dict[str, float] = {}
    repeats: dict[str, int] = {}
    begin = perf_counter()
    gc.collect()
    gc.disable()
    try:
        for name, run in runners.items():
            best[name] = _time(run, 1)
            repeats[name] = max(1, ceil(_SHORTEST / max(best[name], 1e-6)))
        fast = [name for name in runners if best[name] <= seconds]
        turns = 0
        while fast and (turns < _FEWEST_TURNS or perf_counter() - begin < seconds):
            if turns and perf_counter() - begin > 3 * seconds:
                break
            for name in fast:
                best[name] = min(best[name], _time(runners[name], repeats[name]))
            turns += 1
    finally:
        gc.enable()
    return best


def turns(runners: Mapping[str, Runner], seconds: float) -> dict[str, list[float]]:
    """Times short calls in very short turns, for ratios of turns that stand side by side.

    On a machine with other work a core is fast and slow by turns. Two contenders a millisecond
    apart have the same core, so that the median of their ratios is steadier than the ratio of
    their least times.

    Args:
        runners: The contenders by name.
        seconds: How long it may take, about.

    Returns:
        The CPU seconds of one call, by name, turn by turn.
    """
    found: dict[str, list[float]] = {name: [] for name in runners}
    begin = perf_counter()
    gc.collect()
    gc.disable()
    try:
        repeats = {name: max(1, ceil(1e-3 / _time(run, 3))) for name, run in runners.items()}
        while perf_counter() - begin < seconds or len(found[next(iter(found))]) < _FEWEST_TURNS:
            for name, run in runners.items():
                run()
                found[name].append(_time(run, repeats[name]))
    finally:
        gc.enable()
    return found


def settle(run: Runner, seconds: float) -> None:
    """Runs a contender until it has learnt what it learns: thirty times, or for so many seconds."""
    begin = perf_counter()
    for _ in range(30):
        run()
        if perf_counter() - begin > seconds:
            return


def _time(run: Runner, repeats: int) -> float:
    if repeats > 1:
        run()
    begin = thread_time()
    for _ in range(repeats):
        run()
    return (thread_time() - begin) / repeats

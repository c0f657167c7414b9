"""Occlusion: the target's decrease where a sliding window hides the input."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.games.features import check_elements
from adcaptum.engine.games.game import by_game
from adcaptum.engine.methods.perturbation.windowed_rows import Windowed
from adcaptum.engine.methods.perturbation.windows import Windows
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.endpoints import endpoint_rows, endpoints
from adcaptum.engine.vocabulary.evaluation import INPUT
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class Occlusion:
    """The target at the input, less the target with a window of the input at the baseline.

    Zeiler, Fergus (2014), https://arxiv.org/abs/1311.2901, section 4.2. Each element has the mean
    over the windows that it lies in. Of several inputs one is covered at a time. Every window is
    evaluated: a tolerance changes nothing.
    """

    traits: ClassVar[Traits] = Traits(
        name="occlusion", paper="https://arxiv.org/abs/1311.2901", baseline=True
    )

    sliding_window_shapes: tuple[int, ...] | None = parameter(
        None,
        "The window's length in each dimension of the input without its examples; for several "
        "inputs, those of all inputs in a row. Default: an eighth of each dimension but the first "
        "for images and other inputs of three dimensions or more, else one element.",
        minimum=1,
    )
    strides: tuple[int, ...] | None = parameter(
        None,
        "Steps of the window in each dimension, or one number for all; no more than its "
        "length. Default: 1 where windows are given, else half of the window.",
        minimum=1,
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains; the output is the target at the input.

        Raises:
            InvalidArgument: If a window or stride does not fit the input, or one has no elements.
        """
        ends, starts = yield from endpoints(explicand)
        windows = self._windows(explicand, ends)
        reading = yield from ask(explicand.evaluation(Windowed(ends, starts, windows)))
        targets = by_game(reading.values, explicand.count)
        wide = targets.to(accumulator_dtype(targets.dtype))
        losses = (wide[:, -1:] - wide[:, :-1]).split([w.count for w in windows], 1)
        values = tuple(
            w.average(loss.to(_dtype(end, loss)).to(end.device))
            for w, loss, end in zip(windows, losses, ends, strict=True)
        )
        return Attribution(values, output=targets[:, -1])

    def rows(self, explicand: Explicand) -> int:
        """One for each window, and one for the input; at a site, as if it were the inputs."""
        try:
            each = sum(w.count for w in self._windows(explicand, explicand.inputs))
        except InvalidArgument:
            if explicand.at == INPUT:
                raise
            # They may fit what is at the site, whose size only the model knows.
            each = sum(t[0].numel() for t in explicand.inputs)
        return endpoint_rows(explicand) + explicand.count * (each + 1)

    def _windows(self, explicand: Explicand, tensors: tuple[Tensor, ...]) -> tuple[Windows, ...]:
        shapes = [tuple(t.shape[1:]) for t in tensors]
        for i in range(len(tensors)):
            check_elements(explicand, tensors, i)
        if self.sliding_window_shapes is None:
            sizes = [_default_window(shape) for shape in shapes]
            strides = [tuple(ceil(n / 2) for n in size) for size in sizes]
        else:
            sizes = _split("sliding_window_shapes", self.sliding_window_shapes, shapes)
            strides = [(1,) * len(shape) for shape in shapes]
        if self.strides is not None:
            given = self.strides
            if len(given) == 1:
                given *= sum(map(len, shapes))
            strides = _split("strides", given, shapes)
        _check("sliding_window_shapes", sizes, shapes, "the input's length")
        _check("strides", strides, sizes, "the window's length")
        return tuple(map(Windows, shapes, sizes, strides))


def _default_window(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) < 3:
        return (1,) * len(shape)
    return (shape[0], *(ceil(n / 8) for n in shape[1:]))


def _split(
    name: str, numbers: tuple[int, ...], shapes: list[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """Splits the numbers among the tensors, one for each dimension."""
    if len(numbers) != sum(map(len, shapes)):
        raise InvalidArgument(
            name,
            numbers,
            f"one number for each dimension of {' and '.join(map(str, shapes))}",
        )
    parts = []
    at = 0
    for shape in shapes:
        parts.append(numbers[at : at + len(shape)])
        at += len(shape)
    return parts


def _check(
    name: str, numbers: list[tuple[int, ...]], limits: list[tuple[int, ...]], limit: str
) -> None:
    for given, most in zip(numbers, limits, strict=True):
        if any(not 1 <= n <= m for n, m in zip(given, most, strict=True)):
            raise InvalidArgument(name, given, f"from 1 to {limit} in each dimension, {most}")


def _dtype(end: Tensor, loss: Tensor) -> torch.dtype:
    return accumulator_dtype(end.dtype) if end.is_floating_point() else loss.dtype

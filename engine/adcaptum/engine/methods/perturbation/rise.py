"""RISE: the mean of the target while an element is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.games.coalitions import Enumerated
from adcaptum.engine.games.features import Features
from adcaptum.engine.games.game import Game, by_game, exact
from adcaptum.engine.methods.perturbation.random_masks import Masks, is_image, masks_over
from adcaptum.engine.methods.perturbation.randomly_masked_rows import RandomlyMasked
from adcaptum.engine.methods.perturbation.shown_means import REPLICATES, ShownMeans
from adcaptum.engine.rows.moments import RunningMoments, largest, rounds
from adcaptum.engine.rows.reduce import accumulator_dtype, widened
from adcaptum.engine.sampling.adaptive import MOST_ROWS, sampled, usual_samples
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.endpoints import endpoint_rows, endpoints
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask, example_by_example, report, target_at_inputs
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter
from adcaptum.engine.vocabulary.pauses import Pauses

_FIRST_ROUND = 64
_FIRST_PAIRS = 2
_MOST_ELEMENTS = 1 << 21
_MOST_ENUMERATED = 16
# For each element of a mask: drawn, enlarged and squared at the speed of memory.
_MASK_MULTIPLY_ADDS = 100


@dataclass(frozen=True, slots=True)
class Rise:
    """The target averaged over random masks of the input, weighted by the share that is shown.

    Petsiuk, Das, Saenko (2018), https://arxiv.org/abs/1806.07421, equation 6. Images, of three
    dimensions or more without their examples, are seen through enlarged and shifted random grids,
    all their channels through the same. Of other inputs each element, or each feature of a feature
    mask, is shown or not, which the paper does not have. What is hidden is at the baseline. The
    mean over the masks estimates the values, and their spread its standard error. With a tolerance
    masks come in antithetic pairs with a control variate; of few features all masks are evaluated
    where that takes no more rows.
    """

    traits: ClassVar[Traits] = Traits(
        name="rise",
        paper="https://arxiv.org/abs/1806.07421",
        baseline=True,
        random=True,
        feature_masks=True,
        tolerance=True,
        held=4.0,
        held_to_tolerance=4.0,
    )

    n_samples: int = parameter(1000, "Masks of each example.", minimum=1, maximum=1_000_000)
    cells: int = parameter(
        7, "Cells of the grid in each direction; an image's pixels at most.", minimum=1, maximum=256
    )
    share: float = parameter(
        0.5, "The probability of a cell, or feature, to be shown.", minimum=0.01, maximum=0.99
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Computes the attributions; reports after each round of masks.

        The output is the target at the input.
        """
        if explicand.tolerance is not None:
            return (yield from example_by_example(self._to_tolerance, explicand))
        if explicand.own_masks:
            # Examples with features of their own cannot share masks.
            return (yield from example_by_example(self._averaged, explicand))
        return (yield from self._averaged(explicand))

    def _averaged(self, explicand: Explicand) -> Flow[Attribution]:
        """Evaluates the number of masks asked for, the same masks for every example."""
        ends, starts = yield from endpoints(explicand)
        output: Tensor | None = None
        if explicand.with_error:
            outputs = yield from target_at_inputs(explicand, gradient=False)
            output = by_game(outputs, explicand.count)[:, 0]
        masks = masks_over(explicand, ends, self.cells, self.share)
        moments = RunningMoments()
        answer: Attribution | None = None
        for size in rounds(self.n_samples, _FIRST_ROUND):
            rows = RandomlyMasked(ends, starts, masks, moments.count, size)
            reading = yield from ask(explicand.evaluation(rows))
            (targets,) = widened((by_game(reading.values, explicand.count),))
            yield from self._add(moments, targets, rows)
            errors = _spread(moments.standard_errors, ends)
            answer = Attribution(
                _spread(moments.mean, ends),
                output=output,
                standard_error=largest(errors),
                standard_errors=errors,
            )
            yield from report(answer)
        assert answer is not None, "there is at least one mask"
        return answer

    def _to_tolerance(self, explicand: Explicand) -> Flow[Attribution]:
        """Samples until the tolerance is met, for one example."""
        assert explicand.tolerance is not None, "a tolerance is set"
        ends, starts = yield from endpoints(explicand)
        output: Tensor | None = None
        if explicand.with_error:
            output = by_game((yield from target_at_inputs(explicand, gradient=False)), 1)[:, 0]
        masks = masks_over(explicand, ends, self.cells, self.share, antithetic=True)
        shown = ShownMeans(self.share)
        features = _few(explicand, ends)

        def draw(size: int) -> Flow[tuple[Attribution, Tensor]]:
            """Draws pairs of masks for each replicate, or enumerates all masks."""
            if features is not None and 2 * REPLICATES * size >= 1 << features.count:
                answer = yield from self._exactly(Game(explicand, ends, starts, features), output)
                return answer, torch.zeros_like(answer.values[0].flatten(1)[:, 0])
            rows = RandomlyMasked(ends, starts, masks, shown.masks, 2 * REPLICATES * size)
            reading = yield from ask(explicand.evaluation(rows))
            (targets,) = widened((by_game(reading.values, 1),))
            shown.add(targets, rows)
            answer, wrong = shown.answer(output)
            errors = _spread(answer.standard_errors, ends)
            return replace(
                answer, values=_spread(answer.values, ends), standard_errors=errors
            ), wrong

        most = MOST_ROWS // (2 * REPLICATES)
        return (yield from sampled(draw, explicand.tolerance, first=_FIRST_PAIRS, most=most))

    def rows(self, explicand: Explicand) -> int:
        """The masks of each example, its output, and at a site its values there.

        With a tolerance, as many as it usually takes.
        """
        each = self.n_samples + explicand.with_error
        if explicand.tolerance is not None:
            least = 2 * REPLICATES * _FIRST_PAIRS
            each = usual_samples(explicand.tolerance, least=least) + explicand.with_error
        return endpoint_rows(explicand) + explicand.count * each

    def _exactly(self, played: Game, output: Tensor | None) -> Flow[Attribution]:
        """The mean over all masks, weighted by their probability: its error is zero."""
        features = played.features.count
        targets = yield from played.targets(Enumerated(features))
        members = Enumerated(features).take(0, 1 << features, torch.device("cpu")).double()
        sizes = members.sum(1)
        chances = self.share**sizes * (1 - self.share) ** (features - sizes)
        values = (exact(targets) * chances) @ members / self.share
        errors = torch.zeros_like(values)
        answer = played.attribution(values, targets[:, -1], standard_errors=errors)
        return replace(answer, output=output)

    def multiply_adds(self, explicand: Explicand) -> float:
        """The multiply-adds of the sums over the masks, which are drawn again for them."""
        samples = self.n_samples
        if explicand.tolerance is not None:
            least = 2 * REPLICATES * _FIRST_PAIRS
            samples = explicand.count * usual_samples(explicand.tolerance, least=least)
        elements = sum(t[0].numel() for t in explicand.inputs)
        return samples * elements * (_MASK_MULTIPLY_ADDS + 2.0 * explicand.count)

    def _add(self, moments: RunningMoments, targets: Tensor, rows: RandomlyMasked) -> Flow[None]:
        """Adds the targets of a round's masks, (games, samples)."""
        elements = max(prod(t.shape[1:]) for t in rows.ends)
        step = max(1, _MOST_ELEMENTS // elements)
        pauses = Pauses()
        for at in range(0, rows.samples, step):
            some = targets[:, at : at + step]
            yield from pauses.before(
                some.shape[1] * elements * (_MASK_MULTIPLY_ADDS + 2 * len(some))
            )
            found = [
                self._moments(some.to(end.device), masks, rows.first + at, end)
                for end, masks in zip(rows.ends, rows.masks, strict=True)
            ]
            moments.merge(some.shape[1], *map(tuple, zip(*found, strict=True)))

    def _moments(
        self, targets: Tensor, masks: Masks, first: int, end: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and variance, over some masks, of target * shown / share for each element."""
        count = targets.shape[1]
        if end.is_floating_point():
            targets = targets.to(accumulator_dtype(end.dtype))
        shown = masks.take(first, first + count, end.device).to(targets.dtype) / self.share
        flat = shown.flatten(1)
        mean = targets @ flat / count
        squares = targets.square() @ flat.square() - count * mean.square()
        variance = squares.clamp_min(0) / max(count - 1, 1)
        shape = (len(targets), *shown.shape[1:])
        return mean.view(shape), variance.view(shape)


def _few(explicand: Explicand, ends: tuple[Tensor, ...]) -> Features | None:
    """The features that are shown or hidden, if they are few enough to enumerate all masks."""
    if explicand.feature_mask is None and any(map(is_image, ends)):
        return None
    features = Features.of(explicand, ends)
    return features if features.count <= _MOST_ENUMERATED else None


def _spread(of_masks: Sequence[Tensor], ends: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Spreads numbers of masks over the elements: the same for all channels of an image."""
    return tuple(
        t.expand(len(t), *end.shape[1:]).contiguous() for t, end in zip(of_masks, ends, strict=True)
    )

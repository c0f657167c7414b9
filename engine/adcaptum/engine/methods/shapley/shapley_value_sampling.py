"""Shapley values from random permutations of the features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.games.coalitions import Listed, Prefixes
from adcaptum.engine.games.features import feature_count
from adcaptum.engine.games.game import exact, game, game_rows, usual_game_rows
from adcaptum.engine.rows.moments import RunningMoments, rounds
from adcaptum.engine.rows.randomness import generator
from adcaptum.engine.sampling.adaptive import report_part
from adcaptum.engine.sampling.replicates import Replicates
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, example_by_example, gather, report
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter

_STREAM = 20
_FIRST_ROWS = 128
_MOST_NUMBERS = 1 << 22
# With a tolerance.
_REPLICATES = 8


@dataclass(frozen=True, slots=True)
class ShapleyValueSampling:
    """The gain of the target by a feature, averaged over random orders of joining.

    Castro, Gomez, Tejada (2009), https://doi.org/10.1016/j.cor.2008.04.004, in antithetic pairs,
    each order with its reverse: Mitchell et al. (2022), https://arxiv.org/abs/2104.12199, section
    4. The estimate is unbiased, its standard error is that of the pairs, and the values of the
    features sum to the output less the output at the baseline, whatever the number of orders.
    Where every coalition can be evaluated with no more rows, the values are exact. With a
    background set a coalition's worth is the mean over its rows, and the standard errors are those
    of the orders alone. Each element has the value of its feature.

    Standard errors from few pairs are themselves uncertain: twice the error covers 88 % of five
    pairs, 95 % of many (Student's t).
    """

    traits: ClassVar[Traits] = Traits(
        name="shapley_value_sampling",
        paper="https://arxiv.org/abs/2104.12199",
        baseline=True,
        random=True,
        feature_masks=True,
        background=True,
        tolerance=True,
        held=2.0,
        held_to_tolerance=2.0,
    )

    n_samples: int = parameter(
        25,
        "Orders of the features; they come in pairs, an odd number is rounded up.",
        minimum=1,
        maximum=1_000_000,
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Computes the attributions; reports after each round of orders."""
        if explicand.tolerance is not None:
            return (yield from example_by_example(self._to_tolerance, explicand))
        played = yield from game(explicand)
        features = played.features.count
        if self._enumerates(features):
            return (yield from played.exactly())
        moments = RunningMoments()
        ends: Tensor | None = None
        answer: Attribution | None = None
        games = explicand.count * explicand.background_rows
        for pairs in self._rounds(games, features):
            ranks = _ranks(explicand.seed, moments.count, pairs, features)
            asked = [played.targets(Prefixes(ranks))]
            if ends is None:
                # The worths of no feature and of all are the same for every order: evaluated once.
                asked.append(played.targets(Listed(torch.eye(2)[:, :1].bool().expand(2, features))))
            targets, *first = yield from gather(asked)
            ends = first[0] if ends is None else ends
            moments.add((_gains(exact(ends), exact(targets), ranks),))
            answer = played.attribution(
                moments.mean[0], ends[:, 0], ends[:, 1], standard_errors=moments.standard_errors[0]
            )
            yield from report(answer)
        assert answer is not None, "there is at least one pair"
        return answer

    def _to_tolerance(self, explicand: Explicand) -> Flow[Attribution]:
        """Samples until the tolerance is met, for one example."""
        played = yield from game(explicand)
        features = played.features.count
        ends = yield from played.targets(Listed(torch.eye(2)[:, :1].bool().expand(2, features)))
        replicates = Replicates()
        tolerance = explicand.tolerance
        assert tolerance is not None, "a tolerance is set"

        def found() -> tuple[Attribution, Tensor]:
            return played.found(replicates.mean[0], replicates.deviations[0], ends)

        def draw(size: int) -> Flow[tuple[Attribution, Tensor]]:
            """Draws a number of pairs of orders for each replicate."""
            for index in range(size):
                if index:
                    yield from report_part(found(), tolerance)
                first = replicates.count * _REPLICATES
                ranks = _ranks(explicand.seed, first, _REPLICATES, features)
                targets = yield from played.targets(Prefixes(ranks))
                replicates.add((_gains(exact(ends), exact(targets), ranks),), 1)
            return found()

        each = 2 * _REPLICATES * max(1, features - 1)
        return (yield from played.sampled(draw, each))

    def rows(self, explicand: Explicand) -> int:
        """Each order's beginnings, the input and the baseline.

        With a tolerance, as many as it usually takes.
        """
        features = feature_count(explicand)
        if explicand.tolerance is not None:
            return usual_game_rows(explicand, 2 * _REPLICATES * max(1, features - 1))
        each = 1 << features if self._enumerates(features) else self._samples_rows(features)
        return game_rows(explicand, each - 1)

    def held_bytes(self, explicand: Explicand) -> int:
        """With a tolerance the sums of each example's replicates, and their deviations."""
        if explicand.tolerance is None:
            return 0
        return explicand.count * 3 * 8 * _REPLICATES * feature_count(explicand)

    @property
    def _pairs(self) -> int:
        return (self.n_samples + 1) // 2

    def _samples_rows(self, features: int) -> int:
        return 2 + 2 * self._pairs * (features - 1)

    def _enumerates(self, features: int) -> bool:
        return features < 40 and 1 << features <= self._samples_rows(features)

    def _rounds(self, games: int, features: int) -> Iterator[int]:
        """The sizes of the rounds in pairs: small at first, and bounded by memory."""
        most = max(1, _MOST_NUMBERS // (2 * features * games))
        first = max(2, _FIRST_ROWS // (2 * features))
        for size in rounds(self._pairs, first):
            yield from (min(most, size - at) for at in range(0, size, most))


def _ranks(seed: int, first: int, pairs: int, features: int) -> Tensor:
    """Draws orders and their reverses as each feature's place, int32 (2 * pairs, features)."""
    drawn = torch.stack(
        [
            torch.randperm(features, generator=generator(seed, _STREAM, first + i))
            for i in range(pairs)
        ]
    )
    return torch.stack([drawn, features - 1 - drawn], 1).flatten(0, 1).to(torch.int32)


def _gains(ends: Tensor, targets: Tensor, ranks: Tensor) -> Tensor:
    """The gain of each feature, averaged over an order and its reverse.

    Args:
        ends: The target with all features and with none, (examples, 2).
        targets: The target with the first features of each order, in the order of `Prefixes`.
        ranks: As given to `Prefixes`.

    Returns:
        Of shape (examples, pairs, features).
    """
    examples, (orders, features) = len(ends), ranks.shape
    full, empty = ends[:, :, None, None].expand(-1, -1, orders, 1).unbind(1)
    walks = torch.cat([empty, targets.view(examples, orders, features - 1), full], 2)
    gains = walks.diff(dim=2).gather(2, ranks.long().expand(examples, -1, -1))
    return gains.view(examples, -1, 2, features).mean(2)

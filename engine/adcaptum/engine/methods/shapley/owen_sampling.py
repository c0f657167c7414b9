"""Owen sampling: Shapley values from the multilinear extension of the game."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.games.coalitions import Listed, Toggled
from adcaptum.engine.games.features import feature_count
from adcaptum.engine.games.game import exact, game, game_rows, usual_game_rows
from adcaptum.engine.rows.moments import StratifiedMoments, rounds
from adcaptum.engine.rows.randomness import generator
from adcaptum.engine.sampling.pooled import Pooled, parts_bytes
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, example_by_example, gather, report
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter

_STREAM = 22
_FIRST_ROWS = 128
_MOST_NUMBERS = 1 << 20
# With a tolerance.
_FIRST_STRATA = 8


@dataclass(frozen=True, slots=True)
class OwenSampling:
    """The gain of the target by a feature, others present at random with every probability.

    Okhrati, Lipani (2020), https://arxiv.org/abs/2010.12082: the Shapley value of i is the integral
    over q from 0 to 1 of E[worth(S + i) - worth(S)], where each other feature is in S with
    probability q (Owen 1972, "Multilinear extensions of games"), halved: coalitions for q up to
    1/2, each with its complement. Here q is stratified and random within its stratum instead of on
    a grid, so that the estimate is unbiased, with a standard error. The completeness residual is
    spread evenly over the features, which leaves them unbiased and cannot raise the sum of their
    variances. Where every coalition can be evaluated with no more rows, the values are exact. With
    a background set a coalition's worth is the mean over its rows, and the standard errors are
    those of the coalitions alone. Each element has the value of its feature.

    Standard errors from few pairs are themselves uncertain: twice the error covers 70 % of two
    pairs, 88 % of five, 95 % of many (Student's t).
    """

    traits: ClassVar[Traits] = Traits(
        name="owen_sampling",
        paper="https://arxiv.org/abs/2010.12082",
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
        "Random coalitions, each evaluated as it is and with each feature in turn added or left "
        "out; they come in pairs, an odd number is rounded up.",
        minimum=1,
        maximum=1_000_000,
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Computes the attributions; reports after each round of coalitions."""
        if explicand.tolerance is not None:
            return (yield from example_by_example(self._to_tolerance, explicand))
        played = yield from game(explicand)
        features = played.features.count
        if self._enumerates(features):
            return (yield from played.exactly())
        moments = StratifiedMoments()
        ends: Tensor | None = None
        answer: Attribution | None = None
        for pairs in self._rounds(features, explicand.background_rows):
            # Two pairs tell a stratum's variance; an odd one joins the last.
            strata = (torch.arange(pairs) // 2).clamp_max(max(pairs // 2 - 1, 0))
            members = _draw(explicand.seed, moments.count, strata, features)
            asked = [played.targets(Toggled(members))]
            if ends is None:
                # The worths of no feature and of all are evaluated once.
                asked.append(played.targets(Listed(torch.eye(2)[:, :1].bool().expand(2, features))))
            targets, *first = yield from gather(asked)
            ends = first[0] if ends is None else ends
            moments.add(_gains(exact(targets), members, exact(ends)), strata)
            answer = played.attribution(
                moments.mean, ends[:, 0], ends[:, 1], standard_errors=moments.standard_errors
            )
            yield from report(answer)
        assert answer is not None, "there is at least one pair"
        return answer

    def _to_tolerance(self, explicand: Explicand) -> Flow[Attribution]:
        """Samples until the tolerance is met, for one example."""
        played = yield from game(explicand)
        features = played.features.count
        ends = yield from played.targets(Listed(torch.eye(2)[:, :1].bool().expand(2, features)))
        pooled = Pooled()

        def draw(size: int) -> Flow[tuple[Attribution, Tensor]]:
            """Draws a sample of some strata, two pairs in each."""
            strata = torch.arange(2 * size) // 2
            members = _draw(explicand.seed, 2 * pooled.samples, strata, features)
            targets = yield from played.targets(Toggled(members))
            gains = _gains(exact(targets), members, exact(ends))
            # The difference of the two estimates the error of each stratum's mean.
            one, other = gains.unflatten(1, (size, 2)).unbind(2)
            off = (one - other) / (2 * size)
            parts = pooled.flips(size) @ off
            pooled.add(size, gains.mean(1), off.square().sum(1).sqrt(), parts)
            return played.found(
                pooled.values, pooled.parts, ends, errors=pooled.errors, freedom=pooled.samples
            )

        each = 4 * (features + 1)
        return (yield from played.sampled(draw, each, _FIRST_STRATA))

    def rows(self, explicand: Explicand) -> int:
        """The coalitions, each with every feature toggled, the input and the baseline.

        With a tolerance, as many as it usually takes.
        """
        features = feature_count(explicand)
        if explicand.tolerance is not None:
            return usual_game_rows(explicand, 2 * _FIRST_STRATA * (features + 1))
        each = 1 << features if self._enumerates(features) else self._samples_rows(features)
        return game_rows(explicand, each - 1)

    def held_bytes(self, explicand: Explicand) -> int:
        """With a tolerance the parts of each example's errors."""
        if explicand.tolerance is None:
            return 0
        return explicand.count * parts_bytes(feature_count(explicand))

    @property
    def _pairs(self) -> int:
        return (self.n_samples + 1) // 2

    def _samples_rows(self, features: int) -> int:
        return 2 + 2 * self._pairs * (features + 1)

    def _enumerates(self, features: int) -> bool:
        return features < 40 and 1 << features <= self._samples_rows(features)

    def _rounds(self, features: int, background: int) -> Iterator[int]:
        """The sizes of the rounds in pairs: small at first, and bounded by memory."""
        # Independent of the number of examples: the strata of a round decide its draws.
        most = 2 * max(1, _MOST_NUMBERS // (4 * (features + 1) * background))
        for size in rounds(self._pairs, max(4, _FIRST_ROWS // (2 * features))):
            yield from (min(most, size - at) for at in range(0, size, most))


def _draw(seed: int, first: int, strata: Tensor, features: int) -> Tensor:
    """Draws a coalition in each stratum, and its complement: bool (2 * pairs, features).

    Stratum k of n holds q from k / 2n to (k + 1) / 2n; with the complements they cover 0 to 1.
    """
    drawn = torch.stack(
        [
            torch.rand(
                features + 1,
                generator=generator(seed, _STREAM, first + i),
                dtype=torch.float64,
            )
            for i in range(len(strata))
        ]
    )
    chances = (strata + drawn[:, 0]) / (2 * (int(strata[-1]) + 1))
    members = drawn[:, 1:] < chances[:, None]
    return torch.stack([members, ~members], 1).flatten(0, 1)


def _gains(targets: Tensor, members: Tensor, ends: Tensor) -> Tensor:
    """The gain of each feature, averaged over a coalition and its complement.

    Args:
        targets: The target with each coalition, in the order of `Toggled`, (games, coalitions).
        members: As given to `Toggled`.
        ends: The target with all features and with none, (games, 2).

    Returns:
        Of shape (games, pairs, features); over the features they sum to what they should.
    """
    games, (coalitions, features) = len(targets), members.shape
    worths = targets.view(games, coalitions, features + 1)
    losses = worths[:, :, :1] - worths[:, :, 1:]
    gains = torch.where(members, losses, -losses).view(games, -1, 2, features).mean(2)
    gap = (ends[:, 0] - ends[:, 1])[:, None, None]
    return gains + (gap - gains.sum(2, keepdim=True)) / features

"""Shapley values from a regression on pairs of coalitions: the base of its methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.games.coalitions import Listed
from adcaptum.engine.games.features import feature_count
from adcaptum.engine.games.game import exact, game, game_rows, usual_game_rows
from adcaptum.engine.methods.shapley.known_pairs import KnownPairs
from adcaptum.engine.methods.shapley.pair_plan import (
    plan,
    plan_bytes,
    plan_multiply_adds,
    sample_bytes,
    solvable,
    too_few,
)
from adcaptum.engine.methods.shapley.strata import Sampling
from adcaptum.engine.rows.randomness import address
from adcaptum.engine.sampling.pooled import Pooled, parts_bytes
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, example_by_example, report
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter

# A regression of that many features takes a quarter of a second by default: two products in float64
# of pairs x features x features.
_MOST_FEATURES = 1024
# The most pairs x features of a sample: its solver takes a gigabyte.
_MOST_NUMBERS = 1 << 25
_FIRST_TO_TOLERANCE = 64
_STREAM = 35
# Of a pair that is remembered.
_PAIR_BYTES = 96


@dataclass(frozen=True, slots=True)
class PairRegression:
    """A regression of the target on pairs of coalitions.

    Attributes:
        traits: The facts about the method.
        sampling: The way it draws coalitions.
    """

    traits: ClassVar[Traits]
    sampling: ClassVar[Sampling]

    n_samples: int | None = parameter(
        None,
        "Coalitions to evaluate, beside that of all features and that of none; at least four for "
        "each feature, or all there are. Default: two for each feature and 2048.",
        minimum=1,
        maximum=10_000_000,
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Computes the attributions; reports after each round of coalitions.

        Raises:
            InvalidArgument: If there are more than 1024 features, or too few or too many samples
                for them.
        """
        if explicand.feature_mask is not None:
            self._pairs(feature_count(explicand))
        if explicand.tolerance is not None:
            return (yield from example_by_example(self._to_tolerance, explicand))
        played = yield from game(explicand)
        features = played.features.count
        pairs = self._pairs(features)
        if features == 1:
            return (yield from played.exactly())
        halves: list[Tensor] = []
        ends: Tensor | None = None
        answer: Attribution | None = None
        steps = yield from plan(features, pairs, explicand.seed, self.sampling)
        for step in steps:
            targets = yield from played.targets(Listed(step.coalitions))
            ends = targets[:, :2] if ends is None else ends
            members, complements = exact(targets[:, -2 * step.pairs :]).chunk(2, 1)
            halves.append((members - complements) / 2)
            if step.surrogate is None:
                continue
            gap = exact(ends[:, 1]) - exact(ends[:, 0])
            values, errors = step.surrogate.fit(torch.cat(halves, 1), gap)
            answer = played.attribution(values, ends[:, 1], ends[:, 0], standard_errors=errors)
            yield from report(answer)
        assert answer is not None, "the last step has a surrogate"
        return answer

    def _to_tolerance(self, explicand: Explicand) -> Flow[Attribution]:
        """Samples until the tolerance is met, for one example.

        Every round is a sample and a regression of its own; their values are averaged. No pair is
        evaluated twice.
        """
        played = yield from game(explicand)
        features = played.features.count
        self._pairs(features)
        if features == 1:
            return (yield from played.exactly())
        ends = yield from played.targets(Listed(torch.eye(2)[:, :1].bool().expand(2, features)))
        gap = exact(ends[:, 0]) - exact(ends[:, 1])
        pooled, known = Pooled(), KnownPairs(played)

        def draw(size: int) -> Flow[tuple[Attribution, Tensor]]:
            """Draws a number of pairs."""
            wanted = pooled.samples + size
            while pooled.samples < wanted:
                pairs = min(wanted - pooled.samples, _MOST_NUMBERS // features)
                seed = address(explicand.seed, _STREAM, pooled.rounds)
                members, surrogate = yield from solvable(
                    features, max(pairs, 2 * features), seed, self.sampling
                )
                halves = yield from known.halves(members)
                values, errors = surrogate.fit(halves, gap)
                parts = surrogate.parts(halves, gap, pooled.flips(len(members)))
                pooled.add(len(members), values, errors, parts)
            freedom = pooled.samples - pooled.rounds * (features - 1)
            return played.found(
                pooled.values, pooled.parts, ends, errors=pooled.errors, freedom=freedom
            )

        return (yield from played.sampled(draw, 2, max(_FIRST_TO_TOLERANCE, 2 * features)))

    def rows(self, explicand: Explicand) -> int:
        """The samples, the input and the baseline; with a tolerance, as many as it usually takes.

        Raises:
            InvalidArgument: If there are more than 1024 features, or too few or too many samples
                for them.
        """
        if explicand.tolerance is not None:
            features = feature_count(explicand)
            return usual_game_rows(explicand, 2 * max(_FIRST_TO_TOLERANCE, 2 * features))
        return game_rows(explicand, 2 * self._pairs(feature_count(explicand)) + 1)

    def multiply_adds(self, explicand: Explicand) -> float:
        """The multiply-adds of the plan, which all examples share, and of each solution."""
        features = feature_count(explicand)
        if explicand.tolerance is None:
            pairs = self._pairs(features)
            return plan_multiply_adds(features, pairs) + 8.0 * explicand.count * pairs * features
        pairs = self.rows(explicand) // (2 * explicand.count * explicand.background_rows)
        return explicand.count * plan_multiply_adds(features, pairs)

    def held_bytes(self, explicand: Explicand) -> int:
        """The plan; with a tolerance each example's sample, and the parts of its errors."""
        features = feature_count(explicand)
        if explicand.tolerance is None:
            return plan_bytes(features, self._pairs(features))
        pairs = self.rows(explicand) // (2 * explicand.count * explicand.background_rows)
        each = sample_bytes(features, max(pairs, 2 * features)) + parts_bytes(features)
        return explicand.count * (each + _PAIR_BYTES * pairs)

    def _pairs(self, features: int) -> int:
        """The number of pairs to evaluate."""
        if features > _MOST_FEATURES:
            raise InvalidArgument(
                "feature_mask",
                f"{features} features",
                f"at most {_MOST_FEATURES} for {self.traits.name}: group elements into fewer "
                "features, or take shapley_value_sampling",
            )
        # Beyond 40 features not all pairs can be evaluated.
        every = (1 << (features - 1)) - 1 if features <= 40 else 1 << 40
        if self.n_samples is None:
            return min(features + 1024, every)
        # Fewer do not determine the values, or leave too few residuals to estimate the error.
        if self.n_samples // 2 < min(2 * features, every):
            raise too_few(self.n_samples, features)
        pairs = min(self.n_samples // 2, every)
        if pairs * features > _MOST_NUMBERS:
            raise InvalidArgument(
                "n_samples",
                self.n_samples,
                f"at most {2 * (_MOST_NUMBERS // features)} with {features} features",
            )
        return pairs

"""Shapley values from a regression on pairs of coalitions: what its methods have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.games.coalitions import Listed
from adcaptum.engine.games.features import feature_count
from adcaptum.engine.games.game import exact, game, game_rows, usual_game_rows
from adcaptum.engine.methods.shapley.additive_surrogate import Surrogate
from adcaptum.engine.methods.shapley.known_pairs import KnownPairs
from adcaptum.engine.methods.shapley.strata import PairedSample, Sampling
from adcaptum.engine.rows.moments import rounds
from adcaptum.engine.rows.randomness import address
from adcaptum.engine.sampling.pooled import Pooled
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, example_by_example, report

_FIRST_PAIRS = 128
# At this many the regression takes 0.25 s of one core at its peak: two products in float64 of pairs
# x features x features, without which there are neither the values nor their errors.
_MOST_FEATURES = 1024
# Up to about 350 features: requests with the same seed, which is the default, share a plan.
_CACHED_NUMBERS = 1 << 19
_FIRST_TO_TOLERANCE = 64
_STREAM = 35

SAMPLES_TEXT = (
    "Coalitions to evaluate, beside that of all features and that of none; at least four for "
    "each feature, or all there are. Default: two for each feature and 2048."
)


@dataclass(frozen=True, slots=True)
class Regression:
    """The regression of one method.

    Attributes:
        name: The method's name.
        sampling: How it draws coalitions.
        n_samples: How many; None: two for each feature and 2048.
    """

    name: str
    sampling: Sampling
    n_samples: int | None

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains; reports after each round of coalitions.

        Raises:
            InvalidArgument: If there are more than 1024 features, or too few samples for them.
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
        for step in plan(features, pairs, explicand.seed, self.sampling):
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
        """Goes on until the tolerance is met, for one example.

        Every round is a sample and a regression of its own; what they say is averaged. What one has
        evaluated the others need not.
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
            """Draws so many pairs."""
            seed = address(explicand.seed, _STREAM, pooled.rounds)
            members, surrogate = solvable(features, max(size, 2 * features), seed, self.sampling)
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
            InvalidArgument: If there are more than 1024 features, or too few samples for them.
        """
        if explicand.tolerance is not None:
            features = feature_count(explicand)
            return usual_game_rows(explicand, 2 * max(_FIRST_TO_TOLERANCE, 2 * features))
        return game_rows(explicand, 2 * self._pairs(feature_count(explicand)) + 1)

    def _pairs(self, features: int) -> int:
        """How many coalitions to evaluate with their complements."""
        if features > _MOST_FEATURES:
            raise InvalidArgument(
                "feature_mask",
                f"{features} features",
                f"at most {_MOST_FEATURES} for {self.name}: group elements into fewer features, or "
                "take shapley_value_sampling",
            )
        # Beyond 40 features nobody evaluates all.
        every = (1 << (features - 1)) - 1 if features <= 40 else 1 << 40
        if self.n_samples is None:
            return min(features + 1024, every)
        # Fewer leave too few residuals to tell the error from, or do not determine the values.
        if self.n_samples // 2 < min(2 * features, every):
            raise _too_few(self.n_samples, features)
        return min(self.n_samples // 2, every)


def _solvable(features: int, pairs: int, seed: int, sampling: Sampling) -> tuple[Tensor, Surrogate]:
    """Draws a sample that determines the values, of so many pairs or of more."""
    sample = PairedSample.draw(features, pairs, seed, sampling)
    surrogate = Surrogate.of(sample)
    if surrogate is None:
        return _solvable(features, 2 * pairs, seed, sampling)
    return sample.members, surrogate


_shared = lru_cache(maxsize=16)(_solvable)


def solvable(features: int, pairs: int, seed: int, sampling: Sampling) -> tuple[Tensor, Surrogate]:
    """Draws a sample that determines the values; requests with the same seed share small ones."""
    small = features * pairs <= _CACHED_NUMBERS // 8
    return (_shared if small else _solvable)(features, pairs, seed, sampling)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One round of coalitions.

    Attributes:
        coalitions: In the first step those of none and of all; then one of each pair; then their
            complements. bool of shape (coalitions, features).
        pairs: How many pairs there are among them.
        surrogate: What solves for the values from all steps so far; None if they do not suffice.
    """

    coalitions: Tensor
    pairs: int
    surrogate: Surrogate | None


def plan(features: int, pairs: int, seed: int, sampling: Sampling) -> tuple[Step, ...]:
    """Plans rounds that grow, so that a first answer comes early.

    Raises:
        InvalidArgument: If the pairs that the seed gives do not determine the values.
    """
    if features * pairs <= _CACHED_NUMBERS:
        return _remembered(features, pairs, seed, sampling)
    return _plan(features, pairs, seed, sampling)


def _plan(features: int, pairs: int, seed: int, sampling: Sampling) -> tuple[Step, ...]:
    sample = PairedSample.draw(features, pairs, seed, sampling)
    ends = list(accumulate(rounds(pairs, max(2 * features, _FIRST_PAIRS)), initial=0))
    steps = []
    for start, stop in pairwise(ends):
        members = sample.members[start:stop]
        coalitions = torch.cat([members, ~members])
        if start == 0:
            none = torch.zeros(1, features, dtype=torch.bool)
            coalitions = torch.cat([none, ~none, coalitions])
        steps.append(Step(coalitions, stop - start, Surrogate.of(sample.first(stop))))
    if steps[-1].surrogate is None:
        raise _too_few(2 * pairs, features)
    return tuple(steps)


_remembered = lru_cache(maxsize=16)(_plan)


def _too_few(samples: int, features: int) -> InvalidArgument:
    return InvalidArgument(
        "n_samples",
        samples,
        f"too few for {features} features: at least {4 * features}, better "
        f"{2 * features + 2048}, or group elements into fewer features",
    )

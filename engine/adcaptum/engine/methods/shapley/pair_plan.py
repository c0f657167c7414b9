"""Plans of a regression on pairs of coalitions: the rounds of pairs, and the solvers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.methods.shapley.additive_surrogate import Surrogate
from adcaptum.engine.methods.shapley.strata import PairedSample, Sampling
from adcaptum.engine.rows.moments import rounds
from adcaptum.engine.vocabulary.flow import Flow, computed
from adcaptum.engine.vocabulary.pauses import Pauses

_FIRST_PAIRS = 128
# Plans of up to about 110 features (by default) are kept: requests with the same seed, which is the
# default, share one. A plan takes 5 MB at most.
_CACHED_NUMBERS = 1 << 17
_CACHED_PLANS = 8
# Of each pair and feature: an equation and a solution in float64.
_SOLVER_BYTES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One round of coalitions.

    Attributes:
        coalitions: In the first step those of none and of all; then one of each pair; then their
            complements. bool of shape (coalitions, features).
        pairs: The number of pairs among them.
        surrogate: The solver for the pairs of all steps so far; None if they do not suffice.
    """

    coalitions: Tensor
    pairs: int
    surrogate: Surrogate | None


def plan(features: int, pairs: int, seed: int, sampling: Sampling) -> Flow[tuple[Step, ...]]:
    """Plans rounds that grow, so that a first answer comes early.

    Raises:
        InvalidArgument: If the pairs that the seed gives do not determine the values.
    """
    if features * pairs <= _CACHED_NUMBERS:
        return _remembered_plan(features, pairs, seed, sampling)
    return (yield from _plan(features, pairs, seed, sampling))


def plan_multiply_adds(features: int, pairs: int) -> float:
    """Estimates the multiply-adds of a plan."""
    made = sum(stop for stop in accumulate(_sizes(features, pairs)))
    # Two products for each round; the draws.
    return 2.0 * made * features**2 + 40.0 * pairs * features


def plan_bytes(features: int, pairs: int) -> int:
    """Estimates the memory of a plan of its own; one that is kept belongs to no request."""
    if features * pairs <= _CACHED_NUMBERS:
        return 0
    return features * (_SOLVER_BYTES * sum(accumulate(_sizes(features, pairs))) + 3 * pairs)


def sample_bytes(features: int, pairs: int) -> int:
    """Estimates the memory of a sample."""
    return (_SOLVER_BYTES + 1) * features * pairs


def solvable(
    features: int, pairs: int, seed: int, sampling: Sampling
) -> Flow[tuple[Tensor, Surrogate]]:
    """Draws a sample that determines the values, of at least a number of pairs.

    Requests with the same seed share small ones.
    """
    if features * pairs <= _CACHED_NUMBERS // 8:
        return _remembered_sample(features, pairs, seed, sampling)
    return (yield from _solvable(features, pairs, seed, sampling))


def too_few(samples: int, features: int) -> InvalidArgument:
    """The error of samples that do not determine the values."""
    return InvalidArgument(
        "n_samples",
        samples,
        f"too few for {features} features: at least {4 * features}, better "
        f"{2 * features + 2048}, or group elements into fewer features",
    )


def _sizes(features: int, pairs: int) -> list[int]:
    """The number of pairs of each round."""
    return rounds(pairs, max(2 * features, _FIRST_PAIRS))


def _plan(features: int, pairs: int, seed: int, sampling: Sampling) -> Flow[tuple[Step, ...]]:
    pauses = Pauses()
    sample = PairedSample.draw(features, pairs, seed, sampling)
    ends = accumulate(_sizes(features, pairs), initial=0)
    steps: list[Step] = []
    for start, stop in pairwise(ends):
        members = sample.members[start:stop]
        coalitions = torch.cat([members, ~members])
        if start == 0:
            none = torch.zeros(1, features, dtype=torch.bool)
            coalitions = torch.cat([none, ~none, coalitions])
        surrogate = yield from Surrogate.of(sample.first(stop), pauses)
        steps += (Step(coalitions, stop - start, surrogate),)
    if steps[-1].surrogate is None:
        raise too_few(2 * pairs, features)
    return tuple(steps)


def _solvable(
    features: int, pairs: int, seed: int, sampling: Sampling
) -> Flow[tuple[Tensor, Surrogate]]:
    sample = PairedSample.draw(features, pairs, seed, sampling)
    surrogate = yield from Surrogate.of(sample, Pauses())
    if surrogate is None:
        return (yield from _solvable(features, 2 * pairs, seed, sampling))
    return sample.members, surrogate


@lru_cache(maxsize=_CACHED_PLANS)
def _remembered_plan(features: int, pairs: int, seed: int, sampling: Sampling) -> tuple[Step, ...]:
    return computed(_plan(features, pairs, seed, sampling))


@lru_cache(maxsize=2 * _CACHED_PLANS)
def _remembered_sample(
    features: int, pairs: int, seed: int, sampling: Sampling
) -> tuple[Tensor, Surrogate]:
    return computed(_solvable(features, pairs, seed, sampling))

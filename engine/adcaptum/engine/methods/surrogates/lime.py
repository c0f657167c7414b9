"""LIME: the coefficients of a linear surrogate, fitted near the example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Literal

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.games.coalitions import Enumerated, Listed
from adcaptum.engine.games.features import feature_count
from adcaptum.engine.games.game import Game, exact, game
from adcaptum.engine.methods.surrogates.bernoulli import Bernoulli
from adcaptum.engine.methods.surrogates.linear_surrogate import fit, fit_multiply_adds
from adcaptum.engine.methods.surrogates.similarity import ExponentialKernel
from adcaptum.engine.rows.moments import rounds
from adcaptum.engine.sampling.adaptive import MOST_ROWS, sampled, usual_samples
from adcaptum.engine.sampling.pooled import parts_bytes
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.endpoints import endpoint_rows
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, example_by_example, gather, report
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter
from adcaptum.engine.vocabulary.pauses import PIECE_MULTIPLY_ADDS

_FIRST = 256
_FIRST_TO_TOLERANCE = 64
_MOST_ENUMERATED = 16
# The most rows x features with a tolerance.
_MOST_NUMBERS = 1 << 24
# The most rows x features of any regression, a gigabyte, and its most multiply-adds.
_MOST_NUMBERS_OF_ANY = 1 << 27
_MOST_MULTIPLY_ADDS = 1e12


@dataclass(frozen=True, slots=True)
class Lime:
    """The slopes of a linear surrogate of the target as a function of the features present.

    Ribeiro, Singh, Guestrin (2016), https://arxiv.org/abs/1602.04938, equation 2 and algorithm 1.
    Coalitions of features are drawn by coin flips, beside the input itself, and weighted by their
    similarity to the input. Where there are no more coalitions than samples, all are
    evaluated, each once: the surrogate is exact then. The penalty is relative to the outputs'
    spread, so that small outputs are explained like large ones. The standard errors are those of
    the regression on the features that the surrogate keeps. Each element has the value of its
    feature.

    With a tolerance, the surrogate of all coalitions is estimated; where they are few, all are
    evaluated as soon as that takes no more rows. A regression of more than 2^27 numbers, or of more
    than 10^12 multiply-adds, is refused.
    """

    traits: ClassVar[Traits] = Traits(
        name="lime",
        paper="https://arxiv.org/abs/1602.04938",
        baseline=True,
        random=True,
        feature_masks=True,
        tolerance=True,
        held=2.0,
        held_to_tolerance=2.0,
    )

    n_samples: int | None = parameter(
        None,
        "Coalitions to evaluate, beside that of all features. Default: four for each feature and "
        "256.",
        minimum=1,
        maximum=10_000_000,
    )
    surrogate: Literal["lasso", "ridge"] = parameter(
        "lasso",
        "The penalty on the slopes: on their sizes, which drops features, or their squares.",
    )
    alpha: float = parameter(
        0.001,
        "The weight of the penalty; for the lasso in units of the outputs' weighted standard "
        "deviation.",
        minimum=0,
    )
    distance: Literal["cosine", "euclidean"] = parameter(
        "cosine", "The distance between the input and a perturbed one."
    )
    kernel_width: float = parameter(
        1.0, "The distance at which similarity has fallen to exp(-1/2).", minimum=1e-6
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Computes the attributions; reports after each round of coalitions.

        Raises:
            InvalidArgument: If there is a background set: similarity is that to one baseline. If
                the regression would be too large.
        """
        if explicand.background_rows > 1:
            raise InvalidArgument(
                "baselines",
                f"a background set of {explicand.background_rows} rows",
                "one baseline for each example: LIME's similarity is that of two inputs",
            )
        if explicand.tolerance is not None:
            return (yield from example_by_example(self._to_tolerance, explicand))
        played = yield from game(explicand)
        features = played.features.count
        _check(features, self._samples(features))
        if self._enumerates(features):
            worths = yield from played.targets(Enumerated(features))
            return (yield from self._exact(played, worths))
        grand = torch.ones(1, features, dtype=torch.bool)
        drawn = [grand]
        targets: list[Tensor] = []
        answer: Attribution | None = None
        for size in rounds(self._samples(features), max(_FIRST, 2 * features)):
            flips = Bernoulli(features, size, explicand.seed, sum(map(len, drawn)) - 1)
            asked = [played.targets(flips)]
            if not targets:
                asked.insert(0, played.targets(Listed(grand)))
            targets += yield from gather(asked)
            drawn.append(flips.take(0, size, torch.device("cpu")))
            answer = yield from self._answer(played, torch.cat(drawn), targets)
            yield from report(answer)
        assert answer is not None, "there is at least one sample"
        return answer

    def _to_tolerance(self, explicand: Explicand) -> Flow[Attribution]:
        """Samples until the tolerance is met, for one example."""
        assert explicand.tolerance is not None, "a tolerance is set"
        played = yield from game(explicand)
        features = played.features.count
        first = _first(features)
        _check(features, first)
        every = 1 << features if features <= _MOST_ENUMERATED else None
        drawn = [torch.ones(1, features, dtype=torch.bool)]
        targets = [(yield from played.targets(Listed(drawn[0])))]

        def draw(size: int) -> Flow[tuple[Attribution, Tensor]]:
            """Draws coalitions, or enumerates all."""
            if every is not None and size >= every:
                worths = yield from played.targets(Enumerated(features))
                answer = yield from self._exact(played, worths)
                return answer, torch.zeros(len(worths), device=played.ends[0].device)
            flips = Bernoulli(features, size, explicand.seed, sum(map(len, drawn)) - 1)
            targets.append((yield from played.targets(flips)))
            drawn.append(flips.take(0, size, torch.device("cpu")))
            return (yield from self._estimate(played, torch.cat(drawn), targets))

        most = _most_to_tolerance(features)
        return (yield from sampled(draw, explicand.tolerance, first=first, most=most))

    def rows(self, explicand: Explicand) -> int:
        """The samples and the input; with a tolerance, as many as it usually takes.

        Raises:
            InvalidArgument: If the regression would be too large.
        """
        features = feature_count(explicand)
        tolerant = explicand.tolerance is not None
        _check(features, _first(features) if tolerant else self._samples(features))
        each = 1 << features if self._enumerates(features) else self._samples(features) + 1
        if explicand.tolerance is not None:
            each = usual_samples(explicand.tolerance, least=_first(features)) + 1
            if features <= _MOST_ENUMERATED:
                each = min(each, (1 << features) + 1)
        return endpoint_rows(explicand) + explicand.count * each

    def multiply_adds(self, explicand: Explicand) -> float:
        """The multiply-adds of the fits, one for each round of samples and each example."""
        features = feature_count(explicand)
        if explicand.tolerance is None:
            sizes = rounds(self._samples(features), max(_FIRST, 2 * features))
        else:
            usual = usual_samples(explicand.tolerance, least=_first(features))
            sizes = rounds(min(usual, _most_to_tolerance(features)), _first(features))
        made = sum(fit_multiply_adds(rows, features) for rows in accumulate(sizes))
        return explicand.count * made

    def held_bytes(self, explicand: Explicand) -> int:
        """The coalitions; where the fit pauses, one example's regression in float64."""
        features = feature_count(explicand)
        samples = self._samples(features)
        if explicand.tolerance is not None:
            samples = usual_samples(explicand.tolerance, least=_first(features))
            each = samples * features + parts_bytes(features)
            return explicand.count * each
        pauses = fit_multiply_adds(samples, features) > PIECE_MULTIPLY_ADDS
        return samples * features * (12 if pauses else 1)

    @property
    def kernel(self) -> ExponentialKernel:
        """The kernel that weights samples."""
        return ExponentialKernel(self.distance, self.kernel_width)

    def _enumerates(self, features: int) -> bool:
        return features < 40 and 1 << features <= self._samples(features)

    def _samples(self, features: int) -> int:
        return 4 * features + 256 if self.n_samples is None else self.n_samples

    def _answer(
        self, played: Game, coalitions: Tensor, targets: Sequence[Tensor]
    ) -> Flow[Attribution]:
        weights, outputs = self._regression(played, coalitions, targets)
        found = yield from fit(self.surrogate, self.alpha, coalitions, weights, outputs)
        return played.attribution(found.values, targets[0][:, 0], standard_errors=found.errors)

    def _estimate(
        self, played: Game, coalitions: Tensor, targets: Sequence[Tensor]
    ) -> Flow[tuple[Attribution, Tensor]]:
        """The surrogate, and a bound on the sum of its errors, (games,)."""
        weights, outputs = self._regression(played, coalitions, targets)
        found = yield from fit(
            self.surrogate, self.alpha, coalitions, weights, outputs, with_parts=True
        )
        # The effective number of rows.
        rows = float((weights.sum(1).square() / weights.square().sum(1)).min())
        freedom = int(rows) - coalitions.shape[1] - 1
        answer = played.attribution(found.values, targets[0][:, 0], standard_errors=found.errors)
        return answer, played.wrong(found.parts, freedom)

    def _exact(self, played: Game, worths: Tensor) -> Flow[Attribution]:
        """The surrogate of all coalitions: its error is zero."""
        features = played.features.count
        coalitions = Enumerated(features).take(0, 1 << features, torch.device("cpu"))
        weights, outputs = self._regression(played, coalitions, [worths])
        found = yield from fit(self.surrogate, self.alpha, coalitions, weights, outputs)
        errors = torch.zeros_like(found.values)
        return played.attribution(found.values, worths[:, -1], standard_errors=errors)

    def _regression(
        self, played: Game, coalitions: Tensor, targets: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Weights, (examples, rows), and outputs, (examples, outputs, rows)."""
        weights = self.kernel.weights(played.ends, played.starts, played.features, coalitions)
        outputs = exact(torch.cat(list(targets), 1)).unflatten(0, (len(weights), -1))
        return weights, outputs


def _check(features: int, samples: int) -> None:
    """Raises InvalidArgument if a regression would be too large."""
    numbers, made = samples * features, fit_multiply_adds(samples, features)
    if numbers > _MOST_NUMBERS_OF_ANY or made > _MOST_MULTIPLY_ADDS:
        raise InvalidArgument(
            "feature_mask",
            f"{features} features",
            f"too many for a regression on {samples} samples: group elements into fewer features, "
            "or take fewer samples",
        )


def _most_to_tolerance(features: int) -> int:
    """The most coalitions to draw with a tolerance."""
    return max(_first(features), min(MOST_ROWS, _MOST_NUMBERS // features))


def _first(features: int) -> int:
    """The number of coalitions that determine the coefficients and their errors."""
    return max(_FIRST_TO_TOLERANCE, 3 * features)

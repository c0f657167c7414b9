"""The cooperative game whose players are features and whose worth is the target.

With a background set a coalition's worth is the interventional expectation of the target: the mean
over all rows of the set, from which the other features take their values (Lundberg, Lee 2017,
https://arxiv.org/abs/1705.07874, equation 11; Janzing et al. 2020,
https://arxiv.org/abs/1910.13413). All rows are used, so that a background adds no sampling error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import torch
from torch import Tensor

from adcaptum.engine.games.coalitions import Coalitions, Enumerated, Range
from adcaptum.engine.games.exact_values import shapley_values
from adcaptum.engine.games.features import Features, feature_count
from adcaptum.engine.games.intervened_rows import Intervened
from adcaptum.engine.games.masked_rows import Masked
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.sampling.adaptive import MOST_ROWS, Draw, sampled
from adcaptum.engine.sampling.replicates import standard_errors, wrong
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.backgrounds import background_endpoint_rows, backgrounds
from adcaptum.engine.vocabulary.endpoints import endpoint_rows, endpoints
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask

_MOST_ROWS = 1 << 16
_MOST_ENUMERATED = 16
_USUAL_SAMPLES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Game:
    """The games of an explicand: a coalition's features keep their values, the others do not.

    Attributes:
        explicand: The explicand.
        ends: The values of the examples, at the inputs or at a site.
        starts: Their baselines; of a background set (1 or examples, rows, *features).
        features: The players.
    """

    explicand: Explicand
    ends: tuple[Tensor, ...]
    starts: tuple[Tensor, ...]
    features: Features

    def targets(self, coalitions: Coalitions) -> Flow[Tensor]:
        """Evaluates coalitions: the target with each of them present, (games, coalitions).

        There is one game per example, or per example and output where every output is explained.
        """
        if self.explicand.background_rows == 1:
            rows = Masked(self.ends, self.starts, self.features, coalitions)
            reading = yield from ask(self.explicand.evaluation(rows))
            return by_game(reading.values, self.explicand.count)
        # In parts: only the means over the background are kept.
        most = max(1, _MOST_ROWS // (self.explicand.count * self.explicand.background_rows))
        parts = []
        for start in range(0, coalitions.count, most):
            part = Range(coalitions, start, min(start + most, coalitions.count))
            parts.append((yield from self._expectations(part)))
        return torch.cat(parts, 1)

    def _expectations(self, coalitions: Coalitions) -> Flow[Tensor]:
        """Evaluates the target with each coalition present, averaged over the background."""
        rows = Intervened(self.ends, self.starts, self.features, coalitions)
        reading = yield from ask(self.explicand.evaluation(rows))
        return rows.expectations(by_game(reading.values, self.explicand.count))

    def alone(self, example: int) -> Game:
        """Returns the game of one example, for coalitions that only this example needs."""

        def own(t: Tensor) -> Tensor:
            return t[example : example + 1] if len(t) == self.explicand.count else t

        features = replace(self.features, ids=tuple(map(own, self.features.ids)))
        alone = self.explicand.example(example)
        return Game(alone, tuple(map(own, self.ends)), tuple(map(own, self.starts)), features)

    def exactly(self) -> Flow[Attribution]:
        """Computes Shapley values from every coalition, with an error of zero."""
        targets = yield from self.targets(Enumerated(self.features.count))
        values = shapley_values(exact(targets))
        errors = torch.zeros_like(values)
        return self.attribution(values, targets[:, -1], targets[:, 0], standard_errors=errors)

    def sampled(self, draw: Draw, each: int, first: int = 1) -> Flow[Attribution]:
        """Draws until the tolerance is met, or evaluates all coalitions where that takes no more.

        Args:
            draw: Draws samples for one example.
            each: The coalitions of a sample.
            first: The number of samples of the first round.
        """
        explicand = self.explicand
        assert explicand.tolerance is not None, "a tolerance is set"
        features = self.features.count
        every = 1 << features if features <= _MOST_ENUMERATED else None
        most = most_samples(explicand, each)

        def draw_or_enumerate(size: int) -> Flow[tuple[Attribution, Tensor]]:
            if every is not None and size * each >= every:
                answer = yield from self.exactly()
                return answer, torch.zeros_like(answer.values[0].flatten(1)[:, 0])
            return (yield from draw(size))

        return (yield from sampled(draw_or_enumerate, explicand.tolerance, first=first, most=most))

    def found(
        self,
        values: Tensor,
        deviations: Tensor,
        outputs: Tensor,
        *,
        errors: Tensor | None = None,
        freedom: int | None = None,
    ) -> tuple[Attribution, Tensor]:
        """Makes an estimate's attribution, and bounds its error summed over the elements, (games,).

        Args:
            values: Of each feature, (games, features).
            deviations: Independent parts of their errors, (games, parts, features).
            outputs: The target at the examples and at their baselines, (games, 2).
            errors: The standard errors; None: those of the deviations.
            freedom: The degrees of freedom of the deviations; None: one less than parts.
        """
        if errors is None:
            (errors,) = standard_errors((deviations,))
        answer = self.attribution(values, *outputs.unbind(1), standard_errors=errors)
        return answer, self.wrong(deviations, freedom)

    def wrong(self, deviations: Tensor, freedom: int | None = None) -> Tensor:
        """Bounds the sum of the errors' magnitudes over all elements, (games,).

        Args:
            deviations: Independent parts of their errors, (games, parts, features).
            freedom: The degrees of freedom of the deviations; None: one less than parts.
        """
        # A feature counts as often as it has elements, in the values as in their errors.
        each = [torch.ones_like(t[:1], dtype=torch.float64) for t in self.ends]
        elements = self.features.totals(each).to(deviations)
        return wrong((deviations * elements,), freedom=freedom).to(self.ends[0].device)

    def attribution(
        self,
        values: Tensor,
        output: Tensor,
        baseline_output: Tensor | None = None,
        *,
        standard_errors: Tensor | None = None,
    ) -> Attribution:
        """Makes the attribution that a method returns.

        With both outputs it has a completeness error.

        Args:
            values: Of each feature, (games, features).
            output: The target at the examples, (games,).
            baseline_output: The target at their baselines, (games,).
            standard_errors: Of the values, of their shape.
        """
        completeness: Tensor | None = None
        largest_error: Tensor | None = None
        spread_errors: tuple[Tensor, ...] = ()
        if standard_errors is not None:
            # A value that is not finite has no error.
            standard_errors = standard_errors.where(values.isfinite(), torch.nan)
            largest_error = _narrowed(standard_errors.amax(1), output)
            spread_errors = self.features.spread(standard_errors, self.ends, output.dtype)
        if baseline_output is not None:
            gap = exact(output) - exact(baseline_output)
            completeness = _narrowed((values.sum(1) - gap).abs(), output)
        return Attribution(
            self.features.spread(values, self.ends, output.dtype),
            output,
            baseline_output,
            completeness,
            largest_error,
            spread_errors,
        )


def game(explicand: Explicand) -> Flow[Game]:
    """Reads the values and baselines and makes the game of them."""
    found = endpoints if explicand.background_rows == 1 else backgrounds
    ends, starts = yield from found(explicand)
    return Game(explicand, ends, starts, Features.of(explicand, ends))


def game_rows(explicand: Explicand, coalitions: int, *, grand: int = 1) -> int:
    """Counts the rows of a game.

    Args:
        explicand: The explicand.
        coalitions: The number of coalitions of each example beside that of all features.
        grand: The number of times that the coalition of all features is evaluated.
    """
    each = coalitions * explicand.background_rows + grand
    if explicand.background_rows == 1:
        return endpoint_rows(explicand) + explicand.count * each
    return background_endpoint_rows(explicand) + explicand.count * each


def most_samples(explicand: Explicand, each: int) -> int:
    """The most samples of `each` coalitions that an example gets with a tolerance."""
    return max(1, MOST_ROWS // (each * explicand.background_rows))


def usual_game_rows(explicand: Explicand, each: int) -> int:
    """Estimates the rows that samples of `each` coalitions take with a tolerance."""
    assert explicand.tolerance is not None, "rows depend on the tolerance"
    samples = ceil(_USUAL_SAMPLES * (0.05 / explicand.tolerance) ** 2)
    coalitions = each * min(samples, most_samples(explicand, each))
    features = feature_count(explicand)
    if features <= _MOST_ENUMERATED:
        coalitions = min(coalitions, 1 << features)
    return game_rows(explicand, coalitions + 1)


def _narrowed(error: Tensor, output: Tensor) -> Tensor:
    """Converts errors to the dtype and the device of answers."""
    return error.to(accumulator_dtype(output.dtype)).to(output.device)


def by_game(values: Tensor, examples: int) -> Tensor:
    """Reshapes values of rows: (examples * per_example, *outputs) to (games, per_example)."""
    each = values.reshape(examples, len(values) // examples, -1)
    return each.transpose(1, 2).reshape(-1, each.shape[1])


def exact(targets: Tensor) -> Tensor:
    """Converts a few numbers to float64 on the CPU: not every device has float64."""
    return targets.cpu().to(torch.float64)

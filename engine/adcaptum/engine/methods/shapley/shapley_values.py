"""Shapley values, exactly: every coalition of features is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.games.coalitions import Enumerated
from adcaptum.engine.games.exact_values import paced_shapley_values, values_multiply_adds
from adcaptum.engine.games.features import feature_count
from adcaptum.engine.games.game import exact, game, game_rows
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class ShapleyValues:
    """The gain of the target by a feature, averaged over all orders of joining.

    Shapley (1953), equation 13, with the baseline in the place of absent features: Lundberg, Lee
    (2017), https://arxiv.org/abs/1705.07874, equation 4. The values of the features sum to the
    output less the output at the baseline. With a background set a coalition's worth is the mean
    over its rows. Each element has the value of its feature.
    """

    traits: ClassVar[Traits] = Traits(
        name="shapley_values",
        paper="https://arxiv.org/abs/1705.07874",
        baseline=True,
        feature_masks=True,
        background=True,
    )

    max_features: int = parameter(
        16,
        "The most features to accept: n features take 2 to the power of n rows an example.",
        minimum=1,
        maximum=20,
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains.

        Raises:
            InvalidArgument: If there are too many features.
        """
        if explicand.feature_mask is not None:
            self._check(feature_count(explicand))
        played = yield from game(explicand)
        self._check(played.features.count)
        targets = yield from played.targets(Enumerated(played.features.count))
        values = yield from paced_shapley_values(exact(targets))
        return played.attribution(values, targets[:, -1], targets[:, 0])

    def rows(self, explicand: Explicand) -> int:
        """One for each coalition.

        Raises:
            InvalidArgument: If there are too many features.
        """
        features = feature_count(explicand)
        self._check(features)
        return game_rows(explicand, (1 << features) - 1)

    def multiply_adds(self, explicand: Explicand) -> float:
        """The multiply-adds of the sums over all coalitions."""
        features = feature_count(explicand)
        self._check(features)
        return values_multiply_adds(explicand.count, features)

    def _check(self, features: int) -> None:
        if features > self.max_features:
            raise InvalidArgument(
                "feature_mask",
                f"{features} features",
                f"at most {self.max_features} for exact Shapley values: group elements into fewer "
                "features, or take shapley_value_sampling or kernel_shap",
            )

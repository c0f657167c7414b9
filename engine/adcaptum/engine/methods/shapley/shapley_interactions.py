"""Shapley interactions: the gain of two features together beyond that of each alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.games.coalitions import Enumerated
from adcaptum.engine.games.exact_values import (
    interaction_indices,
    paced_shapley_values,
    values_multiply_adds,
)
from adcaptum.engine.games.features import feature_count
from adcaptum.engine.games.game import exact, game, game_rows
from adcaptum.engine.rows.reduce import accumulator_dtype
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class ShapleyInteractions:
    """The gain of every two features together beyond that of each without the other.

    Grabisch, Roubens (1999), https://doi.org/10.1007/s001820050125: worth(S + i + j) - worth(S + i)
    - worth(S + j) + worth(S), averaged over the coalitions S of s other features with weights s! (d
    - s - 2)! / (d - 1)!. Every coalition is evaluated. The values are one symmetric matrix,
    (examples, features, features), features in the order of the mask's numbers; not of the inputs'
    shape. As k_sii its sum is the output less the output at the baseline, and that of a feature's
    row the feature's Shapley value: Lundberg et al. (2020),
    https://doi.org/10.1038/s42256-019-0138-9; Bordt, von Luxburg (2023),
    https://arxiv.org/abs/2209.04012. With a background set a coalition's worth is the mean over its
    rows.
    """

    traits: ClassVar[Traits] = Traits(
        name="shapley_interactions",
        paper="https://doi.org/10.1007/s001820050125",
        baseline=True,
        feature_masks=True,
        background=True,
    )

    index: Literal["k_sii", "sii"] = parameter(
        "k_sii",
        "k_sii: half of the interaction index for either order of two features, and a feature's "
        "Shapley value without its halves on the diagonal. sii: the whole index, and Shapley "
        "values on the diagonal.",
    )
    max_features: int = parameter(
        14,
        "The most features to accept: n features take 2 to the power of n rows an example.",
        minimum=1,
        maximum=20,
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Computes the attributions; the error is the values' difference from completeness.

        Raises:
            InvalidArgument: If there are too many features.
        """
        if explicand.feature_mask is not None:
            self._check(feature_count(explicand))
        played = yield from game(explicand)
        self._check(played.features.count)
        targets = yield from played.targets(Enumerated(played.features.count))
        worths = exact(targets)
        mains = yield from paced_shapley_values(worths)
        pairs = yield from interaction_indices(worths)
        if self.index == "k_sii":
            pairs = pairs / 2
            mains = mains - pairs.sum(2)
        values = pairs + mains.diag_embed()
        total = values.sum((1, 2)) if self.index == "k_sii" else mains.sum(1)
        output, baseline_output = targets[:, -1], targets[:, 0]
        dtype = accumulator_dtype(output.dtype)
        return Attribution(
            (values.to(dtype).to(output.device),),
            output,
            baseline_output,
            (total - (worths[:, -1] - worths[:, 0])).abs().to(dtype).to(output.device),
            pairs=True,
        )

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
        return values_multiply_adds(explicand.count, features, pairs=True)

    def _check(self, features: int) -> None:
        if features > self.max_features:
            raise InvalidArgument(
                "feature_mask",
                f"{features} features",
                f"at most {self.max_features} for the interactions of all pairs: group elements "
                "into fewer features",
            )

"""Feature ablation: the target's decrease without each feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adcaptum.engine.games.coalitions import LeaveOneOut
from adcaptum.engine.games.features import feature_count
from adcaptum.engine.games.game import exact, game, game_rows
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.method import Traits


@dataclass(frozen=True, slots=True)
class FeatureAblation:
    """The target at the input, less the target with the feature at its baseline.

    Zeiler, Fergus (2014), https://arxiv.org/abs/1311.2901, section 4.2, feature by feature. Each
    element has the value of its feature, so that the values of a mask's elements do not add up.
    With a background set the loss is the mean over its rows.
    """

    traits: ClassVar[Traits] = Traits(
        name="feature_ablation",
        paper="https://arxiv.org/abs/1311.2901",
        baseline=True,
        feature_masks=True,
        background=True,
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Computes the attributions; the output is the target at the input."""
        played = yield from game(explicand)
        targets = yield from played.targets(LeaveOneOut(played.features.count))
        worths = exact(targets)
        return played.attribution(worths[:, -1:] - worths[:, :-1], targets[:, -1])

    def rows(self, explicand: Explicand) -> int:
        """One for each feature, and one for the input."""
        return game_rows(explicand, feature_count(explicand))

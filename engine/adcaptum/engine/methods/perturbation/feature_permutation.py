"""Feature permutation: the target's decrease when a feature comes from another example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.games.features import Features, feature_count
from adcaptum.engine.games.game import by_game, exact
from adcaptum.engine.methods.perturbation.permutations import Permuted
from adcaptum.engine.rows.sources import Rows
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.endpoints import values_at_site
from adcaptum.engine.vocabulary.evaluation import INPUT
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.engine.vocabulary.method import Traits


@dataclass(frozen=True, slots=True)
class FeaturePermutation:
    """The target at the input, less the target with the feature's values exchanged among examples.

    Fisher, Rudin, Dominici (2019), https://arxiv.org/abs/1801.01489, section 3.2, feature by
    feature (Breiman 2001). The request's examples are permuted among themselves, so that there
    must be two at least, and an example's explanation depends on the others. Each element has the
    value of its feature.
    """

    traits: ClassVar[Traits] = Traits(
        name="feature_permutation",
        paper="https://arxiv.org/abs/1801.01489",
        random=True,
        feature_masks=True,
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains; the output is the target at the input.

        Raises:
            InvalidArgument: If there is one example only.
        """
        self.check(explicand)
        ends = explicand.inputs if explicand.values is None else explicand.values
        if explicand.at != INPUT and explicand.values is None:
            reading = yield from ask(values_at_site(explicand, explicand.inputs))
            ends = reading.activations
        features = Features.of(explicand, ends)
        rows = self.source(ends, features, explicand.seed)
        reading = yield from ask(explicand.evaluation(rows))
        targets = by_game(reading.values, explicand.count)
        worths = exact(targets)
        losses = worths[:, -1:] - worths[:, :-1]
        values = features.spread(losses, ends, targets.dtype)
        return Attribution(values, output=targets[:, -1])

    def rows(self, explicand: Explicand) -> int:
        """One for each feature, and one for the input.

        Raises:
            InvalidArgument: If there is one example only.
        """
        self.check(explicand)
        read = explicand.count if explicand.at != INPUT and explicand.values is None else 0
        return read + explicand.count * (feature_count(explicand) + 1)

    def source(self, ends: tuple[Tensor, ...], features: Features, seed: int, /) -> Rows:
        """Each example with one feature after another exchanged, and at last as it is."""
        return Permuted(ends, features, seed)

    def check(self, explicand: Explicand) -> None:
        """Raises InvalidArgument unless there are examples to exchange values with."""
        if explicand.count < 2:
            raise InvalidArgument(
                "inputs", "a single example", "at least two: they exchange their values"
            )

"""Partition SHAP: the value of features in a hierarchy of groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from adcaptum.engine.games.coalitions import Listed
from adcaptum.engine.games.features import Features, feature_count
from adcaptum.engine.games.game import exact, game, game_rows
from adcaptum.engine.methods.shapley.expansion import Expansion
from adcaptum.engine.methods.shapley.hierarchy import Hierarchy, fewest_splits
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.evaluation import INPUT
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, gather, report
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter

_FIRST_SPLITS = 8
# The most splits of a round: a quarter of a second of the interpreter.
_MOST_SPLITS = 4096
# A split takes about as long in the interpreter.
_SPLIT_MULTIPLY_ADDS = 1e6
# Of the two groups of a split, in Python's lists and NumPy's arrays.
_SPLIT_BYTES = 1536


@dataclass(frozen=True, slots=True)
class PartitionShap:
    """The gain of the target by a feature, averaged over orders in which groups stay together.

    Owen (1977), https://doi.org/10.1007/978-3-642-45494-3_7, in the nested form of Winter (1989),
    "A value for cooperative games with levels structure of cooperation", as in the
    PartitionExplainer of Lundberg's shap. Groups are the halves of halves of the features: of an
    image's pixels across its longer side, of tokens and vectors along their order, of a mask's
    features by where they are. Evaluations go to the groups of the largest effects; a group that is
    not split any further shares its effect evenly. The values sum to the output less the output at
    the baseline exactly, whatever the number of evaluations; with all of them, about two thirds of
    the square of the number of features, the values are exact. With a background set a coalition's
    worth is the mean over its rows. Each element has the value of its feature.
    """

    traits: ClassVar[Traits] = Traits(
        name="partition_shap",
        paper="https://doi.org/10.1007/978-3-642-45494-3_7",
        baseline=True,
        feature_masks=True,
        background=True,
        held=2.0,
    )

    max_evals: int = parameter(
        500,
        "The most coalitions to evaluate for each example, the input and the baseline included; "
        "each split of a group takes two.",
        minimum=2,
        maximum=10_000_000,
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Computes the attributions; reports after each round of splits.

        Where every output is explained, a group counts as much as its largest effect on one.
        """
        played = yield from game(explicand)
        features = played.features
        ends = yield from played.targets(
            Listed(torch.eye(2)[:, :1].bool().expand(2, features.count))
        )
        grand, empty = exact(ends).unbind(1)
        hierarchies = _hierarchies(features, explicand.count)
        outputs = len(ends) // explicand.count
        expansions = [
            Expansion(hierarchy, low.numpy(), high.numpy())
            for hierarchy, low, high in zip(
                hierarchies, empty.split(outputs), grand.split(outputs), strict=True
            )
        ]
        games = [played.alone(i) for i in range(explicand.count)]
        while True:
            values = torch.cat([expansion.values() for expansion in expansions])
            answer = played.attribution(values, ends[:, 0], ends[:, 1])
            yield from report(answer)
            unfinished = [
                (one, expansion, splits)
                for one, expansion in zip(games, expansions, strict=True)
                if (splits := self._splits(expansion)) > 0
            ]
            if not unfinished:
                return answer
            # Each example is split by its own effects, so that coalitions differ.
            asked = [one.targets(expansion.ask(splits)) for one, expansion, splits in unfinished]
            targets = yield from gather(asked)
            for (_, expansion, _), own in zip(unfinished, targets, strict=True):
                expansion.split(exact(own).numpy())

    def rows(self, explicand: Explicand) -> int:
        """Two for each split, the input and the baseline; at a site, as if it were the inputs."""
        each = self._foretold(explicand)
        if len(each) == 1:
            return game_rows(explicand, 1 + 2 * each[0])
        return game_rows(explicand, 1) + 2 * explicand.background_rows * sum(each)

    def multiply_adds(self, explicand: Explicand) -> float:
        """The multiply-adds of the splits."""
        return self._splits_in_all(explicand) * _SPLIT_MULTIPLY_ADDS

    def held_bytes(self, explicand: Explicand) -> int:
        """The groups, and the coalitions in which they are."""
        return self._splits_in_all(explicand) * _SPLIT_BYTES

    def _splits_in_all(self, explicand: Explicand) -> int:
        """The number of splits of all examples."""
        each = self._foretold(explicand)
        return sum(each) * (explicand.count if len(each) == 1 else 1)

    def _foretold(self, explicand: Explicand) -> list[int]:
        """The number of splits, for all examples or for each."""
        most = (self.max_evals - 2) // 2
        if explicand.at != INPUT:
            return [Hierarchy.line(feature_count(explicand)).splits(most)]
        if explicand.feature_mask is None and most <= fewest_splits(feature_count(explicand)):
            # The usual case of images: known without cutting a group.
            return [most]
        features = Features.of(explicand, explicand.inputs)
        of = _hierarchies(features, explicand.count if features.own else 1)
        return [hierarchy.splits(most) for hierarchy in of]

    def _splits(self, expansion: Expansion) -> int:
        """The number of splits of the next round: few at first, since each directs the next."""
        left = (self.max_evals - 2) // 2 - expansion.made
        return min(left, expansion.open, max(_FIRST_SPLITS, expansion.made // 4), _MOST_SPLITS)


def _hierarchies(features: Features, examples: int) -> list[Hierarchy]:
    """The hierarchy of each example: of all the same unless they have groups of their own."""
    if features.own:
        return [Hierarchy.of(features, i) for i in range(examples)]
    return [Hierarchy.of(features)] * examples

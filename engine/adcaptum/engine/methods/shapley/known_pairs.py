"""Pairs of coalitions that were evaluated."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from adcaptum.engine.games.coalitions import Listed
from adcaptum.engine.games.game import Game, exact
from adcaptum.engine.vocabulary.flow import Flow


class KnownPairs:
    """The worths of one game's pairs of coalitions and complements that were evaluated.

    Samples that hold whole sizes of coalitions have them in common: none is evaluated twice.
    """

    __slots__ = ("_game", "_halves", "_places")

    def __init__(self, game: Game) -> None:
        self._game = game
        self._places: dict[bytes, int] = {}
        self._halves = torch.zeros(0)

    def halves(self, members: Tensor) -> Flow[Tensor]:
        """Half of the difference between the worths of each pair's coalition and complement.

        Args:
            members: One coalition of each pair, always the same, bool of shape (pairs, features).

        Returns:
            float64 of shape (games, pairs).
        """
        keys = [row.tobytes() for row in np.packbits(members.numpy(), axis=1)]
        new = [i for i, key in enumerate(keys) if key not in self._places]
        if new:
            fresh = members[new]
            asked = Listed(torch.cat([fresh, ~fresh]))
            first, second = exact((yield from self._game.targets(asked))).chunk(2, 1)
            found = (first - second) / 2
            self._halves = torch.cat([self._halves, found], 1) if self._places else found
            for i in new:
                self._places[keys[i]] = len(self._places)
        return self._halves[:, [self._places[key] for key in keys]]

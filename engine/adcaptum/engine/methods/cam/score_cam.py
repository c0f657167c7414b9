"""Score-CAM: a layer's channels, weighted by the target where each of them is active."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.games.game import by_game, exact
from adcaptum.engine.methods.cam.activation_map import ActivationMap, check_layer, positions
from adcaptum.engine.methods.cam.highlights import Highlighted, check_maps
from adcaptum.engine.rows.reduce import widened
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.evaluation import INPUT
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter

# The estimate for a layer whose channels only the model knows.
_USUAL_CHANNELS = 512


@dataclass(frozen=True, slots=True)
class ScoreCam(ActivationMap):
    """A layer's channels, weighted by the target at the input seen through each channel's map.

    Wang et al. (2020), https://arxiv.org/abs/1910.01279, algorithm 1: the maps are up-sampled and
    scaled to lie between 0 and 1, the input is blended with its baseline by them, and the weights
    are the softmax, over the channels, of the targets there. It takes no gradient, but a row for
    each channel. The values are at the layer's resolution, (examples, 1, *positions).
    """

    traits: ClassVar[Traits] = Traits(
        name="score_cam",
        paper="https://arxiv.org/abs/1910.01279",
        baseline=True,
        layer="required",
        held=2.0,
    )

    relu: bool = parameter(True, "Keep only what is positive in the map.")
    max_channels: int | None = parameter(
        None,
        "Evaluate only so many channels of each example, those that vary most over the positions; "
        "the others have the weight zero. Default: all, as in the paper.",
        minimum=1,
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains; the output is the target at the input.

        Raises:
            InvalidArgument: If no layer is named, or it has no maps that can be laid over an input.
        """
        check_layer(explicand)
        if explicand.values is not None:
            raise InvalidArgument("values", "given", "score_cam varies the inputs, not the layer")
        starts = explicand.paired_baselines()
        reading = yield from ask(explicand.at_inputs(read=True))
        (values,) = (self.channels_first(t) for t in widened(_single(reading.activations)))
        check_maps(explicand.inputs, values)
        chosen = self._chosen(values)
        rows = Highlighted(
            explicand.inputs, starts, values.take_along_dim(_like(chosen, values), 1)
        )
        scores = yield from ask(replace(explicand, at=INPUT).evaluation(rows))
        games = by_game(scores.values, explicand.count)
        outputs = len(games) // explicand.count
        weights = exact(games).softmax(1).to(values.dtype).to(values.device)
        chosen, values = (t.repeat_interleave(outputs, 0) for t in (chosen, values))
        each = values.new_zeros(values.shape[:2]).scatter_(1, chosen, weights)
        return Attribution(
            (self.joined(_like(each, values) * values),),
            output=by_game(reading.values, explicand.count)[:, 0],
        )

    def rows(self, explicand: Explicand) -> int:
        """The input and a row for each channel, assumed to be 512 if only the model knows."""
        return explicand.count * (1 + (self.max_channels or _USUAL_CHANNELS))

    def _chosen(self, values: Tensor) -> Tensor:
        """Chooses the channels of each example to evaluate, (examples, channels)."""
        channels = values.shape[1]
        if self.max_channels is None or self.max_channels >= channels:
            return torch.arange(channels, device=values.device).expand(len(values), -1)
        spread = values.std(positions(values), correction=0)
        order = spread.argsort(dim=1, descending=True, stable=True)
        return order[:, : self.max_channels].sort(1).values


def _single(tensors: tuple[Tensor, ...]) -> tuple[Tensor]:
    if len(tensors) != 1:
        raise InvalidArgument("layer", f"of {len(tensors)} tensors", "a layer of one tensor")
    return (tensors[0],)


def _like(of_channels: Tensor, values: Tensor) -> Tensor:
    """(rows, channels) -> (rows, channels, 1, ...), of as many dimensions as the values."""
    return of_channels.view(*of_channels.shape, *(1,) * len(positions(values)))

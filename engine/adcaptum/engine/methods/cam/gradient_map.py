"""Class activation maps from one gradient at the layer, which differ in their weights alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from adcaptum.engine.methods.cam.activation_map import ActivationMap, check_layer, positions
from adcaptum.engine.rows.reduce import widened
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask


@dataclass(frozen=True, slots=True)
class GradientMap(ActivationMap):
    """The flow of a map that takes one gradient row an example."""

    @abstractmethod
    def parts(self, values: Tensor, gradients: Tensor) -> Tensor:
        """Weights a layer's values: each channel's contribution at each position.

        Args:
            values: The layer's, (rows, channels, *positions).
            gradients: The target's with respect to them, of the same shape.
        """

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains; the output is the target at the input.

        Raises:
            InvalidArgument: If no layer is named, or it does not have the form that `reshape` says.
        """
        check_layer(explicand)
        reading = yield from ask(explicand.at_inputs(gradient=True, read=True))
        values = zip(widened(reading.activations), widened(reading.gradients), strict=True)
        maps = (
            self.joined(self.parts(self.channels_first(a), self.channels_first(g)))
            for a, g in values
        )
        return Attribution(tuple(maps), output=reading.values)

    def rows(self, explicand: Explicand) -> int:
        """One gradient row an example."""
        return explicand.count


def over_positions(fold: Callable[..., Tensor], tensor: Tensor) -> Tensor:
    """Folds over the positions, such as `torch.mean`; a channel without positions is as it is."""
    dims = positions(tensor)
    return fold(tensor, dim=dims, keepdim=True) if dims else tensor

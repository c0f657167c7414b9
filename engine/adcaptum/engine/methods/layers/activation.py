"""Activation: the values at a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.rows.reduce import widened
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.endpoints import values_at_site
from adcaptum.engine.vocabulary.evaluation import INPUT
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow, ask
from adcaptum.engine.vocabulary.method import Traits


@dataclass(frozen=True, slots=True)
class Activation:
    """The values at a layer themselves, apart from the target.

    Zeiler, Fergus (2013), https://arxiv.org/abs/1311.2901, section 2, look at models so.
    """

    traits: ClassVar[Traits] = Traits(
        name="activation", paper="https://arxiv.org/abs/1311.2901", layer="required"
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Reads the layer.

        Raises:
            InvalidArgument: If no layer is named.
        """
        if explicand.at == INPUT:
            raise InvalidArgument("layer", "not given", "the method explains the values at a layer")
        if explicand.values is not None:
            return Attribution(widened(explicand.values))
        reading = yield from ask(values_at_site(explicand, explicand.inputs))
        return Attribution(widened(reading.activations))

    def rows(self, explicand: Explicand) -> int:
        """One row an example, as far as the layer."""
        return 0 if explicand.values is not None else explicand.count

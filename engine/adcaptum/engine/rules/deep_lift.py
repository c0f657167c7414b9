"""DeepLIFT's rules by name."""

from __future__ import annotations

from typing import Literal

from adcaptum.engine.rules.interception import Rule
from adcaptum.engine.rules.rescale import Rescale

DifferenceRule = Literal["rescale"]


def difference_rule(name: DifferenceRule) -> Rule:
    """The rule of that name."""
    return {"rescale": Rescale()}[name]

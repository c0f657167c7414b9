"""DeepLIFT's rules by name."""

from __future__ import annotations

from typing import Literal

from adcaptum.engine.rules.deep_lift.rescale import Rescale
from adcaptum.engine.rules.deep_lift.reveal_cancel import RevealCancel
from adcaptum.engine.rules.interception import Rule

DifferenceRule = Literal["rescale", "reveal_cancel"]


def difference_rule(name: DifferenceRule) -> Rule:
    """Returns the rule of a name."""
    return Rescale() if name == "rescale" else RevealCancel()

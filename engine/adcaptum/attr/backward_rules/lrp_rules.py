"""The rules of layer-wise relevance propagation, to be set on modules: `module.rule = GammaRule()`.

Modules are not changed otherwise: a rule that was set stays, and holds in every attribution.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from adcaptum.engine.rules.lrp.affine_rules import Epsilon, Gamma, LayerRule, Pass, ZPlus


class PropagationRule(ABC):
    """A rule by which relevance passes through a module."""

    @abstractmethod
    def layer_rule(self) -> LayerRule:
        """Returns the engine's rule."""


class EpsilonRule(PropagationRule):
    """Relevance in proportion to contributions; Bach et al. (2015), equation 58.

    Args:
        epsilon: The stabiliser, added to the denominator.
    """

    def __init__(self, epsilon: float = 1e-9) -> None:
        self.epsilon = epsilon

    def layer_rule(self) -> LayerRule:
        return Epsilon(self.epsilon)


class GammaRule(PropagationRule):
    """A preference for contributions of the output's sign; Montavon et al. (2019), eq. 10.11.

    Args:
        gamma: The weight of the preference.
        set_bias_to_zero: Whether the bias takes no share.
    """

    def __init__(self, gamma: float = 0.25, set_bias_to_zero: bool = False) -> None:
        self.gamma = gamma
        self.set_bias_to_zero = set_bias_to_zero

    def layer_rule(self) -> LayerRule:
        return Gamma(self.gamma, bias="ignore" if self.set_bias_to_zero else "keep")


class Alpha1_Beta0_Rule(PropagationRule):  # noqa: N801  # Captum's name
    """Relevance of positive contributions only; Montavon et al. (2019), section 10.2.

    Args:
        set_bias_to_zero: Whether the bias takes no share.
    """

    def __init__(self, set_bias_to_zero: bool = False) -> None:
        self.set_bias_to_zero = set_bias_to_zero

    def layer_rule(self) -> LayerRule:
        return ZPlus(bias="ignore" if self.set_bias_to_zero else "keep")


class IdentityRule(EpsilonRule):
    """The relevance of outputs passed to the inputs at the same places. Both have one shape."""

    def layer_rule(self) -> LayerRule:
        return Pass()


def rules_of(model: object) -> dict[nn.Module, LayerRule]:
    """Returns the rules that are set on a model's modules.

    Raises:
        TypeError: If a module's `rule` is something else.
    """
    found: dict[nn.Module, LayerRule] = {}
    for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
        rule = getattr(module, "rule", None)
        if rule is None:
            continue
        if not isinstance(rule, PropagationRule):
            raise TypeError(
                f"Please select a propagation rule for layer {name!r}: its `rule` is of type "
                f"{type(rule).__name__}, and must be a PropagationRule or None."
            )
        found[module] = rule.layer_rule()
    return found

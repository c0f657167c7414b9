"""The rules of layer-wise relevance propagation, to be set on modules: `module.rule = GammaRule()`.

Nothing else is done to a module: a rule that was set stays, and says how relevance goes through
that module in every attribution.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from adcaptum.engine.rules.lrp.affine_rules import Epsilon, Gamma, LayerRule, Pass, ZPlus


class PropagationRule(ABC):
    """How relevance goes through a module."""

    @abstractmethod
    def layer_rule(self) -> LayerRule:
        """The engine's rule."""


class EpsilonRule(PropagationRule):
    """In proportion to each input's contribution; Bach et al. (2015), equation 58.

    Args:
        epsilon: What is added to what relevance is divided by.
    """

    def __init__(self, epsilon: float = 1e-9) -> None:
        self.epsilon = epsilon

    def layer_rule(self) -> LayerRule:
        return Epsilon(self.epsilon)


class GammaRule(PropagationRule):
    """Contributions of the output's sign are preferred; Montavon et al. (2019), equation 10.11.

    Args:
        gamma: By how much.
        set_bias_to_zero: Whether the bias takes no share.
    """

    def __init__(self, gamma: float = 0.25, set_bias_to_zero: bool = False) -> None:
        self.gamma = gamma
        self.set_bias_to_zero = set_bias_to_zero

    def layer_rule(self) -> LayerRule:
        return Gamma(self.gamma, bias="ignore" if self.set_bias_to_zero else "keep")


class Alpha1_Beta0_Rule(PropagationRule):  # noqa: N801  # Captum's name
    """Only positive contributions count; Montavon et al. (2019), section 10.2.

    Args:
        set_bias_to_zero: Whether the bias takes no share.
    """

    def __init__(self, set_bias_to_zero: bool = False) -> None:
        self.set_bias_to_zero = set_bias_to_zero

    def layer_rule(self) -> LayerRule:
        return ZPlus(bias="ignore" if self.set_bias_to_zero else "keep")


class IdentityRule(EpsilonRule):
    """The inputs get the outputs' relevance, place by place. Both have one shape."""

    def layer_rule(self) -> LayerRule:
        return Pass()


def rules_of(model: object) -> dict[nn.Module, LayerRule]:
    """The rules that are set on a model's modules.

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

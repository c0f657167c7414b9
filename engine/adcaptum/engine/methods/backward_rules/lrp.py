"""Layer-wise relevance propagation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adcaptum.engine.methods.backward_rules.relevance import CompositeLRP, Start
from adcaptum.engine.rules.lrp.affine_rules import Bias
from adcaptum.engine.rules.lrp.composites import CompositeName, composite
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class LRP:
    """The target's value, propagated back from layer to layer in proportion to contributions.

    Bach et al. (2015), https://doi.org/10.1371/journal.pone.0130140; Montavon et al. (2019),
    "Layer-wise relevance propagation: an overview"; for attention Achtibat et al. (2024),
    https://arxiv.org/abs/2402.05602. Relevances of one explanation are in proportion to each other.
    Their sum is the part of the target that reaches the inputs, and the error the part that does
    not: biases keep a share at every layer, rules leave some to neurons without contributions of
    the wanted sign, epsilon absorbs some, and with attn_lrp the softmax. In deep networks with
    batch norms almost nothing of the target may arrive (docs/decisions/0022); that is no fault, and
    the map is still right up to its scale. For other composites and rules, see
    `adcaptum.engine.methods.backward_rules.relevance.CompositeLRP`.
    """

    traits: ClassVar[Traits] = Traits(
        name="lrp",
        paper="https://doi.org/10.1371/journal.pone.0130140",
        gradient=True,
        operations=True,
    )

    composite: CompositeName = parameter(
        "epsilon_plus",
        "The rule of each layer: the first part of the name is the rule of linear layers, the "
        "second that of convolutions, the third (flat, box) that of what comes first; attn_lrp is "
        "epsilon with AttnLRP's rules for attention.",
    )
    epsilon: float | None = parameter(
        None,
        "Added to what relevance is divided by; by default the machine epsilon of the "
        "values' type.",
        minimum=0,
    )
    gamma: float = parameter(
        0.25, "Preference of epsilon_gamma_box for contributions of the output's sign.", minimum=0
    )
    low: float | None = parameter(
        None, "The lowest value that inputs may have, for the box; by default the input's lowest."
    )
    high: float | None = parameter(
        None, "The highest value that inputs may have, for the box; by default the input's highest."
    )
    bias: Bias = parameter(
        "keep",
        "Fate of the share that biases take of relevance: they keep it, as in the papers, so that "
        "in deep networks little of the target reaches the inputs; spread, it goes in equal parts "
        "to the neuron's inputs, which conserves relevance; or they are ignored. Neither of these "
        "is for epsilon in deep networks, where it divides by almost 0.",
    )
    start: Start = parameter("output", "The target's relevance: its value, or one.")
    strict: bool = parameter(
        False, "Refuse a model with operations for which there is no rule, instead of listing them."
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Computes the attributions; the output is the target at the input."""
        rules = composite(
            self.composite,
            epsilon=self.epsilon,
            gamma=self.gamma,
            low=self.low,
            high=self.high,
            bias=self.bias,
        )
        return CompositeLRP(rules, self.start, self.strict).flow(explicand)

    def rows(self, explicand: Explicand) -> int:
        """One gradient row an example."""
        return explicand.count

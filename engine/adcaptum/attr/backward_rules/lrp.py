"""Layer-wise relevance propagation, at the inputs and at layers."""

from __future__ import annotations

from torch import Tensor, nn

from adcaptum.attr.backward_rules.lrp_rules import rules_of
from adcaptum.attr.facade.answer import explain, like_inputs, sum_of_rows
from adcaptum.attr.facade.attribution import GradientAttribution, LayerAttribution
from adcaptum.attr.facade.captum_call import CaptumCall
from adcaptum.attr.facade.forms import Layers, TargetType, Tensors
from adcaptum.attr.facade.layers import at_layers
from adcaptum.engine.methods.backward_rules.relevance import CompositeLRP
from adcaptum.engine.rules.lrp.affine_rules import Epsilon
from adcaptum.engine.rules.lrp.composites import Composite
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.evaluation import INPUT, Site

_EPSILON = 1e-9


class LRP(GradientAttribution):
    """Layer-wise relevance propagation; Bach et al. (2015), Montavon et al. (2019).

    The rules act on the model's operations, so that functions, reused modules,
    residual additions and attention are covered. A rule set on a module, `module.rule = ...` of
    `adcaptum.attr.backward_rules.lrp_rules`, comes before those of the composite, and stays.

    Args:
        model: The model.
        composite: The rules of operations in modules without a rule of their own: one of
            `adcaptum.engine.rules.lrp.composites`; None: Epsilon for all, as in Captum.
        strict: Whether to refuse a model with operations that have no rule; otherwise they cause
            a warning.

    Raises:
        TypeError: If a module's `rule` is something else than a rule.
    """

    def __init__(
        self, model: nn.Module, *, composite: Composite | None = None, strict: bool = False
    ) -> None:
        super().__init__(model)
        self.model = model
        self.composite = composite or Composite(default=Epsilon(_EPSILON), epsilon=_EPSILON)
        self.strict = strict
        rules_of(model)

    @property
    def multiplies_by_inputs(self) -> bool:
        return True

    def has_convergence_delta(self) -> bool:
        return True

    def compute_convergence_delta(  # type: ignore[override]  # Captum's LRP has another
        self, attributions: Tensors, output: Tensor
    ) -> Tensor:
        """Returns the lost relevance, the output less the attributions' sum, (examples,)."""
        values = attributions if isinstance(attributions, tuple) else (attributions,)
        return output.flatten() - sum_of_rows(values)

    def attribute(
        self,
        inputs: Tensors,
        target: TargetType = None,
        additional_forward_args: object = None,
        return_convergence_delta: bool = False,
        verbose: bool = False,
    ) -> Tensors | tuple[Tensors, Tensor]:
        """Propagates the target's value back to the inputs.

        Args:
            inputs: A tensor, or a tuple of them.
            target: The explained output.
            additional_forward_args: Further arguments of forward.
            return_convergence_delta: Whether to return the lost relevance, (examples,), too.
            verbose: Whether to print the rules that are set on modules.
        """
        call, answer = self._explained(inputs, target, additional_forward_args, INPUT, verbose)
        values = like_inputs(call, answer.values)
        if not return_convergence_delta:
            return values
        return values, self._lost(answer)

    def _explained(
        self, inputs: Tensors, target: TargetType, arguments: object, at: Site, verbose: bool
    ) -> tuple[CaptumCall, Attribution]:
        call = CaptumCall.of(
            self.forward_func, inputs, target=target, additional_forward_args=arguments, at=at
        )
        own = rules_of(self.model)
        if verbose:
            names = {module: name for name, module in self.model.named_modules()}
            for module, rule in own.items():
                print(f"Applied {rule} on layer {names[module] or type(module).__name__}")  # noqa: T201
            print(f"Applied {self.composite.default} on all others")  # noqa: T201
        method = CompositeLRP(self.composite.overridden(own), strict=self.strict)
        return call, explain(call, method)

    def _lost(self, answer: Attribution) -> Tensor:
        assert answer.output is not None, "relevance begins there"
        return self.compute_convergence_delta(answer.values, answer.output)


class LayerLRP(LayerAttribution, LRP):
    """The relevance that arrives at a layer, or at each of several."""

    def __init__(
        self,
        model: nn.Module,
        layer: Layers,
        *,
        composite: Composite | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__(model, layer)
        self.composite = composite or self.composite
        self.strict = strict

    def attribute(  # type: ignore[override]  # Captum's LayerLRP has one argument more
        self,
        inputs: Tensors,
        target: TargetType = None,
        additional_forward_args: object = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        verbose: bool = False,
    ) -> Tensors | list[Tensors] | tuple[Tensors | list[Tensors], Tensor | list[Tensor]]:
        """Propagates the target's value back to the layer; each of several has its own delta."""
        answers: list[Attribution] = []

        def values(at: Site) -> tuple[Tensor, ...]:
            _, answer = self._explained(inputs, target, additional_forward_args, at, verbose)
            answers.append(answer)
            return answer.values

        found = at_layers(self.layer, values, of_input=attribute_to_layer_input)
        if not return_convergence_delta:
            return found
        output = answers[-1].output
        assert output is not None, "relevance begins there"
        if isinstance(found, list):
            return found, [self.compute_convergence_delta(each, output) for each in found]
        return found, self.compute_convergence_delta(found, output)

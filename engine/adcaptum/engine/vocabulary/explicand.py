"""Explicands: inputs, target, baselines and options, checked once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from adcaptum.engine.errors import InvalidArgument
from adcaptum.engine.rows.reduce import Reduce, Stack
from adcaptum.engine.rows.sources import Given, Repeated, Rows
from adcaptum.engine.rules.interception import Rule
from adcaptum.engine.vocabulary.arguments import NO_ARGUMENTS, Arguments, PerExample
from adcaptum.engine.vocabulary.evaluation import Evaluation, Patch
from adcaptum.engine.vocabulary.explicand_forms import (
    Baselines,
    Targets,
    Tensors,
    further_arguments,
    given_baselines,
    given_inputs,
    given_masks,
    given_target,
)
from adcaptum.engine.vocabulary.references import References
from adcaptum.engine.vocabulary.site import INPUT, Site
from adcaptum.engine.vocabulary.target import EveryOutput, Neuron, Output, Target


@dataclass(frozen=True, slots=True, eq=False)
class Explicand:
    """An explanation's subject: inputs, target, baselines and options.

    All further code relies on these shapes.

    Attributes:
        inputs: The model's explained inputs, each (examples, *features).
        target: The explained number of each example.
        baselines: The inputs' baselines: each (rows, *features) of the input's dtype,
            where rows is 1, the number of examples, or any number for a background; None: zeros.
        at: The explained site: the inputs, or a place inside the model.
        arguments: Further arguments of forward.
        feature_mask: For each input, or each tensor at the site, an int64 tensor that broadcasts to
            its shape, with one row for all examples or one for each; elements with the same number,
            also across inputs, are one feature. At a site, a mask of two dimensions or more whose
            first is the examples has one row for each. None: each element is one.
        seed: The seed of the method's random numbers.
        with_error: Whether to spend the rows that the error estimate needs.
        scales: The unit of noise for each element of each input: a tensor that broadcasts to the
            input; None: the range of each example's values.
        values: Values at the site that replace those computed from the inputs; None: those.
        starts: Baselines at the site that replace the values computed from the baselines: for each
            tensor at the site a number, or a tensor of as many dimensions that broadcasts to it;
            None: those.
        background: Whether every row of the baselines is a baseline of every example, and the
            explanation an expectation over them; so is, at a site, every row of the starts. False:
            one for all, or one per example. Methods of a distribution
            (`Traits.distribution`) take them for a background in any case.
        through: Neurons inside the model: only the gradients that flow through them count. None:
            all gradients.
        tolerance: The relative error that is allowed for the values of an example: the sum of the
            errors' magnitudes over that of the values'. Methods that estimate go on until their
            estimated error is below it, whatever their number of steps or samples. None: that
            number decides.
    """

    inputs: tuple[Tensor, ...]
    target: Target = Output()
    baselines: tuple[Tensor, ...] | None = None
    at: Site = INPUT
    arguments: Arguments = NO_ARGUMENTS
    feature_mask: tuple[Tensor, ...] | None = None
    seed: int = 0
    with_error: bool = True
    scales: tuple[Tensor, ...] | None = None
    values: tuple[Tensor, ...] | None = None
    starts: tuple[Tensor, ...] | None = None
    background: bool = False
    through: Neuron | None = None
    tolerance: float | None = None

    @classmethod
    def of(
        cls,
        inputs: Tensors,
        *,
        target: Targets | EveryOutput | Neuron = None,
        baselines: Baselines | None = None,
        at: Site = INPUT,
        additional_forward_args: Sequence[object] = (),
        feature_mask: Tensors | None = None,
        seed: int = 0,
        with_error: bool = True,
        background: bool = False,
        tolerance: float | None = None,
    ) -> Self:
        """Makes an explicand from the forms that callers write, and checks them.

        Args:
            inputs: A tensor, or one per input; the first dimension is the examples.
            target: A class index for all examples, or one per example (a tuple for outputs of
                several dimensions), or a neuron, or every output; None where the output has one
                number per example.
            baselines: A tensor or number, or one per input. Integer and bool inputs whose dtype
                cannot hold theirs are promoted with it.
            at: The site to explain.
            additional_forward_args: Tensors with one value per example, or `PerExample` and
                `Shared`; other values are shared.
            feature_mask: An integer tensor, or one per input.
            seed: The seed of the method's random numbers.
            with_error: Whether to spend the rows that the error estimate needs.
            background: Whether every row of the baselines is a baseline of every example.
            tolerance: The allowed relative error of an example's values.

        Raises:
            InvalidArgument: If one of them does not fit; the error names it.
        """
        if tolerance is not None and not 0 < tolerance < 1:
            raise InvalidArgument("tolerance", tolerance, "between 0 and 1, both excluded")
        if not isinstance(at, Site):
            raise InvalidArgument("at", at, "a Site, such as Site('encoder.3')")
        tensors = given_inputs(inputs)
        count = tensors[0].shape[0]
        starts = None
        if baselines is not None:
            tensors, starts = given_baselines(baselines, tensors)
        return cls(
            inputs=tensors,
            target=target
            if isinstance(target, Neuron | EveryOutput)
            else given_target(target, count),
            baselines=starts,
            at=at,
            arguments=further_arguments(additional_forward_args, count),
            feature_mask=None
            if feature_mask is None
            else given_masks(feature_mask, tensors, inside=at != INPUT),
            seed=seed,
            with_error=with_error,
            background=background,
            tolerance=tolerance,
        )

    @property
    def count(self) -> int:
        """The number of examples."""
        return self.inputs[0].shape[0]

    @property
    def background_rows(self) -> int:
        """The number of baselines of each example."""
        if not self.background:
            return 1
        of_inputs = [len(t) for t in self.baselines or ()]
        # Baselines at the site replace those of the inputs.
        at_site = [len(t) for t in self.starts or () if t.dim()]
        return max(at_site or of_inputs, default=1)

    def paired_baselines(self) -> tuple[Tensor, ...]:
        """Returns one baseline per example, each of its input's shape.

        Raises:
            InvalidArgument: If there are neither one nor as many as examples, or each example has
                several.
        """
        if self.baselines is None:
            return tuple(torch.zeros_like(t) for t in self.inputs)
        if self.background_rows > 1:
            raise InvalidArgument(
                "baselines",
                f"a background set of {self.background_rows} rows",
                "one baseline for each example: this method has no expectation over several",
            )
        for i, (baseline, t) in enumerate(zip(self.baselines, self.inputs, strict=True)):
            if baseline.shape[0] != 1 and baseline.shape[0] != t.shape[0]:
                raise InvalidArgument(
                    f"baselines[{i}]",
                    f"a tensor of shape {tuple(baseline.shape)}",
                    f"its first dimension must be 1 or the {len(t)} examples",
                )
        return tuple(b.expand_as(t) for b, t in zip(self.baselines, self.inputs, strict=True))

    @property
    def own_masks(self) -> bool:
        """True if examples have feature masks of their own."""
        return any(self._own(mask, i) for i, mask in enumerate(self.feature_mask or ()))

    def repeated(self, times: int) -> Explicand:
        """Returns the explicand with each example repeated `times` in a row."""
        return self._mapped(lambda t: t.repeat_interleave(times, 0))

    def example(self, i: int) -> Explicand:
        """Returns the explicand of the i-th example alone."""
        return self._mapped(lambda t: t[i : i + 1])

    def _mapped(self, each: Callable[[Tensor], Tensor]) -> Explicand:
        """Applies a function to every tensor that has a row for each example.

        It leaves tensors with one row for all examples, and distributions, unchanged.
        """
        target = self.target
        if isinstance(target, Output) and target.indices is not None:
            target = Output(each(target.indices))
        arguments = Arguments(
            tuple(
                PerExample(each(a.tensor)) if isinstance(a, PerExample) else a
                for a in self.arguments.values
            )
        )

        def of_each(tensors: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
            return tensors and tuple(each(t) if self._rows_of_each(t) else t for t in tensors)

        return replace(
            self,
            inputs=tuple(each(t) for t in self.inputs),
            target=target,
            baselines=self.baselines if self.background else of_each(self.baselines),
            arguments=arguments,
            feature_mask=self.feature_mask
            and tuple(each(m) if self._own(m, i) else m for i, m in enumerate(self.feature_mask)),
            scales=self.scales
            and tuple(
                each(s) if self._rows_of_each(s) and s.dim() == t.dim() else s
                for s, t in zip(self.scales, self.inputs, strict=True)
            ),
            values=self.values and tuple(each(t) for t in self.values),
            starts=self.starts if self.background else of_each(self.starts),
        )

    def _own(self, mask: Tensor, i: int) -> bool:
        """Returns whether a mask has a row for each of several examples."""
        whole = self.inputs[i].dim() if self.at == INPUT else 2
        return mask.dim() >= whole and self._rows_of_each(mask)

    def _rows_of_each(self, tensor: Tensor) -> bool:
        """Returns whether a tensor has a row for each of several examples, not one for all."""
        return self.count > 1 and tensor.dim() > 0 and len(tensor) == self.count

    def at_inputs(
        self,
        *,
        gradient: bool = False,
        read: bool = False,
        rule: Rule | None = None,
        references: References | None = None,
    ) -> Evaluation:
        """Makes the evaluation of the target at the inputs themselves.

        Args:
            gradient: Whether to differentiate with respect to the values at `at`.
            read: Whether to return those values.
            rule: The rule that differentiates operations; None: the chain rule.
            references: The reference rows, for rules that compare rows.
        """
        if gradient and self.at == INPUT:
            self._check_differentiable()
        return Evaluation(
            Given(self.inputs),
            self._read(gradient=gradient),
            self.at if gradient else None,
            patch=None if self.values is None else Patch(self.at, Given(self.values)),
            read=self.at if read and self.at != INPUT else None,
            arguments=self.arguments,
            through=self.through if gradient else None,
            rule=rule,
            references=references,
        )

    def from_inputs(self, rows: Rows, *, read: bool = False, reduce: Reduce) -> Evaluation:
        """Makes the evaluation of gradients at the site, with the rows as the model's inputs.

        Args:
            rows: The model's inputs, any number of rows per example.
            read: Whether to return, or fold, the values at the site, too.
            reduce: The reduction of the gradients.

        Raises:
            InvalidArgument: If no layer is named, or the inputs are integers, between which there
                are no points.
        """
        if self.at == INPUT:
            raise InvalidArgument("layer", "not given", "the method explains the values at a layer")
        for i, t in enumerate(self.inputs):
            if not t.is_floating_point():
                raise InvalidArgument(
                    f"inputs[{i}]",
                    f"a tensor of dtype {t.dtype}",
                    "the method's way from the baseline leads through the inputs, which have to be "
                    "floating-point; integrated_gradients has one through the layer's values",
                )
        return Evaluation(
            rows,
            self._read(gradient=True),
            self.at,
            read=self.at if read else None,
            arguments=self.arguments,
            reduce=reduce,
        )

    def evaluation(
        self, rows: Rows, *, gradient: bool = False, reduce: Reduce | None = None
    ) -> Evaluation:
        """Makes the evaluation of the target with the rows as the values at `at`.

        Args:
            rows: Any number of rows per example, in the examples' order.
            gradient: Whether to differentiate with respect to them.
            reduce: The reduction of the gradients; None: keep every row.
        """
        reduce = Stack() if reduce is None else reduce
        target = self._read(gradient=gradient)
        wrt = self.at if gradient else None
        through = self.through if gradient else None
        if self.at == INPUT:
            if gradient:
                self._check_differentiable()
            return Evaluation(
                rows, target, wrt, arguments=self.arguments, reduce=reduce, through=through
            )
        return Evaluation(
            Repeated(self.inputs, rows.per_example),
            target,
            wrt,
            patch=Patch(self.at, rows),
            arguments=self.arguments,
            reduce=reduce,
            through=through,
        )

    def _read(self, *, gradient: bool) -> Output | Neuron | None:
        if not isinstance(self.target, EveryOutput):
            return self.target
        if gradient:
            raise InvalidArgument(
                "target", "every output", "one output: a gradient is that of one number per example"
            )
        return None

    def _check_differentiable(self) -> None:
        for i, t in enumerate(self.inputs):
            if not t.is_floating_point():
                raise InvalidArgument(
                    f"inputs[{i}]",
                    f"a tensor of dtype {t.dtype}",
                    "gradients exist for floating-point inputs only: name the embedding layer "
                    "at whose output integer inputs are to be explained, or pass it as a further "
                    "argument",
                )

"""SmoothGrad, SmoothGrad-squared and VarGrad, over any method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor

from adcaptum.engine.methods.gradients.saliency import Saliency
from adcaptum.engine.rows.moments import RunningMoments, largest
from adcaptum.engine.rows.noise import Noisy, noise_scales
from adcaptum.engine.rows.randomness import address
from adcaptum.engine.sampling.adaptive import MOST_ROWS, report_part, sampled, usual_samples
from adcaptum.engine.sampling.replicates import ReplicatedVariances, Replicates
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.endpoints import values_at_site
from adcaptum.engine.vocabulary.evaluation import INPUT
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import (
    Flow,
    ask,
    both,
    example_by_example,
    report,
    target_at_inputs,
)
from adcaptum.engine.vocabulary.method import (
    Method,
    Traits,
    held_bytes,
    multiply_adds,
    value_bytes,
)
from adcaptum.engine.vocabulary.parameters import parameter

_INNER = 3
# The most noisy copies that are explained at once, whatever the number of samples.
_MOST_AT_ONCE = 64
_MOST_ELEMENTS = 1 << 22
# With a tolerance.
_REPLICATES = 16
_FIRST = 2


@dataclass(frozen=True, slots=True)
class SmoothGrad:
    """Another method's attributions, averaged over copies of the input with Gaussian noise.

    SmoothGrad: Smilkov et al. (2017), https://arxiv.org/abs/1706.03825, section 3.
    SmoothGrad-squared averages their squares: Hooker et al. (2019),
    https://arxiv.org/abs/1806.10758. VarGrad is their variance, here the unbiased one: Adebayo et
    al. (2018), https://arxiv.org/abs/1810.03292.

    Integer inputs explained at an embedding get the noise there. With a tolerance copies come in
    pairs of opposite noise (a variance excepted), which lowers the variance of the mean; and the
    tolerance is that of the mean alone: the other method keeps its settings.
    """

    traits: ClassVar[Traits] = Traits(
        name="smooth_grad",
        paper="https://arxiv.org/abs/1706.03825",
        gradient=True,
        baseline=True,
        random=True,
        feature_masks=True,
        tolerance=True,
        held=4.0,
        held_to_tolerance=24.0,
    )

    of: Method = parameter(default_factory=Saliency, text="The method whose results are averaged.")
    n_samples: int = parameter(20, "Noisy copies of each example.", minimum=1, maximum=100_000)
    stdev: float = parameter(
        0.15, "Standard deviation of the noise, relative to the range of the input.", minimum=0
    )
    relative: bool = parameter(
        True, "Read stdev relative to the input's range; false: in the input's own units."
    )
    kind: Literal["smoothgrad", "smoothgrad_sq", "vargrad"] = parameter(
        "smoothgrad", "The mean of the attributions, the mean of their squares, or their variance."
    )

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Averages copies; reports after each round. The output is the target at the input."""
        if self.of.traits.distribution:
            explicand = replace(explicand, background=True)
        if explicand.tolerance is not None:
            return (yield from example_by_example(self._to_tolerance, explicand))
        output: Tensor | None = None
        values = yield from _noised(explicand)
        scales = self._scales(explicand, values)
        elements = max(1, sum(t.numel() for t in values))
        moments = RunningMoments()
        answer = None
        while moments.count < self.n_samples:
            size = min(_at_once(elements), self.n_samples - moments.count)
            noisy = Noisy(values, scales, explicand.seed, moments.count, size)
            copies = self._copies(explicand, noisy, moments.count)
            if explicand.with_error and output is None:
                asked = target_at_inputs(explicand, gradient=self.of.traits.gradient)
                output, inner = yield from both(asked, self.of.flow(copies))
            else:
                inner = yield from self.of.flow(copies)
            samples = tuple(v.unflatten(0, (explicand.count, size)) for v in inner.values)
            if self.kind == "smoothgrad_sq":
                samples = tuple(s.square() for s in samples)
            moments.add(samples)
            answer = replace(
                self._answer(moments, output),
                pairs=inner.pairs,
                uncovered_ops=inner.uncovered_ops,
            )
            yield from report(answer)
        assert answer is not None, "there is at least one sample"
        return answer

    def _to_tolerance(self, explicand: Explicand) -> Flow[Attribution]:
        """Draws copies until the tolerance is met, for one example."""
        tolerance = explicand.tolerance
        assert tolerance is not None, "it stops when a tolerance is met"
        values = yield from _noised(explicand)
        scales = self._scales(explicand, values)
        elements = max(1, sum(t.numel() for t in values))
        most_pairs = _pairs_at_once(elements)
        # Opposite noise cancels much of the error; but a variance wants independent samples.
        variance = self.kind == "vargrad"
        replicates = ReplicatedVariances() if variance else Replicates()
        output: Tensor | None = None
        latest = Attribution(())
        pairs = 0

        def found() -> tuple[Attribution, Tensor]:
            answer, wrong = replicates.answer(output)
            return replace(answer, pairs=latest.pairs, uncovered_ops=latest.uncovered_ops), wrong

        def draw(size: int) -> Flow[tuple[Attribution, Tensor]]:
            """Draws a number of pairs of copies for each replicate."""
            nonlocal output, pairs, latest
            wanted = pairs + size
            begun = pairs
            while pairs < wanted:
                if pairs > begun > 0:
                    yield from report_part(found(), tolerance)
                some = min(most_pairs, wanted - pairs)
                first, copies = 2 * _REPLICATES * pairs, 2 * _REPLICATES * some
                noisy = Noisy(values, scales, explicand.seed, first, copies, not variance)
                inner = yield from self.of.flow(self._copies(explicand, noisy, first))
                replicates.add_samples(tuple(map(self._by_replicate, inner.values)))
                latest = inner
                pairs += some
            if explicand.with_error and output is None:
                output = yield from target_at_inputs(explicand, gradient=self.of.traits.gradient)
            return found()

        most = MOST_ROWS // (2 * _REPLICATES * max(1, self._inner_rows(explicand)))
        return (yield from sampled(draw, tolerance, first=_FIRST, most=max(most, _FIRST)))

    def _by_replicate(self, values: Tensor) -> Tensor:
        """(copies, *features) -> (1, replicates, samples, *features); pairs stay together."""
        samples = values.unflatten(0, (1, -1, _REPLICATES, 2)).transpose(1, 2).flatten(2, 3)
        return samples.square() if self.kind == "smoothgrad_sq" else samples

    def rows(self, explicand: Explicand) -> int:
        """The other method's rows for each copy, the examples' outputs, the reading of values.

        With a tolerance, for the usual number of copies.
        """
        samples = self.n_samples
        if explicand.tolerance is not None:
            samples = usual_samples(explicand.tolerance, least=2 * _REPLICATES * _FIRST)
        read = explicand.count * (_noise_is_at_site(explicand) and explicand.values is None)
        each = self._inner_rows(explicand)
        return samples * each + explicand.count * explicand.with_error + read

    def multiply_adds(self, explicand: Explicand) -> float:
        """The multiply-adds of the other method for each copy."""
        one = replace(explicand, with_error=False, tolerance=None)
        copies = self.n_samples
        if explicand.tolerance is not None:
            copies = usual_samples(explicand.tolerance, least=2 * _REPLICATES * _FIRST)
        return copies * multiply_adds(self.of, one)

    def held_bytes(self, explicand: Explicand) -> int:
        """The copies that are explained at once, and what the other method holds for them."""
        one = replace(explicand, with_error=False, tolerance=None)
        elements = max(1, sum([t.numel() for t in explicand.inputs]))
        if explicand.tolerance is None:
            copies = min(self.n_samples, _at_once(elements))
        else:
            copies = 2 * _REPLICATES * min(_FIRST, _pairs_at_once(elements // explicand.count))
        repeated = [*(explicand.baselines or ()), *(explicand.feature_mask or ())]
        of_each = sum([t.nbytes for t in repeated if len(t) == explicand.count > 1])
        inner = held_bytes(self.of, one, self._inner_rows(explicand))
        return copies * (value_bytes(explicand) + of_each + inner)

    def _inner_rows(self, explicand: Explicand) -> int:
        """The rows of the other method for one copy of every example."""
        values = explicand.inputs if _noise_is_at_site(explicand) else explicand.values
        return self.of.rows(replace(explicand, with_error=False, values=values, tolerance=None))

    def _scales(self, explicand: Explicand, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not self.relative:
            return tuple(t.new_full((1,) * t.dim(), self.stdev) for t in values)
        at_inputs = values is explicand.inputs
        given = explicand.scales if at_inputs else None
        return tuple(self.stdev * s for s in (given or noise_scales(values)))

    def _copies(self, explicand: Explicand, noisy: Noisy, first: int) -> Explicand:
        copies = replace(
            explicand.repeated(noisy.samples),
            with_error=False,
            tolerance=None,
            seed=address(explicand.seed, _INNER, first),
        )
        tensors = noisy.take(0, len(noisy))
        if noisy.tensors is explicand.inputs:
            return replace(copies, inputs=tensors)
        return replace(copies, values=tensors)

    def _answer(self, moments: RunningMoments, output: Tensor | None) -> Attribution:
        if self.kind == "vargrad":
            return Attribution(moments.variance, output=output)
        errors = moments.standard_errors
        return Attribution(
            moments.mean, output=output, standard_error=largest(errors), standard_errors=errors
        )


def _at_once(elements: int) -> int:
    """The most copies that are explained at once, of values of so many elements."""
    return min(_MOST_AT_ONCE, max(1, _MOST_ELEMENTS // elements))


def _pairs_at_once(elements: int) -> int:
    """The most pairs of copies of each replicate that are explained at once."""
    return max(1, min(_MOST_AT_ONCE, _MOST_ELEMENTS // max(1, elements)) // (2 * _REPLICATES))


def _noised(explicand: Explicand) -> Flow[tuple[Tensor, ...]]:
    """The values that get noise: the inputs, or those at the site where inputs are integers."""
    if not _noise_is_at_site(explicand):
        return explicand.inputs
    if explicand.values is not None:
        return explicand.values
    return (yield from ask(values_at_site(explicand, explicand.inputs))).activations


def _noise_is_at_site(explicand: Explicand) -> bool:
    return explicand.at != INPUT and not all(t.is_floating_point() for t in explicand.inputs)

"""KernelShap: Shapley values from a regression on coalitions of features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adcaptum.engine.methods.shapley.regression import SAMPLES_TEXT, Regression
from adcaptum.engine.vocabulary.attribution import Attribution
from adcaptum.engine.vocabulary.explicand import Explicand
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.method import Traits
from adcaptum.engine.vocabulary.parameters import parameter


@dataclass(frozen=True, slots=True)
class KernelShap:
    """Shapley values from a weighted regression of the target on coalitions of features.

    Lundberg, Lee (2017), https://arxiv.org/abs/1705.07874, theorem 2, with coalitions and their
    complements in pairs: Covert, Lee (2021), https://arxiv.org/abs/2012.01536, section 3.2. Sizes
    of coalitions are evaluated whole where the number of samples allows, the others are sampled
    without replacement. The values of the features sum to the output less the output at the
    baseline exactly; once all coalitions are evaluated they are the Shapley values. With a
    background set a coalition's worth is the mean over its rows, and the standard errors are those
    of the coalitions alone. Each element has the value of its feature.
    """

    traits: ClassVar[Traits] = Traits(
        name="kernel_shap",
        paper="https://arxiv.org/abs/2012.01536",
        baseline=True,
        random=True,
        feature_masks=True,
        background=True,
        tolerance=True,
    )

    n_samples: int | None = parameter(None, SAMPLES_TEXT, minimum=1, maximum=10_000_000)

    def flow(self, explicand: Explicand) -> Flow[Attribution]:
        """Explains; reports after each round of coalitions.

        Raises:
            InvalidArgument: If there are more than 1024 features, or too few samples for them.
        """
        return (yield from self._regression.flow(explicand))

    def rows(self, explicand: Explicand) -> int:
        """The samples, the input and the baseline.

        Raises:
            InvalidArgument: If there are more than 1024 features, or too few samples for them.
        """
        return self._regression.rows(explicand)

    @property
    def _regression(self) -> Regression:
        return Regression(self.traits.name, "kernel", self.n_samples)

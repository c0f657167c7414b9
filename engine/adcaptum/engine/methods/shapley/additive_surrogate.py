"""The additive surrogate of a game: weighted least squares under an exact constraint.

The values phi minimise the kernel-weighted squares of worth(z) - worth(none) - sum_{i in z} phi_i
subject to sum(phi) = worth(all) - worth(none) =: gap (Lundberg, Lee 2017, theorem 2). The
constraint is eliminated: phi = gap / d + psi with sum(psi) = 0. For a coalition z of s members and
its complement the equations for psi are each other's negative, so that a pair is one equation,

    (z - s / d) . psi = (worth(z) - worth(complement of z)) / 2 + (1 / 2 - s / d) gap,

with the pair's weight. The matrix of the equations depends on the coalitions alone: it is
factorised once for all examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from adcaptum.engine.methods.shapley.strata import PairedSample
from adcaptum.engine.vocabulary.flow import Flow
from adcaptum.engine.vocabulary.pauses import PIECE_MULTIPLY_ADDS, Pauses

_SINGULAR = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """A solver for the worths of one sample of pairs.

    Attributes:
        equations: The left sides, z - s / d, float64 of shape (pairs, features).
        solution: The contribution of each pair's right side to psi, of the same shape.
        lean: The factor of the gap in each right side, (pairs,).
        spread: The factor of each pair's squared contribution in the variance, (pairs,); zero where
            the whole stratum was evaluated.
        common: The factor of each pair in its stratum's mean, which lowers the standard error,
            (pairs,); zero where the stratum was evaluated whole, or has no other pair.
        strata: The stratum of each pair, (pairs,).
        counts: The number of pairs of each stratum.
        order: The place in the sample of each pair: here those of a stratum stand together.
        inflation: The growth of the residuals that makes up for their being fitted, (pairs,).
    """

    equations: Tensor
    solution: Tensor
    lean: Tensor
    spread: Tensor
    common: Tensor
    strata: Tensor
    counts: tuple[int, ...]
    order: Tensor
    inflation: Tensor

    @classmethod
    def of(cls, sample: PairedSample, pauses: Pauses) -> Flow[Self | None]:
        """Factorises; None if the sample does not determine the values.

        Args:
            sample: The pairs.
            pauses: The pauses between pieces.
        """
        pairs, features = sample.members.shape
        counts = torch.bincount(sample.strata, minlength=len(sample.masses))
        drawn, order = counts.double(), sample.strata.argsort(stable=True)
        strata = sample.strata[order]
        equations = sample.members[order].double()
        shares = equations.mean(1)
        equations -= shares[:, None]
        weights = (sample.masses / drawn.clamp_min(1))[strata]
        matrix = equations.new_zeros(features, features)
        size = max(1, int(PIECE_MULTIPLY_ADDS / features**2))
        pieces = [slice(start, min(start + size, pairs)) for start in range(0, pairs, size)]
        for some in pieces:
            yield from pauses.before((some.stop - some.start) * features**2)
            matrix.addmm_((equations[some] * weights[some, None]).T, equations[some])
        # psi has no part along (1, ..., 1): any weight there makes the matrix regular.
        scale = matrix.trace() / max(features - 1, 1)
        factor, failed = torch.linalg.cholesky_ex(matrix + scale / features)
        if failed or factor.diagonal().square().min() < _SINGULAR * scale:
            return None
        inverse = torch.cholesky_inverse(factor)
        solution = torch.empty_like(equations)
        for some in pieces:
            yield from pauses.before((some.stop - some.start) * features**2)
            torch.mm(equations[some], inverse, out=solution[some])
        solution *= weights[:, None]
        # The finite population correction: a stratum evaluated whole has no sampling error.
        unseen = (1 - drawn / sample.populations).clamp_min(0)
        spread = unseen * torch.where(drawn > 1, drawn / (drawn - 1), torch.ones_like(drawn))
        shared = torch.where(drawn > 1, (spread / drawn.clamp_min(1)).sqrt(), 0)
        leverage = torch.linalg.vecdot(solution, equations)
        return cls(
            equations=equations,
            solution=solution,
            lean=0.5 - shares,
            spread=spread[strata],
            common=shared[strata],
            strata=strata,
            counts=tuple(counts.tolist()),
            order=order,
            inflation=1 / (1 - leverage).clamp_min(1e-9),
        )

    def fit(self, halves: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Solves for each example.

        The standard errors are those of a regression on a stratified sample without replacement,
        linearised in the residuals: Fuller (1975), "Regression analysis for sample survey",
        Sankhya C 37; the residuals grow as those of a jackknife do (MacKinnon, White 1985, HC3).

        Args:
            halves: Half of the worth of each coalition less its complement's, float64 of shape
                (examples, pairs).
            gap: The worth of all features less that of none, (examples,).

        Returns:
            The values and their standard errors, each (examples, features).
        """
        features = self.equations.shape[1]
        right = halves[:, self.order] + gap[:, None] * self.lean
        psi = right @ self.solution
        psi = psi - psi.mean(1, keepdim=True)
        values = psi + gap[:, None] / features
        if not self.spread.any():
            return values, torch.zeros_like(values)
        residuals = (right - psi @ self.equations.T) * self.inflation
        variance = (residuals.square() * self.spread) @ self.solution.square()
        shared = (residuals * self.common).split(self.counts, 1)
        means = [a @ b for a, b in zip(shared, self.solution.split(self.counts), strict=True)]
        variance -= torch.stack(means).square().sum(0)
        return values, variance.clamp_min(0).sqrt()

    def parts(self, halves: Tensor, gap: Tensor, signs: Tensor) -> Tensor:
        """Random sums of the pairs' contributions to the error: errors of the same distribution.

        Args:
            halves: As of `fit`.
            gap: As of `fit`.
            signs: Of each pair in each sum, float64 of shape (sums, pairs).

        Returns:
            Of shape (examples, sums, features).
        """
        right = halves[:, self.order] + gap[:, None] * self.lean
        psi = right @ self.solution
        psi = psi - psi.mean(1, keepdim=True)
        residuals = (right - psi @ self.equations.T) * self.inflation
        drawn = torch.bincount(self.strata).clamp_min(1)[:, None]
        found = []
        for row in residuals:
            each = self.solution * row[:, None]
            means = each.new_zeros(len(drawn), each.shape[1]).index_add_(0, self.strata, each)
            each = (each - (means / drawn)[self.strata]) * self.spread.sqrt()[:, None]
            found.append(signs[:, self.order] @ each)
        return torch.stack(found)

"""The constrained regression of KernelShap."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adcaptum.engine.games.exact_values import shapley_values
from adcaptum.engine.methods.shapley.additive_surrogate import Surrogate
from adcaptum.engine.methods.shapley.strata import PairedSample
from adcaptum.engine.vocabulary.flow import computed
from adcaptum.engine.vocabulary.pauses import Pauses
from tests.games import multiplicative, noise, smooth


def solve(worths: Tensor, sample: PairedSample) -> tuple[Tensor, Tensor]:
    """The values of a game and their standard errors, (players,) each."""
    surrogate = computed(Surrogate.of(sample, Pauses()))
    assert surrogate is not None
    numbers = sample.members.long() @ (1 << torch.arange(sample.members.shape[1]))
    halves = (worths[numbers] - worths[len(worths) - 1 - numbers]) / 2
    values, errors = surrogate.fit(halves[None], (worths[-1] - worths[0])[None])
    return values[0], errors[0]


def constrained_least_squares(worths: Tensor, sample: PairedSample) -> Tensor:
    """The same by the whole system with a Lagrange multiplier."""
    members = torch.cat([sample.members, ~sample.members])
    players = members.shape[1]
    weights = (sample.masses / torch.bincount(sample.strata))[sample.strata].repeat(2)
    numbers = members.long() @ (1 << torch.arange(players))
    z = members.double()
    system = torch.ones(players + 1, players + 1, dtype=torch.float64)
    system[:-1, :-1] = z.T @ (weights[:, None] * z)
    system[-1, -1] = 0
    right = torch.cat([z.T @ (weights * (worths[numbers] - worths[0])), worths[-1:] - worths[:1]])
    return torch.linalg.solve(system, right)[:-1]


@pytest.mark.parametrize("pairs", [16, 40, 100])
def test_the_solution_is_that_of_the_constrained_system(pairs: int) -> None:
    worths, sample = noise(8, 0), PairedSample.draw(8, pairs, seed=1)
    values, _ = solve(worths, sample)
    torch.testing.assert_close(
        values, constrained_least_squares(worths, sample), rtol=1e-9, atol=1e-10
    )


@pytest.mark.parametrize("players", range(2, 11))
def test_all_coalitions_give_the_shapley_values_without_error(players: int) -> None:
    for worths in (smooth(players, 0), multiplicative(players, 1), 1e6 * noise(players, 2)):
        sample = PairedSample.draw(players, 2 ** (players - 1) - 1, seed=0)
        values, errors = solve(worths, sample)
        expected = shapley_values(worths[None])[0]
        torch.testing.assert_close(values, expected, rtol=1e-10, atol=1e-10)
        assert not errors.any()


def test_the_values_sum_to_the_gap_exactly() -> None:
    worths = 1e3 * noise(12, 0)
    values, _ = solve(worths, PairedSample.draw(12, 100, seed=0))
    assert float(values.sum()) == pytest.approx(float(worths[-1] - worths[0]), rel=1e-14, abs=1e-11)


def test_a_linear_game_is_solved_by_any_sample() -> None:
    weights = torch.randn(10, dtype=torch.float64)
    members = torch.arange(1 << 10)[:, None] >> torch.arange(10) & 1
    values, errors = solve(members.double() @ weights + 3, PairedSample.draw(10, 20, seed=0))
    torch.testing.assert_close(values, weights, rtol=1e-10, atol=1e-10)
    assert float(errors.max()) < 1e-10


def test_too_few_pairs_determine_nothing() -> None:
    assert computed(Surrogate.of(PairedSample.draw(10, 5, seed=0), Pauses())) is None


def test_games_are_solved_together_as_alone() -> None:
    sample = PairedSample.draw(9, 60, seed=0)
    surrogate = computed(Surrogate.of(sample, Pauses()))
    assert surrogate is not None
    halves, gaps = torch.randn(4, 60, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    together = surrogate.fit(halves, gaps)
    for i in range(4):
        alone = surrogate.fit(halves[i : i + 1], gaps[i : i + 1])
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[i : i + 1], part, rtol=1e-12, atol=1e-12)

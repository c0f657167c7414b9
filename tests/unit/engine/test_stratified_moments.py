"""Means over strata, round by round."""

from __future__ import annotations

import torch

from adcaptum.engine.rows.moments import StratifiedMoments
from tests.models import numbers


def test_the_mean_is_that_of_the_strata_not_of_the_samples() -> None:
    moments = StratifiedMoments()
    samples = torch.tensor([[[1.0], [3.0], [10.0], [10.0], [13.0]]])
    moments.add(samples, torch.tensor([0, 0, 1, 1, 1]))
    torch.testing.assert_close(moments.mean, torch.tensor([[6.5]]))
    # Variances 2 and 3, over 2 and 3 samples, over the square of the number of strata.
    torch.testing.assert_close(moments.standard_errors, torch.tensor([[0.5**0.5]]))


def test_rounds_weigh_what_they_have_samples() -> None:
    moments = StratifiedMoments()
    first, second = numbers(2, 4, 3), numbers(2, 8, 3, seed=1)
    moments.add(first, torch.arange(4) // 2)
    alone = moments.standard_errors.square()
    moments.add(second, torch.arange(8) // 2)
    assert moments.count == 12
    torch.testing.assert_close(moments.mean, torch.cat([first, second], 1).mean(1))
    other = StratifiedMoments()
    other.add(second, torch.arange(8) // 2)
    both = alone / 9 + other.standard_errors.square() * 4 / 9
    torch.testing.assert_close(moments.standard_errors.square(), both)


def test_a_stratum_of_one_sample_tells_no_error() -> None:
    moments = StratifiedMoments()
    moments.add(numbers(1, 1, 2), torch.tensor([0]))
    assert moments.standard_errors.isinf().all()


def test_differences_between_strata_are_no_error() -> None:
    moments = StratifiedMoments()
    moments.add(torch.tensor([[[0.0], [0.0], [100.0], [100.0]]]), torch.tensor([0, 0, 1, 1]))
    assert moments.standard_errors.tolist() == [[0.0]]

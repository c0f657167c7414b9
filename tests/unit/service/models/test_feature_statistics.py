"""Statistics of the columns of a table."""

import torch

from adcaptum.service.models import feature_statistics
from adcaptum.service.models.feature_statistics import FeatureStatistics


def test_statistics_are_those_of_each_column() -> None:
    rows = torch.tensor([[1.0, -5.0], [2.0, -5.0], [6.0, -5.0], [7.0, -5.0]])
    first, second = feature_statistics.of_columns(rows)
    # The distances from the mean, 4, are 3, 2, 2 and 3.
    assert first == FeatureStatistics(1.0, 7.0, 4.0, 6.5**0.5)
    assert second == FeatureStatistics(-5.0, -5.0, -5.0, 0.0)


def test_whole_numbers_have_them_too() -> None:
    (column,) = feature_statistics.of_columns(torch.tensor([[0], [1], [1], [0]]))
    assert column == FeatureStatistics(0.0, 1.0, 0.5, 0.5)


def test_columns_are_the_last_dimension() -> None:
    rows = torch.tensor([[[1.0, 10.0], [3.0, 30.0]]])
    assert [each and each.mean for each in feature_statistics.of_columns(rows)] == [2.0, 20.0]


def test_what_is_not_finite_does_not_count() -> None:
    rows = torch.tensor([[1.0, torch.nan], [torch.inf, torch.nan], [3.0, -torch.inf]])
    assert feature_statistics.of_columns(rows) == (FeatureStatistics(1.0, 3.0, 2.0, 1.0), None)

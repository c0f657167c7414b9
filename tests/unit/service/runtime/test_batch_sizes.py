"""The sizes of batches: large rows make small ones."""

import pytest
import torch

from adcaptum.engine.rows.sources import Given
from adcaptum.engine.vocabulary.evaluation import Evaluation
from adcaptum.service.runtime.batch_sizes import MOST_BYTES, MOST_ROWS, BatchSizes
from tests.unit.service.tiny_model import served


@pytest.mark.parametrize("elements", [1 << 10, 1 << 14, 3 * 1200 * 1200, 1 << 26])
def test_batches_of_a_new_shape_are_bounded_in_bytes(elements: int) -> None:
    model, _ = served()
    sizes = BatchSizes(torch.device("cpu"), target_batch_seconds=0.025)
    # Measured at load, with rows of twelve bytes.
    sizes.seed(model, {"forward": {1: 1e-4, 256: 1.1e-4, 4096: 1.2e-4}}, {})
    row = torch.zeros(1, 1).expand(1, elements)

    rows = sizes.sizer.rows((model, Evaluation(Given((row,))).key))

    assert 1 <= rows <= MOST_ROWS
    assert rows == 1 or rows * elements * 4 <= MOST_BYTES


def test_what_a_large_row_takes_says_little_of_small_ones() -> None:
    model, _ = served()
    sizes = BatchSizes(torch.device("cpu"), target_batch_seconds=0.025)
    sizes.seed(model, {"forward": {rows: 1e-5 * rows for rows in (1, 2, 4, 8)}}, {})
    before = sizes.seconds(model, {"forward": 50}, 12)
    large = (model, Evaluation(Given((torch.zeros(1, 1).expand(1, 3 << 20),))).key)

    for _ in range(20):
        sizes.sizer.observe(large, 1, 0.1)

    assert sizes.seconds(model, {"forward": 50}, 12) == before
    assert sizes.seconds(model, {"forward": 50}, 12 << 20) == pytest.approx(5.0, rel=0.1)
    # Of a size that was not measured, the nearest says most.
    assert sizes.seconds(model, {"forward": 50}, 120) < 100 * before
    assert sizes.seconds(model, {"forward": 50}, 24 << 20) == pytest.approx(10.0, rel=0.1)

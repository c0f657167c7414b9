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

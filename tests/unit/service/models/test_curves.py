"""What is measured before a model serves."""

import pytest
import torch
from torch import Tensor

from adcaptum.service.models import cores, curves
from adcaptum.service.models.cores import Threads
from tests.unit.service.tiny_model import served


def test_batches_of_growing_size_are_measured_without_and_with_gradients() -> None:
    model, _ = served()
    measured = curves.curves(model, 10.0)
    assert set(measured) == {"forward", "gradient"}
    for curve in measured.values():
        assert list(curve) == [1, 2, 4, 8, 16, 32, 64, 128, 256]
        assert all(seconds > 0 for seconds in curve.values())


def test_a_size_that_does_not_fit_into_memory_ends_the_measuring() -> None:
    model, module = served()

    def fill(rows: Tensor) -> None:
        if len(rows) > 4:
            raise torch.OutOfMemoryError("pretended")

    module.watch = fill
    assert list(curves.curves(model, 10.0)["forward"]) == [1, 2, 4]


def test_a_model_of_which_not_one_row_fits_into_memory_does_not_serve() -> None:
    model, module = served()

    def fill(_: Tensor) -> None:
        raise torch.OutOfMemoryError("pretended")

    module.watch = fill
    with pytest.raises(torch.OutOfMemoryError, match="pretended"):
        curves.curves(model, 10.0)


def test_a_processor_does_not_tell_what_batches_take_of_its_memory() -> None:
    model, _ = served()
    assert not curves.memory(model, {"forward": {1: 0.1}})


def test_the_best_size_is_the_one_with_the_cheapest_rows() -> None:
    assert curves.best_rows({1: 0.010, 2: 0.012, 4: 0.030}) == 2


def test_cuda_has_a_thread_whose_batch_runs_and_one_that_has_the_next() -> None:
    assert cores.divide_cores([], {}, torch.device("cuda")) == Threads(2, 1)
    assert cores.divide_cores([], {}, torch.device("mps")) == Threads(1, 1)


def test_a_division_of_the_cores_is_chosen_if_it_is_clearly_faster_in_all_rounds_but_one() -> None:
    usual, two, inside = Threads(1, 1), Threads(2, 1), Threads(1, 2)
    slow = [100.0, 90.0, 110.0, 100.0, 50.0]
    twice = [190.0, 180.0, 100.0, 190.0, 100.0]
    assert cores.best_division({usual: slow, two: twice, inside: slow}) == two
    assert cores.best_division({usual: slow, inside: slow, two: twice}) == two
    # About as much faster as it must be: sometimes more, sometimes less.
    border = [130.0, 100.0, 140.0, 110.0, 70.0]
    assert cores.best_division({usual: slow, two: border, inside: slow}) == usual

"""What compiled models do on CUDA with batches of odd sizes, tried on a processor."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from adcaptum.service.models.layouts.compiled import Compiled

ROWS = torch.rand(8, 3, generator=torch.Generator().manual_seed(2))


class Sizes(nn.Module):
    """Gives roots, and says how many rows it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return x.sqrt()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Compiled:
    def as_it_is(compiled: Compiled) -> Callable[..., object]:
        return compiled._module

    monkeypatch.setattr(Compiled, "_compiler", as_it_is)
    compiled = Compiled(Sizes(), torch.device("cuda"))
    for rows in (1, 2, 4, 8):
        compiled.prepare(lambda rows=rows: gradients(compiled, ROWS[:rows]))  # type: ignore[misc]
    sizes(compiled).clear()
    return compiled


def gradients(module: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor]:
    leaf = rows.clone().requires_grad_()
    values = module(leaf)
    return values.detach(), torch.autograd.grad(values.sum(), leaf)[0]


def sizes(compiled: Compiled) -> list[int]:
    model = compiled._module
    assert isinstance(model, Sizes)
    return model.sizes


@pytest.mark.parametrize("rows", range(1, 9))
def test_batches_are_filled_up_to_a_power_of_two(made: Compiled, rows: int) -> None:
    values, found = gradients(made, ROWS[:rows])
    assert sizes(made) == [{1: 1, 2: 2, 3: 4, 4: 4}.get(rows, 8)]
    torch.testing.assert_close(values, ROWS[:rows].sqrt())
    torch.testing.assert_close(found, 0.5 / ROWS[:rows].sqrt())


def test_rows_that_fill_a_batch_up_leave_no_trace_in_gradients(made: Compiled) -> None:
    # The root's slope at 0 is infinite, and 0 times that is not a number.
    rows = torch.tensor([[1.0], [1.0], [0.0]]).expand(3, 3)
    _, found = gradients(made, rows)
    assert found[2].tolist() == [torch.inf] * 3
    assert torch.equal(found[:2], torch.full((2, 3), 0.5))


def test_what_was_given_is_not_the_memory_of_the_graph(made: Compiled) -> None:
    kept: list[Tensor] = []
    model = made._module
    model.register_forward_hook(lambda module, given, output: kept.append(output))
    with torch.no_grad():
        made.prepare(lambda: made(ROWS))
        kept.clear()
        given = made(ROWS)
    assert isinstance(given, Tensor)
    assert given.data_ptr() != kept[0].data_ptr()


def test_batches_that_are_larger_than_any_graph_run_as_they_are(made: Compiled) -> None:
    gradients(made, ROWS.repeat(2, 1)[:9])
    assert sizes(made) == [9]


def test_graphs_are_recorded_for_all_sizes_up_to_the_largest(made: Compiled) -> None:
    assert list(made.sizes) == [1, 2, 4, 8, 16, 32, 64, 128, 256]


def test_graphs_run_one_at_a_time(made: Compiled) -> None:
    with made.turn:
        assert not made.turn.acquire(blocking=False)  # type: ignore[attr-defined]

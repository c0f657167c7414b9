"""Compiled models: what is run compiled, and that it says what the model says."""

import shutil
import sys
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from adcaptum.service.models.layouts.compiled import Compiled
from tests.models import mlp

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler here"),
    pytest.mark.skipif(sys.platform != "linux", reason="the compiler is looked for on Linux only"),
]

ROWS = torch.rand(40, 8, generator=torch.Generator().manual_seed(1))


class Counting(nn.Module):
    """Counts how often it runs as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            self.runs += 1
        return x.tanh() * x


@pytest.fixture(scope="module")
def compiled() -> Iterator[Compiled]:
    """Prepared for gradients, but not of one row; the model in it counts its runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = Compiled(Counting(), torch.device("cpu"), [[1]])
    made.prepare(lambda: gradients(made, ROWS[:8]))
    yield made
    torch.set_num_threads(threads)


def gradients(module: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor]:
    leaf = rows.clone().requires_grad_()
    values = module(leaf)
    return values.detach(), torch.autograd.grad(values[:, 0].sum(), leaf)[0]


def runs(compiled: Compiled) -> int:
    model = compiled._module
    assert isinstance(model, Counting)
    return model.runs


@pytest.mark.parametrize(("rows", "length"), [(2, 8), (3, 8), (8, 8), (40, 8), (8, 5), (5, 3)])
def test_batches_of_any_size_are_those_of_the_model(
    compiled: Compiled, rows: int, length: int
) -> None:
    before = runs(compiled)
    given = ROWS[:rows, :length]
    found = gradients(compiled, given)
    assert runs(compiled) == before
    expected = gradients(compiled._module, given)
    torch.testing.assert_close(found, expected)


def test_what_was_not_prepared_is_run_by_the_model_as_it_is(compiled: Compiled) -> None:
    before = runs(compiled)
    gradients(compiled, ROWS[:1])
    with torch.no_grad():
        compiled(ROWS)
    compiled(ROWS)
    assert runs(compiled) == before + 3


def test_with_other_numbers_of_threads_the_model_runs_as_it_is(compiled: Compiled) -> None:
    before = runs(compiled)
    torch.set_num_threads(2)
    try:
        gradients(compiled, ROWS)
    finally:
        torch.set_num_threads(1)
    assert runs(compiled) == before + 1


class Uncompilable(nn.Module):
    """Depends on its number of rows in a way that no compiled model of any number can."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if len(x) == 8 else x * 3


def test_a_model_that_looks_at_its_number_of_rows_is_refused() -> None:
    made = Compiled(Uncompilable(), torch.device("cpu"))
    with torch.no_grad(), pytest.raises(Exception, match="dynamic"):
        made.prepare(lambda: made(ROWS[:8]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_graphs_serve_batches_up_to_their_size_and_keep_what_they_gave() -> None:
    device = torch.device("cuda")
    model = mlp().float().requires_grad_(requires_grad=False).to(device)
    made = Compiled(model, device)
    rows = ROWS.to(device)
    for size in (1, 2, 4, 8):
        # A graph is recorded when it runs for the second time.
        for _ in range(3):
            made.prepare(partial(gradients, made, rows[:size]))
    found = [gradients(made, rows[:count]) for count in range(1, 9)]
    for count, each in enumerate(found, 1):
        expected = gradients(model, rows[:count])
        torch.testing.assert_close(each, expected, rtol=1e-3, atol=1e-4)
